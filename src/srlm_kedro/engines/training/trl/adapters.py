"""Low-rank adapters: a few weights are trained on a frozen base, instead of all weights.

The reference of iteration t is M_(t-1), never M0. A merged M_(t-1) is itself the frozen base. A
kept adapter is copied before its first step, and the copy is frozen.
"""

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import BitsAndBytesConfig

from srlm_kedro.engines.training.params import LoraParams, TuningParams
from srlm_kedro.engines.training.trl.policy import (
    Policy,
    TrainingOptions,
    load_tokenizer,
    read_configs,
    with_end_of_turn,
)
from srlm_kedro.engines.weights import base_of, is_adapter, read_model, unreadable
from srlm_kedro.errors import InputError, summary
from srlm_kedro.records import Checkpoint, derive_seed

_ADAPTER_NAME = "default"
"""The name of the trained adapter; the trainer's frozen copy has another name."""


@dataclass(frozen=True)
class AdaptedPolicy(Policy):
    """An adapter in float32 on frozen weights."""

    base: Checkpoint
    keep: str

    def write(self, folder: Path) -> None:
        """Writes only the adapter, or the whole model with the adapter merged into its base.

        For merging, the base is read again, because it may be rounded in memory or sharded.
        """
        if self.keep == "adapter":
            self._write_adapter(folder)
            return
        scratch = folder / "adapter"
        self._write_adapter(scratch)
        if self.setup.ranks.first:
            merged = read_model(
                Checkpoint(scratch, "adapter"), torch.float32, self.setup.trust_remote_code
            )
            shutil.rmtree(scratch)
            self.write_full(merged, folder)

    def _write_adapter(self, folder: Path) -> None:
        """All ranks gather the adapter; the first one writes it."""
        first = self.setup.ranks.first
        self.model.peft_config[_ADAPTER_NAME].base_model_name_or_path = str(
            self.base.path.resolve()
        )
        self.model.save_pretrained(
            folder,
            selected_adapters=[_ADAPTER_NAME],
            save_embedding_layers=False,
            is_main_process=first,
        )
        if first:
            (folder / "README.md").unlink(missing_ok=True)


def load_adapted(
    checkpoint: Checkpoint, params: TuningParams, setup: TrainingOptions, seed: int
) -> AdaptedPolicy:
    """The checkpoint's frozen weights with a new adapter, or with its own adapter to train on.

    Args:
        checkpoint: M_(t-1): the folder of full weights or of an adapter.
        params: Its `lora` is not None here.
        setup: With `bf16` the frozen weights are in bfloat16; the adapter never is.
        seed: Decides the first weights of a new adapter.

    Raises:
        InputError: The folder is not a readable checkpoint, or does not fit `lora`.
    """
    lora = params.lora
    assert lora is not None
    continued = lora.keep == "adapter" and is_adapter(checkpoint)
    base = base_of(checkpoint) if continued else checkpoint
    _refuse_quantising(base, lora)
    config, original = read_configs(base, params.dropout, setup)
    dtype = torch.bfloat16 if setup.bf16 else torch.float32
    try:
        options = _quantisation(setup) if lora.quantise else setup.ranks.sharding()
        model = read_model(base, dtype, setup.trust_remote_code, config=config, **options)
        tokenizer = load_tokenizer(checkpoint, setup)
    except (OSError, KeyError, ValueError, ImportError) as error:
        raise unreadable(checkpoint, error) from error
    generation_config = with_end_of_turn(model.generation_config, tokenizer)
    _prevent_packing(model)
    adapted = (
        _load_adapter(model, checkpoint, lora) if continued else _new_adapter(model, lora, seed)
    )
    return AdaptedPolicy(
        adapted, tokenizer, original, generation_config, setup, base=base, keep=lora.keep
    )


def _new_adapter(model: Any, lora: LoraParams, seed: int) -> Any:
    torch.manual_seed(derive_seed(seed, "adapter"))
    try:
        return get_peft_model(model, _config(lora))
    except ValueError as error:
        raise InputError(f"lora.target_modules = {lora.target_modules}: {error}") from error


def _load_adapter(model: Any, checkpoint: Checkpoint, lora: LoraParams) -> Any:
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
            f"{checkpoint.name}: the adapter in {checkpoint.path} has other settings, so its "
            "training cannot go on. Keep its settings, or set lora.keep = merged."
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


def _quantisation(setup: TrainingOptions) -> dict[str, Any]:
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if setup.bf16 else torch.float32,
    )
    place = "cpu" if setup.cpu else torch.cuda.current_device()
    return {"quantization_config": config, "device_map": {"": place}}


def _prevent_packing(model: Any) -> None:
    # On some CPUs bitsandbytes repacks 4-bit weights in evaluation, and cannot train afterwards.
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


@contextmanager
def keep_adapter_float32(model: Any) -> Iterator[None]:
    """Inside, a new trainer leaves the adapter of a quantised model in float32.

    If TRL sees a quantised model, it rounds the adapter to bfloat16, which loses steps of 1e-6.
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
