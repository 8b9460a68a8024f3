"""Low-rank adapters: a few weights learnt beside a frozen base, in place of all of them.

The reference of iteration t is M_(t-1), never M0: a merged M_(t-1) is itself the frozen base, and
a kept adapter is copied, frozen, before its first step.
"""

import importlib.util
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import BitsAndBytesConfig

from srlm_kedro.engines.training.params import LoraParams, TuningParams
from srlm_kedro.engines.training.trl.policy import Policy, Setup, configs, ending, load_tokenizer
from srlm_kedro.engines.weights import base_of, is_adapter, read_model, unreadable
from srlm_kedro.errors import InputError, summary
from srlm_kedro.records import Checkpoint, derive_seed

_NAME = "default"
"""The adapter that is trained; the trainer's frozen copy of it is another."""


@dataclass(frozen=True)
class AdaptedPolicy(Policy):
    """An adapter in float32 on frozen weights."""

    base: Checkpoint
    keep: str

    def write(self, folder: Path) -> None:
        """The adapter alone, or the whole model with the adapter merged into its base.

        The base is read again for that: in memory it may be rounded.
        """
        if self.keep == "adapter":
            self._write_adapter(folder)
            return
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="adapter-") as beside:
            self._write_adapter(Path(beside))
            merged = read_model(
                Checkpoint(Path(beside), "adapter"), torch.float32, self.setup.trust_remote_code
            )
        self.write_full(merged, folder)

    def _write_adapter(self, folder: Path) -> None:
        self.model.peft_config[_NAME].base_model_name_or_path = str(self.base.path.resolve())
        self.model.save_pretrained(folder, selected_adapters=[_NAME], save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)


def load_adapted(
    checkpoint: Checkpoint, params: TuningParams, setup: Setup, seed: int
) -> AdaptedPolicy:
    """The checkpoint's weights, frozen, under a new adapter; or its own adapter, to go on with.

    Args:
        checkpoint: M_(t-1): full weights or an adapter's folder.
        params: Among them `lora`, which is not None here.
        setup: With `bf16` the frozen weights are held in bfloat16; the adapter never is.
        seed: Decides a new adapter's first weights.

    Raises:
        InputError: The folder is no readable checkpoint, or does not go with `lora`.
    """
    lora = params.lora
    assert lora is not None
    continued = lora.keep == "adapter" and is_adapter(checkpoint)
    base = base_of(checkpoint) if continued else checkpoint
    _refuse_quantising(base, lora)
    config, original = configs(base, params.dropout, setup)
    dtype = torch.bfloat16 if setup.bf16 else torch.float32
    try:
        options = _quantised(setup) if lora.quantise else {}
        model = read_model(base, dtype, setup.trust_remote_code, config=config, **options)
        tokenizer = load_tokenizer(checkpoint, setup)
    except (OSError, KeyError, ValueError, ImportError) as error:
        raise unreadable(checkpoint, error) from error
    generation_config = ending(model.generation_config, tokenizer)
    _leave_packing(model)
    adapted = _continued(model, checkpoint, lora) if continued else _new(model, lora, seed)
    return AdaptedPolicy(
        adapted, tokenizer, original, generation_config, setup, base=base, keep=lora.keep
    )


def _new(model: Any, lora: LoraParams, seed: int) -> Any:
    torch.manual_seed(derive_seed(seed, "adapter"))
    try:
        return get_peft_model(model, _config(lora))
    except ValueError as error:
        raise InputError(f"lora.target_modules = {lora.target_modules}: {error}") from error


def _continued(model: Any, checkpoint: Checkpoint, lora: LoraParams) -> Any:
    config = LoraConfig.from_pretrained(checkpoint.path)
    pairs = {"rank": (config.r, lora.rank), "alpha": (config.lora_alpha, lora.alpha)}
    faults = [
        f"lora.{name} = {asked}, but the adapter has {found}"
        for name, (found, asked) in pairs.items()
        if found != asked
    ]
    held = {name.rpartition(".")[2] for name in config.target_modules}
    if lora.target_modules != "all-linear" and held != set(lora.target_modules):
        faults.append(f"lora.target_modules = {lora.target_modules}, but it has {sorted(held)}")
    if faults:
        heading = (
            f"{checkpoint.name}: the adapter in {checkpoint.path} cannot go on as another one. "
            "Keep its settings, or set lora.keep = merged."
        )
        raise InputError(summary(heading, faults))
    config.lora_dropout = lora.dropout
    config.inference_mode = False
    return PeftModel.from_pretrained(model, checkpoint.path, is_trainable=True, config=config)


def _config(lora: LoraParams) -> LoraConfig:
    names = lora.target_modules
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=names if isinstance(names, str) else list(names),
        task_type="CAUSAL_LM",
    )


def _refuse_quantising(base: Checkpoint, lora: LoraParams) -> None:
    if not lora.quantise:
        return
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(
            f"lora.quantise = {lora.quantise} needs the package bitsandbytes, which is not "
            "installed: pip install 'srlm_kedro[qlora]'. Or set lora.quantise = null."
        )
    if is_adapter(base):
        raise InputError(
            f"{base.name}: lora.quantise = {lora.quantise} reads full weights, but {base.path} "
            "holds an adapter. Set lora.keep = adapter to go on with it."
        )


def _quantised(setup: Setup) -> dict[str, Any]:
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if setup.bf16 else torch.float32,
    )
    place = "cpu" if setup.cpu else torch.cuda.current_device()
    return {"quantization_config": config, "device_map": {"": place}}


def _leave_packing(model: Any) -> None:
    # On some CPUs bitsandbytes packs 4-bit weights anew in evaluation, and cannot train then.
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


@contextmanager
def unrounded(model: Any) -> Iterator[None]:
    """Inside, a trainer can be made that leaves a quantised model's adapter in float32.

    TRL rounds it to bfloat16 where it sees a quantised model; a step of 1e-6 would be lost.
    """
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    quantised = getattr(inner, "is_loaded_in_4bit", False)
    if quantised:
        inner.is_loaded_in_4bit = False
    try:
        yield
    finally:
        if quantised:
            inner.is_loaded_in_4bit = True
