"""SFT and DPO by TRL's trainers."""

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from datasets import Dataset
from pydantic import Field
from transformers import PrinterCallback
from trl import DPOConfig, SFTConfig

from srlm_kedro.engines.template import checked
from srlm_kedro.engines.torch_device import device_of, dtype_of, free_unused_memory
from srlm_kedro.engines.training.base import Document, Trained
from srlm_kedro.engines.training.params import DpoParams, PretrainParams, SftParams, TuningParams
from srlm_kedro.engines.training.resume.unfinished import Shelf, Unfinished
from srlm_kedro.engines.training.trl.activation_memory import must_recompute
from srlm_kedro.engines.training.trl.adapters import load_adapted, unrounded
from srlm_kedro.engines.training.trl.guards import Telling, calm, logged, told
from srlm_kedro.engines.training.trl.job import Job
from srlm_kedro.engines.training.trl.likelihood import log_probs
from srlm_kedro.engines.training.trl.objectives import (
    GuardedDpo,
    GuardedSft,
    dpo_objective,
    expert_balance,
)
from srlm_kedro.engines.training.trl.policy import (
    Policy,
    Setup,
    length_faults,
    load_policy,
    load_reference,
    load_tokenizer,
)
from srlm_kedro.engines.training.trl.token_rows import Row, dpo_rows, length, sft_rows, tokens
from srlm_kedro.engines.weights import refuse_encoder, unreadable
from srlm_kedro.errors import InputError
from srlm_kedro.params import Threads, at
from srlm_kedro.records import Checkpoint, Example, Preference

_LOG_EVERY = 10
"""Steps between two rows of the log; the first and the last step are always there."""


class TrlEngine:
    """Trains full weights or adapters with TRL; the same seed gives the same bits on CPU."""

    def __init__(
        self,
        dtype: Literal["float32", "bfloat16", "auto"] = "float32",
        device: str = "auto",
        threads: Threads | None = None,
        activation_checkpointing: bool | Literal["auto"] = "auto",
        work_dir: str | None = None,
        trust_remote_code: bool = False,
        checkpoints: str | None = None,
        checkpoint_seconds: Annotated[float, Field(ge=0, le=10_000_000)] = 300.0,
        template: Mapping[str, Any] | None = None,
    ):
        """Sets precision and resources.

        Args:
            dtype: `bfloat16` computes in it (autocast); weights that are trained stay in float32,
                those that an adapter leaves frozen are held in it. `auto` takes it on a GPU made
                for it, and `float32` elsewhere (`engines/torch_device.py`).
            device: `cpu` or `cuda`; `auto` takes a GPU when there is one.
            threads: CPU threads; None leaves torch's own choice. Sums are rounded differently
                with other numbers of threads, so name one where bits must agree between machines.
            activation_checkpointing: Computes activations twice, to save memory; `auto` does so
                where those of a micro-batch would not fit the device.
            work_dir: Where scratch folders are made (default: the system's); a place on the disk
                of `data/06_models` spares a copy.
            trust_remote_code: Lets a checkpoint run Python code of its own.
            checkpoints: Where the state of a training that has not ended is kept, so that the same
                call goes on from it after a kill, to the same bits on CPU. None keeps nothing.
            checkpoint_seconds: Least time from one state to the next, and so the most that a kill
                costs; 0 keeps every step's. Larger states are kept less often, so that writing
                them takes 3% of the time at most.
            template: Arguments of the chat template, as `{enable_thinking: false}`, and `date`, the
                day that it is told (default 2024-07-26). The generation engine takes the same.

        Raises:
            InputError: An option of another shape.
        """
        self._cpu = device_of(device) == "cpu"
        _refuse_option("dtype", dtype, ("float32", "bfloat16", "auto"))
        _refuse_option("activation_checkpointing", activation_checkpointing, (True, False, "auto"))
        _refuse_negative("checkpoint_seconds", checkpoint_seconds)
        bf16 = dtype_of(dtype, "cpu" if self._cpu else "cuda") is torch.bfloat16
        self._setup = Setup(trust_remote_code, bf16, self._cpu, checked(template))
        self._threads = threads
        self._activation_checkpointing = activation_checkpointing
        self._work_dir = Path(work_dir) if work_dir else None
        if self._work_dir:
            self._work_dir.mkdir(parents=True, exist_ok=True)
        self._shelf = Shelf(Path(checkpoints) if checkpoints else None, checkpoint_seconds)

    def refuse_unfit(self, model: Checkpoint) -> None:
        """Looks at the model's configuration and tokenizer; no weights are read.

        Raises:
            InputError: It is no causal language model, or could not learn to stop.
        """
        try:
            refuse_encoder(model, self._setup.trust_remote_code)
            load_tokenizer(model, self._setup)
        except (OSError, KeyError, ValueError) as error:
            raise unreadable(model, error) from error

    def forget(self) -> None:
        """Deletes the kept states of what this thread has trained so far: it is saved elsewhere."""
        self._shelf.forget()

    def pretrain(self, documents: Sequence[Document], params: PretrainParams, seed: int) -> Trained:
        """A small model trained from nothing on whole documents."""
        from srlm_kedro.engines.training.pretraining.pretrain import pretrain

        label = "Pre-training"
        texts = [document.segments for document in documents]
        asked = {"documents": texts, "params": params.recipe(engine=True), "seed": seed}
        with calm(self._threads), self._unfinished(label, "pretraining", **asked) as unfinished:
            return pretrain(documents, params, seed, told(label), self._work_dir, unfinished)

    def sft(
        self, model: Checkpoint, examples: Sequence[Example], params: SftParams, seed: int
    ) -> Trained:
        """`model` fine-tuned on the completions of `examples`. Paper: section 3.1.

        Raises:
            InputError: Settings contradict each other, too many examples are too long, or there
                are none.
            GateError: The loss became NaN or infinite.
        """
        rates = params.learning_rate, params.min_learning_rate
        job = Job(f"SFT of {model.name}", model, params, *rates, seed)
        job.refuse_settings(len(examples))
        asked = {**job.deciding(), "examples": list(map(vars, examples))}
        with self._session() as folder, self._unfinished(job.label, "sft", **asked) as unfinished:
            return self._sft(job, examples, folder, unfinished)

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
        Where policy and reference are one, an adapter's reference is its state before training,
        seen through the same frozen weights, quantised ones too.

        Raises:
            InputError: Settings contradict each other, too many pairs are too long, or there are
                none.
            GateError: The loss became NaN or infinite, or the policy ran away from `reference`.
        """
        schedules = params.learning_rate, params.min_learning_rate
        rates = [at(schedule, policy.iteration + 1) for schedule in schedules]
        job = Job(f"DPO of {policy.name}", policy, params, *rates, seed)
        job.refuse_settings(len(pairs))
        other = None if reference.path == policy.path else reference
        asked = {**job.deciding(), "reference": other, "pairs": list(map(vars, pairs))}
        with self._session() as folder, self._unfinished(job.label, "dpo", **asked) as unfinished:
            return self._dpo(job, other, pairs, folder, unfinished)

    def length_faults(
        self, model: Checkpoint, examples: Sequence[Example], params: TuningParams
    ) -> list[str]:
        """Why each example is too long to be learnt, in tokens; empty where it fits.

        Raises:
            InputError: The checkpoint's tokenizer or configuration cannot be read.
        """
        return length_faults(model, examples, params, self._setup)

    def log_probs(self, model: Checkpoint, examples: Sequence[Example]) -> list[float]:
        """How probable `model` finds each completion, in nats, the end token of a whole one too.

        Raises:
            InputError: `model` cannot be read, or cannot see texts as long as these.
        """
        try:
            with calm(self._threads):
                return log_probs(model, examples, self._setup)
        finally:
            free_unused_memory(cuda=not self._cpu)

    def _sft(
        self, job: Job, examples: Sequence[Example], output_dir: str, unfinished: Unfinished
    ) -> Trained:
        policy = self._policy(job)
        rows = job.fitting(policy, sft_rows(policy.tokenizer, examples), examples)
        reading = job.reading(rows)
        dataset = Dataset.from_list([rows[index] for index in reading])
        settings = self._settings(job, len(reading), self._recomputed(job, rows, policy.model))
        args = SFTConfig(output_dir=output_dir, **expert_balance(policy.config), **settings)
        log = _run(GuardedSft, job, policy, args, dataset, unfinished=unfinished)
        made = policy.save(job.model, self._work_dir)
        return Trained(made, log, too_long=len(examples) - len(rows))

    def _dpo(
        self,
        job: Job,
        reference: Checkpoint | None,
        pairs: Sequence[Preference],
        output_dir: str,
        unfinished: Unfinished,
    ) -> Trained:
        policy = self._policy(job)
        rows = job.fitting(policy, dpo_rows(policy.tokenizer, pairs), pairs)
        reading = job.reading(rows)
        # The reference reads each pair once, the policy as often as there are epochs.
        once = sorted(set(reading), key=lambda index: tokens(rows[index]), reverse=True)
        places = {index: place for place, index in enumerate(once)}
        dataset = Dataset.from_list([rows[index] for index in once])
        # Without a reference model TRL takes the policy before its first step.
        frozen = load_reference(reference, self._setup) if reference else None
        recomputed = self._recomputed(job, rows, policy.model, frozen)
        args = DPOConfig(
            output_dir=output_dir,
            beta=at(job.params.beta, job.model.iteration + 1),
            precompute_ref_log_probs=True,
            # TRL would turn an adapter's dropout off with the model's.
            disable_dropout=job.params.dropout == 0 and job.params.lora is None,
            **dpo_objective(job.params),
            **expert_balance(policy.config),
            **self._settings(job, len(reading), recomputed),
        )
        log = _run(
            GuardedDpo,
            job,
            policy,
            args,
            dataset,
            ref_model=frozen,
            reading=[places[index] for index in reading],
            nll_weight=job.params.nll_weight,
            max_log_ratio=job.params.max_log_ratio,
            unfinished=unfinished,
        )
        made = policy.save(job.model, self._work_dir)
        return Trained(made, log, too_long=len(pairs) - len(rows))

    def _policy(self, job: Job) -> Policy:
        if job.params.lora:
            return load_adapted(job.model, job.params, self._setup, job.seed)
        return load_policy(job.model, job.params.dropout, self._setup)

    def _unfinished(
        self, label: str, kind: str, **asked: Any
    ) -> AbstractContextManager[Unfinished]:
        """The place of a training, by what is asked of it and how this engine computes."""
        cpu = self._cpu or kind == "pretraining"
        setup = {
            "bf16": self._setup.bf16,
            "cpu": cpu,
            # On a GPU no sum is split among them.
            "threads": (self._threads or torch.get_num_threads()) if cpu else None,
            "activation_checkpointing": self._activation_checkpointing,
            "template": self._setup.template,
        }
        return self._shelf.training(label, kind=kind, setup=setup, **asked)

    @contextmanager
    def _session(self) -> Iterator[str]:
        """A folder for the trainer's own files; afterwards it and the model's memory are free."""
        folder = tempfile.TemporaryDirectory(prefix="trainer-", dir=self._work_dir)
        with calm(self._threads), folder as output_dir:
            yield output_dir
        free_unused_memory(cuda=not self._cpu)

    def _recomputed(self, job: Job, rows: Sequence[Row], *models: Any) -> bool:
        """Whether activations are computed twice; `models` are in memory, the trained one first."""
        if self._activation_checkpointing != "auto":
            return self._activation_checkpointing
        held, longest = job.params.micro_batch_size, max(map(length, rows))
        sequences = held * (2 if "chosen_ids" in rows[0] else 1)
        return must_recompute(job.label, models, sequences, longest, self._setup)

    def _settings(self, job: Job, reads: int, recomputed: bool) -> dict[str, Any]:
        """The arguments that both trainers share; `reads` counts the rows of all epochs."""
        params = job.params
        steps = math.ceil(reads / params.batch_size)
        return {
            # NumPy, which the trainer seeds too, takes 32 bits.
            "seed": job.seed % 2**32,
            "max_length": None,  # long rows are left out, never cut
            "num_train_epochs": 1,  # the rows of all epochs are in the dataset
            "train_sampling_strategy": "sequential",
            "per_device_train_batch_size": params.micro_batch_size,
            "gradient_accumulation_steps": params.batch_size // params.micro_batch_size,
            "learning_rate": job.rate,
            "lr_scheduler_type": "cosine_with_min_lr",
            "lr_scheduler_kwargs": {"min_lr_rate": job.least_rate / job.rate},
            "warmup_steps": round(params.warmup * steps),
            "weight_decay": params.weight_decay,
            "max_grad_norm": params.max_grad_norm,
            "use_cpu": self._cpu,
            "bf16": self._setup.bf16,
            "activation_checkpointing": recomputed,
            "dataloader_pin_memory": not self._cpu,
            "logging_steps": _LOG_EVERY,
            "logging_first_step": True,
            "disable_tqdm": True,
            "report_to": "none",
            "save_strategy": "no",
        }


def _refuse_option(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise InputError(
            f"The training engine's option {name} = {value!r} is none of {allowed}. Correct it in "
            "the catalog's training_engine."
        )


def _refuse_negative(name: str, value: float) -> None:
    if value < 0:
        raise InputError(
            f"The training engine's option {name} = {value} is below 0. Correct it in the "
            "catalog's training_engine."
        )


def _run(
    trainer_class: Callable[..., Any],
    job: Job,
    policy: Policy,
    args: Any,
    dataset: Dataset,
    **extra: Any,
) -> list[dict[str, float]]:
    """Trains `policy.model` in place; what was logged."""
    # On several devices one process would multiply the batch (DataParallel): it takes the first.
    _ = args.device
    args._n_gpu = min(args._n_gpu, 1)
    with unrounded(policy.model):
        trainer = trainer_class(
            model=policy.model,
            args=args,
            train_dataset=dataset,
            processing_class=policy.tokenizer,
            callbacks=[Telling(job.label)],
            label=job.label,
            **extra,
        )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout what is logged
    trainer.train()
    return logged(trainer.state.log_history)
