"""The training engine: SFT and DPO by TRL's trainers, and pretraining of a small model."""

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from srlm_kedro.engines.size_checks import parameters_of
from srlm_kedro.engines.template import checked
from srlm_kedro.engines.torch_device import GIB, device_of, dtype_of, free_unused_memory
from srlm_kedro.engines.training.base import Document, Trained
from srlm_kedro.engines.training.params import DpoParams, PretrainParams, SftParams, TuningParams
from srlm_kedro.engines.training.resume.unfinished import StateStore, UnfinishedTraining
from srlm_kedro.engines.training.trl.fine_tuning import (
    Workplace,
    prepare_dpo,
    prepare_sft,
    run_dpo,
    run_sft,
)
from srlm_kedro.engines.training.trl.guards import library_settings, progress_reporter
from srlm_kedro.engines.training.trl.job import Job, Prepared
from srlm_kedro.engines.training.trl.launch.job_folder import Asked, options_of
from srlm_kedro.engines.training.trl.launch.launching import train
from srlm_kedro.engines.training.trl.launch.layout import Layout
from srlm_kedro.engines.training.trl.likelihood import log_probs
from srlm_kedro.engines.training.trl.policy import TrainingOptions, length_faults, load_tokenizer
from srlm_kedro.engines.weights import refuse_encoder, unreadable
from srlm_kedro.errors import InputError, summary
from srlm_kedro.params import Count, Retries, Seconds, Threads, at
from srlm_kedro.records import Checkpoint, Example, Preference


class TrlEngine:
    """Trains full weights or adapters with TRL. On a CPU, the same seed gives the same bits."""

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
        ranks: Count | Literal["auto"] = 1,
        nodes: Count | Literal["auto"] = 1,
        copies: Count = 1,
        address: str = "auto",
        tries: Retries = 3,
        patience: Seconds = 600.0,
    ):
        """Sets precision and resources.

        Args:
            dtype: `bfloat16` computes in bfloat16 (autocast). Trained weights stay in float32; the
                frozen weights below an adapter are then in bfloat16. `auto` is bfloat16 on a GPU
                that supports it, and float32 elsewhere (`engines/torch_device.py`).
            device: `cpu` or `cuda`; `auto` takes a GPU if there is one.
            threads: CPU threads; None leaves the number to torch. Another number of threads rounds
                sums differently, so set it if bits must agree between machines.
            activation_checkpointing: Computes activations twice, to save memory. `auto` does so if
                the activations of a micro-batch would not fit the device.
            work_dir: Where scratch folders are made (default: the system's place). A folder on the
                disk of `data/06_models` saves a copy.
            trust_remote_code: Lets a checkpoint run its own Python code.
            checkpoints: Where the state of an unfinished training is kept. After a kill, the same
                call goes on from that state, with the same bits on a CPU. None keeps nothing.
            checkpoint_seconds: The least time between two states, and so the most time that a kill
                costs. 0 keeps the state after every step. Large states are kept less often, so that
                writing takes at most 3% of the time.
            template: Arguments of the chat template, such as `{enable_thinking: false}`, and
                `date`, the day that the template is told (default 2024-07-26). The generation
                engine takes the same.
            ranks: Processes that train together, each with a device and a part of the weights.
                They take the steps that one would take. With 1, this process trains. `auto`: one
                for each GPU, or on a CPU for each `threads` of the machine, and at most one for
                each row of a step.
            nodes: Nodes of a cluster on which the ranks are, the same number on each. With 1, the
                ranks are on this machine, and no cluster is needed. `auto`: all that have GPUs.
            copies: Copies of the weights, each sharded over `ranks / copies` ranks. As many
                copies as nodes keep the traffic of weights within the nodes, for more memory.
            address: Of the cluster; `auto` finds the one of this machine.
            tries: How often ranks may die without having come further.
            patience: Seconds that the cluster may take to have room for the ranks.

        Raises:
            InputError: An option has a value that is not allowed.
        """
        self._cpu = device_of(device) == "cpu"
        _refuse_option("dtype", dtype, ("float32", "bfloat16", "auto"))
        _refuse_option("activation_checkpointing", activation_checkpointing, (True, False, "auto"))
        _refuse_negative("checkpoint_seconds", checkpoint_seconds)
        self._threads, self._tries, self._dtype = threads, tries, dtype
        # On other machines than this one, `auto` is what those have.
        cpu = None if device == "auto" and nodes != 1 else self._cpu
        self._layout = Layout(ranks, nodes, copies, cpu, threads, address, patience)
        self._setup = TrainingOptions(
            trust_remote_code=trust_remote_code,
            bf16=dtype_of(dtype, "cpu" if self._cpu else "cuda") is torch.bfloat16,
            cpu=self._cpu,
            template=checked(template),
            activation_checkpointing=activation_checkpointing,
            work_dir=Path(work_dir) if work_dir else None,
        )
        if self._setup.work_dir:
            self._setup.work_dir.mkdir(parents=True, exist_ok=True)
        self._states = StateStore(Path(checkpoints) if checkpoints else None, checkpoint_seconds)

    def refuse_unfit(self, model: Checkpoint) -> None:
        """Checks the model's configuration and tokenizer, without its weights.

        Raises:
            InputError: It is not a causal language model, or could not learn to stop.
        """
        try:
            refuse_encoder(model, self._setup.trust_remote_code)
            load_tokenizer(model, self._setup)
        except (OSError, KeyError, ValueError) as error:
            raise unreadable(model, error) from error

    def refuse_trainings(self, model: Checkpoint, trainings: Sequence[TuningParams]) -> None:
        """Checks that the ranks can train a model, and that its weights alone fit their devices.

        Args:
            model: To train.
            trainings: Parameters of what it is trained by.

        Raises:
            InputError: A rank would have no row of a step, or the weights cannot fit.
        """
        weights, setup = parameters_of(model), self._setup_of_ranks()
        for params in trainings:
            ranks, nodes = self._layout.size(params.batch_size)
            _refuse_ranks(model.name, params, ranks)
            each = weights * _bytes_held(params, setup.bf16) * self._layout.copies / ranks
            have = self._layout.memory(ranks, nodes)
            if have is not None and each > have:
                raise InputError(
                    f"{model.name}: {weights / 1e9:.3g}B weights take {each / GIB:.1f} GiB on each "
                    f"of {ranks} devices in training (`{params.GROUP}`), and one has "
                    f"{have / GIB:.1f} GiB. Train an adapter (`{params.GROUP}.lora`), raise "
                    "`ranks` of the training engine, or take a smaller model."
                )

    def refuse_unready(self) -> None:
        """Raises InputError if the ranks cannot be laid out, or their devices are not there."""
        self._layout.refuse_unready()

    def forget(self) -> None:
        """Deletes the states of the trainings that this thread finished: their models are saved."""
        self._states.forget()

    def pretrain(self, documents: Sequence[Document], params: PretrainParams, seed: int) -> Trained:
        """A small model trained from scratch on whole documents."""
        from srlm_kedro.engines.training.pretraining.pretrain import pretrain

        label = "Pre-training"
        texts = [document.segments for document in documents]
        inputs = {"documents": texts, "params": params.recipe(engine=True), "seed": seed}
        settings = library_settings(self._threads)
        with settings, self._unfinished(label, "pretraining", **inputs) as unfinished:
            report = progress_reporter(label)
            return pretrain(documents, params, seed, report, self._setup.work_dir, unfinished)

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
        prepared = prepare_sft(job, examples, self._setup)
        inputs = {**job.identity(), "examples": list(map(vars, examples))}
        with self._session() as folder, self._unfinished(job.label, "sft", **inputs) as unfinished:
            return self._train("sft", job, None, prepared, folder, unfinished)

    def dpo(
        self,
        policy: Checkpoint,
        reference: Checkpoint,
        pairs: Sequence[Preference],
        params: DpoParams,
        seed: int,
    ) -> Trained:
        """`policy` trained on pairs by DPO, with `reference` as its reference.

        The reference's log-probabilities are computed once, before training and without dropout. If
        policy and reference are the same adapter, the reference is the adapter before training, on
        the same frozen weights, quantised or not.
        Paper: section 3.1.

        Raises:
            InputError: Settings contradict each other, too many pairs are too long, or there are
                none.
            GateError: The loss became NaN or infinite, or the policy ran away from `reference`.
        """
        schedules = params.learning_rate, params.min_learning_rate
        rates = [at(schedule, policy.iteration + 1) for schedule in schedules]
        job = Job(f"DPO of {policy.name}", policy, params, *rates, seed)
        job.refuse_settings(len(pairs))
        prepared = prepare_dpo(job, pairs, self._setup)
        other = None if reference.path == policy.path else reference
        inputs = {**job.identity(), "reference": other, "pairs": list(map(vars, pairs))}
        with self._session() as folder, self._unfinished(job.label, "dpo", **inputs) as unfinished:
            return self._train("dpo", job, other, prepared, folder, unfinished)

    def length_faults(
        self, model: Checkpoint, examples: Sequence[Example], params: TuningParams
    ) -> list[str]:
        """Why each example is too long for training, in tokens; empty if it fits.

        Raises:
            InputError: The checkpoint's tokenizer or configuration cannot be read.
        """
        return length_faults(model, examples, params, self._setup)

    def log_probs(self, model: Checkpoint, examples: Sequence[Example]) -> list[float]:
        """The log-probability of each completion in nats; a whole one includes its end token.

        Raises:
            InputError: `model` cannot be read, or an example is too long for it.
        """
        try:
            with library_settings(self._threads):
                return log_probs(model, examples, self._setup)
        finally:
            free_unused_memory(cuda=not self._cpu)

    def _train(
        self,
        kind: Literal["sft", "dpo"],
        job: Job,
        reference: Checkpoint | None,
        prepared: Prepared,
        folder: str,
        unfinished: UnfinishedTraining,
    ) -> Trained:
        """The training in this process, or by ranks that are started for it."""
        report = progress_reporter(job.label)
        ranks, nodes = self._layout.size(job.params.batch_size)
        if ranks > 1 or self._layout.elsewhere:
            _refuse_ranks(job.label, job.params, ranks)
            asked = Asked(
                kind,
                job,
                reference,
                prepared,
                options_of(self._setup_of_ranks()),
                self._threads,
                self._layout.copies,
                unfinished.folder,
                unfinished.seconds,
            )
            start = partial(self._layout.start, ranks=ranks, nodes=nodes)
            return train(asked, start, self._tries, self._setup.work_dir, report)
        place = Workplace(folder, unfinished, report)
        if kind == "sft":
            return run_sft(job, prepared, self._setup, place)
        return run_dpo(job, reference, prepared, self._setup, place)

    def _setup_of_ranks(self) -> TrainingOptions:
        """The options with the device and the type that ranks on other machines have."""
        cpu = self._layout.on_cpu
        if cpu is self._cpu:
            return self._setup
        bf16 = self._dtype == "bfloat16" or (self._dtype == "auto" and not cpu)
        return dataclasses.replace(self._setup, cpu=cpu, bf16=bf16)

    def _unfinished(
        self, label: str, kind: str, **inputs: Any
    ) -> AbstractContextManager[UnfinishedTraining]:
        """The kept state of a training, found by its inputs and by how this engine computes."""
        ranks = self._setup_of_ranks()
        cpu = ranks.cpu or kind == "pretraining"
        setup = {
            "bf16": ranks.bf16,
            "cpu": cpu,
            # On a GPU, threads do not split sums.
            "threads": (self._threads or torch.get_num_threads()) if cpu else None,
            "activation_checkpointing": self._setup.activation_checkpointing,
            "template": self._setup.template,
        }
        return self._states.training(label, kind=kind, setup=setup, **inputs)

    @contextmanager
    def _session(self) -> Iterator[str]:
        """A folder for the trainer's files. Afterwards it is deleted and the memory is free."""
        folder = tempfile.TemporaryDirectory(prefix="trainer-", dir=self._setup.work_dir)
        with library_settings(self._threads), folder as output_dir:
            yield output_dir
        free_unused_memory(cuda=not self._cpu)


def _bytes_held(params: TuningParams, bf16: bool) -> float:
    """Bytes of each weight: with gradient and Adam's two moments, or frozen below an adapter."""
    if params.lora is None:
        return 16
    if params.lora.quantise:
        return 0.5
    return 2 if bf16 else 4


def _refuse_ranks(label: str, params: TuningParams, ranks: int) -> None:
    """Raises InputError if so many ranks cannot train a model."""
    faults: list[str] = []
    if ranks > params.batch_size:
        faults.append(
            f"{ranks - params.batch_size} of {ranks} ranks would have no row of a step "
            f"(`{params.GROUP}.batch_size` = {params.batch_size}); lower `ranks`"
        )
    if ranks > 1 and params.lora and params.lora.quantise:
        faults.append("quantised weights are not sharded; set lora.quantise = null")
    if faults:
        raise InputError(summary(f"{label}: many ranks cannot train it.", faults))


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
