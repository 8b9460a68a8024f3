"""The policy, the model in training: loaded with dropout, saved with its original configuration."""

import copy
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from srlm_kedro.engines import chat
from srlm_kedro.engines.size_checks import refuse_larger_tokenizer
from srlm_kedro.engines.template import Argument
from srlm_kedro.engines.training.params import TuningParams
from srlm_kedro.engines.training.ranks import Ranks
from srlm_kedro.engines.training.trl.token_rows import limit_of, sft_rows
from srlm_kedro.engines.weights import (
    positions_of,
    read_config,
    read_model,
    read_tokenizer,
    root_of,
    unreadable,
)
from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint, Example

_OTHER_HEADS = ("classifier", "summary")
"""Prefixes of dropout fields that belong to heads other than the language model's."""


@dataclass(frozen=True)
class TrainingOptions:
    """The options of the training engine that its modules share."""

    trust_remote_code: bool = False
    bf16: bool = False
    """Whether models compute in bfloat16."""
    cpu: bool = True
    template: Mapping[str, Argument] = field(default_factory=dict)
    """Arguments of the chat template."""
    activation_checkpointing: bool | Literal["auto"] = "auto"
    work_dir: Path | None = None
    """Where scratch folders are made; None is the system's place."""
    ranks: Ranks = field(default_factory=Ranks)


@dataclass(frozen=True)
class Policy:
    """A model in float32, its tokenizer, and the configurations that it came with."""

    model: Any
    tokenizer: Any
    config: Any
    generation_config: Any
    setup: TrainingOptions

    @property
    def positions(self) -> int | None:
        """The longest sequence that the model can see, in tokens; None if it has no limit."""
        return positions_of(self.config)

    def save(self, checkpoint: Checkpoint) -> Checkpoint:
        """Saves the current weights in a new scratch folder, with the tokenizer of `checkpoint`.

        The saved configurations do not show the dropout and padding of the training. The weights
        stay in float32, because bfloat16 would lose steps of 1e-6.
        """
        folder = self.setup.ranks.same(tempfile.mkdtemp, prefix="model-", dir=self.setup.work_dir)
        folder = Path(folder)
        try:
            self.write(folder)
            if self.setup.ranks.first:
                _copy_code_and_tokenizer(checkpoint, folder, self.setup)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return Checkpoint(folder, "scratch")

    def write(self, folder: Path) -> None:
        """Writes the weights and configurations into `folder`."""
        self.write_full(self.model, folder)

    def write_full(self, model: Any, folder: Path) -> None:
        """Writes a full checkpoint of `model` with the configurations that the policy came with."""
        sharding = getattr(model.config, "distributed_config", None)
        model.config = self.config
        if sharding is not None:
            model.config.distributed_config = sharding  # by which the weights are gathered
        model.generation_config = self.generation_config
        model.save_pretrained(folder, is_main_process=self.setup.ranks.first)


def load_policy(
    checkpoint: Checkpoint, dropout: float, setup: TrainingOptions | None = None
) -> Policy:
    """The checkpoint's model, with `dropout` everywhere that its architecture has a dropout.

    Deviation: in transformers, Llama-like architectures have dropout only on attention weights. The
    paper does not state where it applies its 0.1.

    Raises:
        InputError: The folder is not a readable checkpoint, or the architecture has no dropout.
    """
    setup = setup or TrainingOptions()
    config, original = read_configs(checkpoint, dropout, setup)
    try:
        model = read_model(
            checkpoint,
            torch.float32,
            setup.trust_remote_code,
            config=config,
            **setup.ranks.sharding(),
        )
        tokenizer = load_tokenizer(checkpoint, setup)
    except (OSError, KeyError, ValueError) as error:
        raise unreadable(checkpoint, error) from error
    return Policy(
        model, tokenizer, original, with_end_of_turn(model.generation_config, tokenizer), setup
    )


def length_faults(
    checkpoint: Checkpoint,
    examples: Sequence[Example],
    params: TuningParams,
    setup: TrainingOptions,
) -> list[str]:
    """Why each example is too long, by tokenizer and configuration only; empty if it fits."""
    tokenizer, positions = read_limits(checkpoint, setup)
    limit = limit_of(params.max_length, positions)
    return [limit.fault(row) for row in sft_rows(tokenizer, examples)]


def read_limits(checkpoint: Checkpoint, setup: TrainingOptions) -> tuple[Any, int | None]:
    """The tokenizer, and the longest sequence that the model can see; no weights are loaded.

    Raises:
        InputError: They cannot be read.
    """
    try:
        tokenizer = load_tokenizer(checkpoint, setup)
        return tokenizer, positions_of(read_config(checkpoint, setup.trust_remote_code))
    except (OSError, KeyError, ValueError) as error:
        raise unreadable(checkpoint, error) from error


def load_reference(checkpoint: Checkpoint, setup: TrainingOptions | None = None) -> Any:
    """The checkpoint's frozen model, without dropout."""
    model = load_policy(checkpoint, 0.0, setup).model
    return model.eval().requires_grad_(False)


def read_configs(checkpoint: Checkpoint, dropout: float, setup: TrainingOptions) -> tuple[Any, Any]:
    """The configuration with `dropout` everywhere, and the configuration to save."""
    try:
        config = read_config(checkpoint, setup.trust_remote_code)
    except (OSError, KeyError, ValueError) as error:
        raise unreadable(checkpoint, error) from error
    original = copy.deepcopy(config)
    original.dtype = torch.float32
    _set_dropout(checkpoint, config, dropout)
    return config, original


def load_tokenizer(checkpoint: Checkpoint, setup: TrainingOptions | None = None) -> Any:
    """The checkpoint's tokenizer; its chat template has the arguments of `setup`.

    Raises:
        InputError: The tokenizer has no end token, so a model could not learn to stop; or its chat
            template does not read an argument; or the model lacks embeddings for its tokens.
    """
    setup = setup or TrainingOptions()
    tokenizer = read_tokenizer(checkpoint, setup.trust_remote_code, setup.template)
    config = read_config(checkpoint, setup.trust_remote_code)
    refuse_larger_tokenizer(checkpoint, tokenizer, config)
    if chat.end_of_turn(tokenizer) is None:
        raise InputError(
            f"{checkpoint.name}: the tokenizer in {checkpoint.path} has no end token, so responses "
            "would never end. Set eos_token in its tokenizer_config.json."
        )
    return tokenizer


def with_end_of_turn(generation_config: Any, tokenizer: Any) -> Any:
    """The configuration with the end of a turn among its end tokens, for sampling."""
    changed, end = copy.deepcopy(generation_config), chat.end_of_turn(tokenizer)
    named = changed.eos_token_id
    known = named if isinstance(named, list) else [] if named is None else [named]
    if known and end not in known:
        changed.eos_token_id = [*known, end]
    return changed


def _copy_code_and_tokenizer(checkpoint: Checkpoint, folder: Path, setup: TrainingOptions) -> None:
    tokenizer = read_tokenizer(checkpoint, setup.trust_remote_code)
    # `save_pretrained` also writes the arguments with which the tokenizer was loaded.
    for written in map(Path, tokenizer.save_pretrained(folder)):
        source = checkpoint.path / written.name
        if source.is_file():
            shutil.copyfile(source, written)
    if not tokenizer.chat_template:
        # The model is trained and sampled with this template, so it must be served with it.
        (folder / "chat_template.jinja").write_text(chat.PLAIN_TEMPLATE, "utf-8")
    if setup.trust_remote_code:
        for source in root_of(checkpoint).path.glob("*.py"):
            shutil.copyfile(source, folder / source.name)


def dropout_fields(config: Any) -> list[str]:
    """Names of the configuration's dropout probabilities: `attention_dropout`, `resid_pdrop`..."""
    return [
        name
        for name, value in config.get_text_config(decoder=True).to_dict().items()
        if name.endswith(("dropout", "pdrop"))
        and not name.startswith(_OTHER_HEADS)
        and isinstance(value, int | float)
    ]


def _set_dropout(checkpoint: Checkpoint, config: Any, dropout: float) -> None:
    fields = dropout_fields(config)
    if dropout and not fields:
        raise InputError(
            f"{checkpoint.name}: the architecture {config.model_type} has no dropout, but "
            f"dropout = {dropout}. Set it to 0."
        )
    for name in fields:
        setattr(config.get_text_config(decoder=True), name, dropout)
