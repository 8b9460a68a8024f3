"""SFT and DPO by TRL's trainers."""

import gc
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from srlm_kedro.engines.training.base import DpoParams, SftParams, Trained
from srlm_kedro.engines.training.loop import Guarded, Journal, calm, terminal
from srlm_kedro.engines.training.policy import Policy, load_policy, load_reference
from srlm_kedro.engines.training.rows import (
    Row,
    dpo_rows,
    length,
    reading_order,
    refuse_long,
    sft_rows,
)
from srlm_kedro.errors import InputError, summary
from srlm_kedro.params import at
from srlm_kedro.records import Checkpoint, Example, Preference

_LOG_EVERY = 10
"""Steps between two rows of the log; the first and the last step are always there."""


class _SftTrainer(Guarded, SFTTrainer):
    pass


class _DpoTrainer(Guarded, DPOTrainer):
    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        """The rows as they are: they hold the very ids that sampling uses."""
        return dataset


class TrlEngine:
    """Trains full weights with TRL, bit for bit the same for the same seed on CPU."""

    def __init__(
        self,
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: str = "auto",
        threads: int | None = None,
        activation_checkpointing: bool = False,
        work_dir: str | None = None,
    ):
        """Sets precision and resources.

        Args:
            dtype: `bfloat16` computes in it (autocast); the weights stay in float32.
            device: `cpu` or `cuda`; `auto` takes a GPU when there is one.
            threads: CPU threads; None leaves torch's own choice. Sums are rounded differently
                with other numbers of threads, so name one where bits must agree between machines.
            activation_checkpointing: Computes activations twice, to save memory.
            work_dir: Where scratch folders are made (default: the system's); a place on the disk
                of `data/06_models` spares a copy.
        """
        self._bf16 = dtype == "bfloat16"
        self._cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
        self._threads = threads
        self._activation_checkpointing = activation_checkpointing
        self._work_dir = Path(work_dir) if work_dir else None

    def pretrain(self, documents: "Sequence[Document]", params: "PretrainParams", seed: int) -> Trained:
        """A small model trained from nothing on whole documents."""
        from srlm_kedro.engines.training.pretraining import pretrain

        with calm(self._threads):
            return pretrain(documents, params, seed)

    def sft(
        self, model: Checkpoint, examples: Sequence[Example], params: SftParams, seed: int
    ) -> Trained:
        """`model` fine-tuned on the completions of `examples`. Paper: section 3.1.

        Raises:
            InputError: Settings contradict each other, examples are too long, or there are none.
            GateError: The loss became NaN or infinite.
        """
        label = f"SFT of {model.name}"
        _refuse_settings(label, len(examples), params, params.learning_rate)
        with self._session() as output_dir:
            policy = load_policy(model, params.dropout)
            rows = sft_rows(policy.tokenizer, examples)
            _refuse_long(policy, rows, examples, params.max_length)
            dataset = _dataset(rows, params, seed)
            settings = self._settings(params, params.learning_rate, len(dataset), seed)
            args = SFTConfig(output_dir=output_dir, max_length=None, **settings)
            log = _run(_SftTrainer, label, policy, args, dataset)
            return Trained(policy.save(model, self._work_dir), log)

    def dpo(
        self,
        policy: Checkpoint,
        reference: Checkpoint,
        pairs: Sequence[Preference],
        params: DpoParams,
        seed: int,
    ) -> Trained:
        """`policy` moved towards the chosen responses, held by `reference`. Paper: section 3.1.

        The reference's log-probabilities are computed once, before training and without dropout.

        Raises:
            InputError: Settings contradict each other, pairs are too long, or there are none.
            GateError: The loss became NaN or infinite.
        """
        label = f"DPO of {policy.name}"
        rate = at(params.learning_rate, policy.iteration + 1)
        _refuse_settings(label, len(pairs), params, rate)
        with self._session() as output_dir:
            loaded = load_policy(policy, params.dropout)
            rows = dpo_rows(loaded.tokenizer, pairs)
            _refuse_long(loaded, rows, pairs, params.max_length)
            dataset = _dataset(rows, params, seed)
            args = DPOConfig(
                output_dir=output_dir,
                max_length=None,
                beta=at(params.beta, policy.iteration + 1),
                precompute_ref_log_probs=True,
                disable_dropout=params.dropout == 0,
                **self._settings(params, rate, len(dataset), seed),
            )
            # Without a reference model TRL takes the policy before its first step.
            frozen = None if reference.path == policy.path else load_reference(reference)
            log = _run(_DpoTrainer, label, loaded, args, dataset, ref_model=frozen)
            return Trained(loaded.save(policy, self._work_dir), log)

    @contextmanager
    def _session(self) -> Iterator[str]:
        """A folder for the trainer's own files; afterwards it and the GPU's memory are free."""
        folder = tempfile.TemporaryDirectory(prefix="trainer-", dir=self._work_dir)
        with calm(self._threads), folder as output_dir:
            yield output_dir
        gc.collect()
        if not self._cpu:
            torch.cuda.empty_cache()

    def _settings(
        self, params: SftParams | DpoParams, rate: float, rows: int, seed: int
    ) -> dict[str, Any]:
        """The arguments of transformers' trainer that SFT and DPO share."""
        steps = math.ceil(rows / params.batch_size)
        return {
            # NumPy, which the trainer seeds too, takes 32 bits.
            "seed": seed % 2**32,
            "num_train_epochs": 1,  # the rows of all epochs are in the dataset
            "train_sampling_strategy": "sequential",
            "per_device_train_batch_size": params.micro_batch_size,
            "gradient_accumulation_steps": params.batch_size // params.micro_batch_size,
            "learning_rate": rate,
            "lr_scheduler_type": "cosine_with_min_lr",
            "lr_scheduler_kwargs": {"min_lr_rate": params.min_learning_rate / rate},
            "warmup_steps": round(params.warmup * steps),
            "weight_decay": params.weight_decay,
            "max_grad_norm": params.max_grad_norm,
            "use_cpu": self._cpu,
            "bf16": self._bf16,
            "activation_checkpointing": self._activation_checkpointing,
            "dataloader_pin_memory": not self._cpu,
            "logging_steps": _LOG_EVERY,
            "logging_first_step": True,
            "logging_nan_inf_filter": False,
            "disable_tqdm": not terminal(),
            "report_to": "none",
            "save_strategy": "no",
        }


def _run(
    trainer_class: Callable[..., Any],
    label: str,
    policy: Policy,
    args: Any,
    dataset: Dataset,
    **extra: Any,
) -> list[dict[str, float]]:
    """Trains `policy.model` in place; what was logged."""
    journal = Journal(label)
    trainer = trainer_class(
        model=policy.model,
        args=args,
        train_dataset=dataset,
        processing_class=policy.tokenizer,
        callbacks=[journal],
        **extra,
    )
    trainer.label = label
    trainer.remove_callback(PrinterCallback)  # it prints to stdout what the journal logs
    trainer.train()
    return journal.rows


def _dataset(rows: Sequence[Row], params: SftParams | DpoParams, seed: int) -> Dataset:
    """The rows of all epochs in the order of reading."""
    order = reading_order([length(row) for row in rows], params.batch_size, params.epochs, seed)
    return Dataset.from_list([rows[index] for index in order])


def _refuse_long(
    policy: Policy, rows: Sequence[Row], items: Sequence[Example | Preference], max_length: int
) -> None:
    limits = {"max_length": max_length}
    if policy.positions:
        limits["the model's max_position_embeddings"] = policy.positions
    limited_by = min(limits, key=limits.__getitem__)
    refuse_long(rows, [item.prompt for item in items], limits[limited_by], limited_by)


def _refuse_settings(
    label: str, count: int, params: SftParams | DpoParams, rate: float
) -> None:
    faults = []
    if not count:
        faults.append("there is nothing to train on; look why the table is empty")
    if params.batch_size % params.micro_batch_size:
        faults.append(
            f"batch_size = {params.batch_size} is no multiple of micro_batch_size = "
            f"{params.micro_batch_size}"
        )
    if params.min_learning_rate > rate:
        faults.append(
            f"min_learning_rate = {params.min_learning_rate} is above learning_rate = {rate}"
        )
    if faults:
        raise InputError(summary(f"{label}: training cannot start.", faults))
