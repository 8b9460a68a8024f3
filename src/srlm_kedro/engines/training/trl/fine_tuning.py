"""SFT and DPO from checkpoint to checkpoint: model, rows, TRL's trainer, saved weights."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, load_from_disk
from transformers import PrinterCallback
from trl import DPOConfig, SFTConfig

from srlm_kedro.engines.training.base import Trained
from srlm_kedro.engines.training.ranks import FILLER, shares
from srlm_kedro.engines.training.resume.unfinished import UnfinishedTraining
from srlm_kedro.engines.training.trl.activation_memory import must_recompute
from srlm_kedro.engines.training.trl.adapters import keep_adapter_float32, load_adapted
from srlm_kedro.engines.training.trl.guards import ProgressCallback, logged_rows
from srlm_kedro.engines.training.trl.job import Job, Prepared
from srlm_kedro.engines.training.trl.objectives import dpo_objective, without_router_loss
from srlm_kedro.engines.training.trl.policy import (
    Policy,
    TrainingOptions,
    load_policy,
    load_reference,
    read_limits,
)
from srlm_kedro.engines.training.trl.scoring import lacks_backbone
from srlm_kedro.engines.training.trl.token_rows import (
    IGNORED,
    Row,
    dpo_rows,
    length,
    sft_rows,
    tokens,
)
from srlm_kedro.engines.training.trl.trainers import GuardedDpo, GuardedSft
from srlm_kedro.errors import InputError
from srlm_kedro.params import at
from srlm_kedro.records import Checkpoint, Example, Preference

_LOG_EVERY = 10
"""Steps between two rows of the log; the first and the last step are always there."""


@dataclass(frozen=True)
class Workplace:
    """Where a training works, and to whom it speaks."""

    folder: str
    """For the trainer's own files; all ranks see it."""
    unfinished: UnfinishedTraining
    """Keeps the state of the training."""
    report: Callable[[float, int, float], None]
    """Takes the steps done, the number of all steps, and the loss."""


def prepare_sft(job: Job, examples: Sequence[Example], setup: TrainingOptions) -> Prepared:
    """The rows of an SFT; reads the job's tokenizer and configuration only.

    Raises:
        InputError: The checkpoint cannot be read, or too many examples are too long.
    """
    tokenizer, positions = read_limits(job.model, setup)
    return job.prepare(sft_rows(tokenizer, examples), examples, positions)


def prepare_dpo(job: Job, pairs: Sequence[Preference], setup: TrainingOptions) -> Prepared:
    """The rows of a DPO; reads the job's tokenizer and configuration only.

    Raises:
        InputError: The checkpoint cannot be read, or too many pairs are too long.
    """
    tokenizer, positions = read_limits(job.model, setup)
    return job.prepare(dpo_rows(tokenizer, pairs), pairs, positions)


def run_sft(
    job: Job,
    prepared: Prepared,
    setup: TrainingOptions,
    place: Workplace,
) -> Trained:
    """Fine-tunes the job's model.

    Args:
        job: Model and settings.
        prepared: Of `prepare_sft`.
        setup: The engine's options.
        place: Where it works.
    """
    policy = _load(job, setup)
    rows = prepared.rows
    recomputed = _is_recomputed(job, setup, rows, policy.model)
    arguments = _arguments(job, setup, len(prepared.order), recomputed)
    args = SFTConfig(output_dir=place.folder, **without_router_loss(policy.config), **arguments)
    per_example = job.params.weighting == "example"
    log = _train(
        GuardedSft,
        job,
        policy,
        place,
        args,
        _examples(rows, _shares(job, prepared, setup), setup),
        per_example=per_example,
    )
    return Trained(policy.save(job.model), log, prepared.too_long)


def run_dpo(
    job: Job,
    reference: Checkpoint | None,
    prepared: Prepared,
    setup: TrainingOptions,
    place: Workplace,
) -> Trained:
    """Trains the job's model by DPO.

    Args:
        job: Model and settings.
        reference: None if it is the job's model. TRL then takes the policy before its first step.
        prepared: Of `prepare_dpo`.
        setup: The engine's options.
        place: Where it works.
    """
    policy = _load(job, setup)
    rows, order = prepared.rows, prepared.order
    # The reference reads each pair once, the policy once per epoch.
    once = sorted(set(order), key=lambda index: tokens(rows[index]), reverse=True)
    places = {index: place for place, index in enumerate(once)}
    frozen = load_reference(reference, setup) if reference else None
    recomputed = _is_recomputed(job, setup, rows, policy.model, frozen)
    args = DPOConfig(
        output_dir=place.folder,
        beta=at(job.params.beta, job.model.iteration + 1),
        precompute_ref_log_probs=True,
        # TRL would turn off an adapter's dropout together with the model's.
        disable_dropout=job.params.dropout == 0 and job.params.lora is None,
        **dpo_objective(job.params),
        **without_router_loss(policy.config),
        **_arguments(job, setup, len(order), recomputed),
    )
    log = _train(
        GuardedDpo,
        job,
        policy,
        place,
        args,
        _shared([rows[index] for index in once], setup, place),
        ref_model=frozen,
        reading=[
            None if index is None else places[index] for index in _shares(job, prepared, setup)
        ],
        nll_weight=job.params.nll_weight,
        max_log_ratio=job.params.max_log_ratio,
    )
    return Trained(policy.save(job.model), log, prepared.too_long)


def _shares(job: Job, prepared: Prepared, setup: TrainingOptions) -> list[int | None]:
    params = job.params
    return shares(prepared.order, params.batch_size, params.micro_batch_size, setup.ranks.size)


def _examples(rows: Sequence[Row], read: Sequence[int | None], setup: TrainingOptions) -> Dataset:
    """The examples in the order of training; a filler has no targets."""
    shortest = min(rows, key=length)
    filler = {**shortest, "labels": [IGNORED] * length(shortest)}
    dataset = Dataset.from_list([filler if index is None else rows[index] for index in read])
    if not setup.ranks.many:
        return dataset
    return dataset.add_column(FILLER, [index is None for index in read])


def _shared(rows: Sequence[Row], setup: TrainingOptions, place: Workplace) -> Dataset:
    """The pairs; many ranks find them on a disk, where TRL puts the reference's values."""
    dataset = Dataset.from_list(rows)
    if not setup.ranks.many:
        return dataset
    folder = str(Path(place.folder) / "pairs")
    setup.ranks.same(dataset.save_to_disk, folder)
    return load_from_disk(folder)


def _load(job: Job, setup: TrainingOptions) -> Policy:
    if job.params.lora:
        policy: Policy = load_adapted(job.model, job.params, setup, job.seed)
    else:
        policy = load_policy(job.model, job.params.dropout, setup)
    if setup.ranks.many and lacks_backbone(policy.model):
        raise InputError(
            f"{job.label}: the architecture {policy.config.model_type} has no backbone apart from "
            "its output layer, so many ranks cannot train it. Set the training engine's `ranks` "
            "to 1."
        )
    return policy


def _is_recomputed(job: Job, setup: TrainingOptions, rows: Sequence[Row], *models: Any) -> bool:
    """Whether activations are computed twice; of the models in memory, the trained one is first."""
    if setup.activation_checkpointing != "auto":
        return setup.activation_checkpointing
    held, longest = job.params.micro_batch_size, max(map(length, rows))
    sequences = held * (2 if "chosen_ids" in rows[0] else 1)
    needed = must_recompute(job.label, models, sequences, longest, setup)
    return any(setup.ranks.gathered(needed))


def _arguments(job: Job, setup: TrainingOptions, reads: int, recomputed: bool) -> dict[str, Any]:
    """The arguments of both trainers; `reads` is the number of rows of all epochs."""
    params = job.params
    steps = math.ceil(reads / params.batch_size)
    return {
        # The trainer also seeds NumPy, which takes 32 bits.
        "seed": job.seed % 2**32,
        "max_length": None,  # long rows are left out, never cut
        "num_train_epochs": 1,  # the dataset holds the rows of all epochs
        "train_sampling_strategy": "sequential",
        "per_device_train_batch_size": params.micro_batch_size,
        "gradient_accumulation_steps": setup.ranks.micro_batches(
            params.batch_size, params.micro_batch_size
        ),
        "learning_rate": job.rate,
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": job.least_rate / job.rate},
        "warmup_steps": round(params.warmup * steps),
        "weight_decay": params.weight_decay,
        "max_grad_norm": params.max_grad_norm,
        "use_cpu": setup.cpu,
        "bf16": setup.bf16,
        "activation_checkpointing": recomputed,
        "dataloader_pin_memory": not setup.cpu,
        "logging_steps": _LOG_EVERY,
        "logging_first_step": True,
        "disable_tqdm": True,
        "report_to": "none",
        "save_strategy": "no",
    }


def _train(
    trainer_class: Callable[..., Any],
    job: Job,
    policy: Policy,
    place: Workplace,
    args: Any,
    dataset: Dataset,
    **extra: Any,
) -> list[dict[str, float]]:
    """Trains `policy.model` in place, and gives the rows of the log."""
    # With several GPUs, one process would multiply the batch (DataParallel). It takes the first.
    _ = args.device
    args._n_gpu = min(args._n_gpu, 1)
    with keep_adapter_float32(policy.model):
        trainer = trainer_class(
            model=policy.model,
            args=args,
            train_dataset=dataset,
            processing_class=policy.tokenizer,
            callbacks=[ProgressCallback(place.report)],
            label=job.label,
            unfinished=place.unfinished,
            ranks=policy.setup.ranks,
            **extra,
        )
    trainer.remove_callback(PrinterCallback)  # it prints the log to stdout
    trainer.train()
    return logged_rows(trainer.state.log_history)
