"""Sampling with vLLM in a separate Python environment, since it needs other versions."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from srlm_kedro.display.progress import Progress
from srlm_kedro.engines.generation import watching
from srlm_kedro.engines.generation.base import Choices, Completion, Request, Sampling
from srlm_kedro.engines.generation.choices import first_tokens
from srlm_kedro.engines.generation.completions import opened_thoughts
from srlm_kedro.engines.generation.loading import end_tokens, files_key, read_limits
from srlm_kedro.engines.generation.request_tokens import (
    draw_fitting,
    length_faults,
    read_fitting,
    tokenise,
)
from srlm_kedro.engines.generation.servers import vllm_worker
from srlm_kedro.engines.generation.servers.child_process import ChildProcess
from srlm_kedro.engines.generation.servers.vllm_held import Held, Task
from srlm_kedro.engines.template import Argument, checked
from srlm_kedro.engines.weights import is_adapter, read_tokenizer, unreadable
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.params import Count, Retries, Seconds
from srlm_kedro.records import Checkpoint, derive_seed

_Row = TypeVar("_Row")
_log = logging.getLogger(__name__)
_NO_TELEMETRY = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}


class VllmEngine:
    """Samples completions with vLLM's offline engine in a child process.

    Prompts are rendered in this process, as for every other engine, and sent as token ids. Each
    sample is a request with its own seed. vLLM computes what the samples of a prompt share once.
    """

    def __init__(
        self,
        python: str,
        dtype: str = "auto",
        llm_options: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
        chunk: Count = 4096,
        retries: Retries = 2,
        patience: Seconds | None = 3600.0,
        template: Mapping[str, Any] | None = None,
    ):
        """Names the environment.

        Args:
            python: The interpreter of an environment with vLLM.
            dtype: Precision of the weights; `auto` takes the checkpoint's own.
            llm_options: Further arguments of `vllm.LLM`, such as `{tensor_parallel_size: 2}`.
            environment: Further variables of the child process, such as
                `{CUDA_VISIBLE_DEVICES: "0"}`.
            chunk: Completions that are asked for at once; progress is shown after each chunk.
            retries: Further tries of a chunk, each in a new process, after one that died, did not
                answer, or failed (ran out of memory).
            patience: Seconds that a chunk may take before its process is killed; None sets no
                limit.
            template: Arguments of the chat template, such as `{enable_thinking: false}`, and
                `date`, its current date (default 2024-07-26). The training engine takes the same.

        Raises:
            InputError: `template` holds what no template can be given.
        """
        self._python, self._environment = python, environment or {}
        self._options = {"dtype": dtype, **(llm_options or {})}
        self._chunk, self._retries, self._patience = chunk, retries, patience
        self._template = checked(template)
        self._held: Held | None = None

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Rows of `sampling.n` completions, one row per request.

        Raises:
            InputError: vLLM or the model cannot be loaded, or requests do not fit the model.
            GateError: All tries of a chunk died, did not answer, or failed.
        """
        if not requests:
            return []
        held = self._load(model)
        prompts = tokenise(held.tokenizer, requests)

        def draw(fitting: Sequence[Request], ids: Sequence[list[int]]) -> list[list[Completion]]:
            return self._complete(model, fitting, ids, sampling, seed)

        return draw_fitting(model, held.positions, requests, prompts, sampling, draw)

    def choice_logprobs(
        self, model: Checkpoint, requests: Sequence[Request], choices: Choices
    ) -> list[list[float]]:
        """The log-probability of each choice as the answer, one row per request.

        Raises:
            InputError: As by `generate`; or two choices begin with the same token.
            GateError: All tries of a chunk died, did not answer, or failed.
        """
        if not requests:
            return []
        held = self._load(model)
        tokens = first_tokens(model, held.tokenizer, choices)
        prompts = tokenise(held.tokenizer, requests, before_answers=True)

        def read(_: Sequence[Request], ids: Sequence[list[int]]) -> list[list[float]]:
            rows: list[list[float]] = []
            with Progress(model.name, len(ids), "answers") as progress:
                for first in range(0, len(ids), self._chunk):
                    chunk = ids[first : first + self._chunk]
                    rows += self._tried(
                        model,
                        partial(Held.read, prompts=chunk, tokens=tokens, timeout=self._patience),
                    )
                    progress.add(len(chunk))
            return rows

        return read_fitting(model, held.positions, requests, prompts, len(choices), read)

    def length_faults(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling
    ) -> list[str]:
        """Why each request leaves `model` no room, in tokens; an empty text for one that fits.

        The limit is `max_model_len` of `llm_options` if it is set, else the checkpoint's own.

        Raises:
            InputError: The checkpoint's tokenizer or configuration cannot be read.
        """
        tokenizer, positions = read_limits(model, template=self._template)
        named = self._options.get("max_model_len")
        # vLLM also takes words and -1. Then it finds the limit when it loads the model.
        limit = named if isinstance(named, int) and named > 0 else positions
        return length_faults(tokenise(tokenizer, requests), limit, sampling)

    def _complete(
        self,
        model: Checkpoint,
        requests: Sequence[Request],
        prompts: Sequence[list[int]],
        sampling: Sampling,
        seed: int,
    ) -> list[list[Completion]]:
        opened = opened_thoughts(self._load(model).tokenizer, requests)
        # All greedy samples are the same text.
        count = 1 if sampling.temperature == 0 else sampling.n
        places = [(row, sample) for row in range(len(requests)) for sample in range(count)]
        drawn: list[Completion] = []
        with Progress(model.name, len(places)) as progress:
            for first in range(0, len(places), self._chunk):
                chunk = places[first : first + self._chunk]
                tasks = [
                    Task(
                        prompts[row], opened[row], requests[row].chat, _seed(seed, requests[row], n)
                    )
                    for row, n in chunk
                ]
                ask = partial(Held.sample, tasks=tasks, sampling=sampling, timeout=self._patience)
                new = self._tried(model, ask)
                progress.add(len(new), sum(completion.drawn or 0 for completion in new))
                watching.end_all(requests, dict(zip(chunk, new, strict=True)))
                drawn += new
        return [
            [drawn[row * count + sample % count] for sample in range(sampling.n)]
            for row in range(len(requests))
        ]

    def release(self) -> None:
        """Ends the child process, and so frees all that it holds."""
        held, self._held = self._held, None
        if held is not None:
            held.child.end()

    def _tried(self, model: Checkpoint, ask: Callable[[Held], list[_Row]]) -> list[_Row]:
        """A chunk, in a new process if the last one failed."""
        left = self._retries
        while True:
            try:
                return ask(self._load(model))
            except GateError as error:
                if not left:
                    raise
                _log.warning("%s\n%s: tried again in a new process.", error, model.name)
            left -= 1

    def _load(self, checkpoint: Checkpoint) -> Held:
        """The checkpoint's model: that of the last call if its files are the same."""
        key = files_key(checkpoint.path)
        if self._held is None or self._held.key != key or not self._held.child.alive:
            self.release()
            self._held = self._start(checkpoint, key)
        return self._held

    def _start(self, checkpoint: Checkpoint, key: tuple[Any, ...]) -> Held:
        tokenizer = _tokenizer(checkpoint, self._template)
        folder = str(checkpoint.path.resolve())
        options = {
            "model": folder,
            "tokenizer": folder,
            "enable_prefix_caching": True,
            "generation_config": "vllm",  # without the checkpoint's defaults
            "seed": 0,
            **self._options,
        }
        environment = {**_NO_TELEMETRY, **self._environment}
        child = ChildProcess(self._python, Path(vllm_worker.__file__), environment)
        answer = child.ask(options)
        if "error" in answer:
            lines = child.last_lines()
            child.end()
            raise InputError(
                f"{checkpoint.name}: vLLM of {self._python} cannot load it: {answer['error']}. "
                "Correct the engine's options, or install vLLM there. "
                f"Its last lines:\n{lines}"
            )
        ends = _ends(checkpoint.path, tokenizer)
        return Held(key, child, tokenizer, ends, answer["max_model_len"])


def _tokenizer(checkpoint: Checkpoint, template: Mapping[str, Argument]) -> Any:
    if is_adapter(checkpoint):
        raise InputError(
            f"{checkpoint.name}: {checkpoint.path} holds only an adapter, which this engine does "
            "not load. Train with `lora.keep: merged`, or sample with TransformersEngine."
        )
    try:
        return read_tokenizer(checkpoint, template=template)
    except (OSError, ValueError, KeyError) as error:
        raise unreadable(checkpoint, error) from error


def _ends(folder: Path, tokenizer: Any) -> tuple[int, ...]:
    files = [folder / name for name in ("generation_config.json", "config.json")]
    named = [json.loads(f.read_text("utf-8")).get("eos_token_id") for f in files if f.is_file()]
    return end_tokens(named, tokenizer)


def _seed(seed: int, request: Request, sample: int) -> int:
    return derive_seed(seed, request.id, str(sample)) >> 32
