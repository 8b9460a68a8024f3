"""SFT and DPO from checkpoint to checkpoint: model, rows, TRL's trainer, saved weights."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from datasets import Dataset
from transformers import PrinterCallback
from trl import DPOConfig, SFTConfig

from srlm_kedro.engines.training.base import Trained
from srlm_kedro.engines.training.resume.unfinished import UnfinishedTraining
from srlm_kedro.engines.training.trl.activation_memory import must_recompute
from srlm_kedro.engines.training.trl.adapters import keep_adapter_float32, load_adapted
from srlm_kedro.engines.training.trl.guards import ProgressCallback, logged_rows
from srlm_kedro.engines.training.trl.job import Job
from srlm_kedro.engines.training.trl.objectives import dpo_objective, without_router_loss
from srlm_kedro.engines.training.trl.policy import (
    Policy,
    TrainingOptions,
    load_policy,
    load_reference,
)
from srlm_kedro.engines.training.trl.token_rows import Row, dpo_rows, length, sft_rows, tokens
from srlm_kedro.engines.training.trl.trainers import GuardedDpo, GuardedSft
from srlm_kedro.params import at
from srlm_kedro.records import Checkpoint, Example, Preference

_LOG_EVERY = 10
"""Steps between two rows of the log; the first and the last step are always there."""


def run_sft(
    job: Job,
    examples: Sequence[Example],
    setup: TrainingOptions,
    output_dir: str,
    unfinished: UnfinishedTraining,
) -> Trained:
    """Fine-tunes the job's model on the completions of `examples`.

    Args:
        job: Model and settings.
        examples: At least one.
        setup: The engine's options.
        output_dir: A folder for the trainer's own files.
        unfinished: Keeps the state of the training.
    """
    policy = _load(job, setup)
    rows = job.rows_that_fit(policy, sft_rows(policy.tokenizer, examples), examples)
    job.announce(rows)
    order = job.reading_order(rows)
    dataset = Dataset.from_list([rows[index] for index in order])
    recomputed = _is_recomputed(job, setup, rows, policy.model)
    arguments = _arguments(job, setup, len(order), recomputed)
    args = SFTConfig(output_dir=output_dir, **without_router_loss(policy.config), **arguments)
    per_example = job.params.weighting == "example"
    log = _train(
        GuardedSft, job, policy, args, dataset, per_example=per_example, unfinished=unfinished
    )
    return Trained(policy.save(job.model), log, too_long=len(examples) - len(rows))


def run_dpo(
    job: Job,
    reference: Checkpoint | None,
    pairs: Sequence[Preference],
    setup: TrainingOptions,
    output_dir: str,
    unfinished: UnfinishedTraining,
) -> Trained:
    """Trains the job's model on `pairs` by DPO.

    Args:
        job: Model and settings.
        reference: None if it is the job's model. TRL then takes the policy before its first step.
        pairs: At least one.
        setup: The engine's options.
        output_dir: A folder for the trainer's own files.
        unfinished: Keeps the state of the training.
    """
    policy = _load(job, setup)
    rows = job.rows_that_fit(policy, dpo_rows(policy.tokenizer, pairs), pairs)
    job.announce(rows)
    order = job.reading_order(rows)
    # The reference reads each pair once, the policy once per epoch.
    once = sorted(set(order), key=lambda index: tokens(rows[index]), reverse=True)
    places = {index: place for place, index in enumerate(once)}
    dataset = Dataset.from_list([rows[index] for index in once])
    frozen = load_reference(reference, setup) if reference else None
    recomputed = _is_recomputed(job, setup, rows, policy.model, frozen)
    args = DPOConfig(
        output_dir=output_dir,
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
        args,
        dataset,
        ref_model=frozen,
        reading=[places[index] for index in order],
        nll_weight=job.params.nll_weight,
        max_log_ratio=job.params.max_log_ratio,
        unfinished=unfinished,
    )
    return Trained(policy.save(job.model), log, too_long=len(pairs) - len(rows))


def _load(job: Job, setup: TrainingOptions) -> Policy:
    if job.params.lora:
        return load_adapted(job.model, job.params, setup, job.seed)
    return load_policy(job.model, job.params.dropout, setup)


def _is_recomputed(job: Job, setup: TrainingOptions, rows: Sequence[Row], *models: Any) -> bool:
    """Whether activations are computed twice; of the models in memory, the trained one is first."""
    if setup.activation_checkpointing != "auto":
        return setup.activation_checkpointing
    held, longest = job.params.micro_batch_size, max(map(length, rows))
    sequences = held * (2 if "chosen_ids" in rows[0] else 1)
    return must_recompute(job.label, models, sequences, longest, setup)


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
        "gradient_accumulation_steps": params.batch_size // params.micro_batch_size,
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
            callbacks=[ProgressCallback(job.label)],
            label=job.label,
            **extra,
        )
    trainer.remove_callback(PrinterCallback)  # it prints the log to stdout
    trainer.train()
    return logged_rows(trainer.state.log_history)
