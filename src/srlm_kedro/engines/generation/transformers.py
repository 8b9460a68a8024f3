"""Sampling in this process by forward passes of transformers, for any causal language model."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from srlm_kedro.display.progress import Progress
from srlm_kedro.engines.generation import watching
from srlm_kedro.engines.generation.base import Choices, Completion, Request, Sampling
from srlm_kedro.engines.generation.choices import first_tokens
from srlm_kedro.engines.generation.completions import opened_thoughts, read_completion
from srlm_kedro.engines.generation.loading import Loaded, files_key, load, read_limits
from srlm_kedro.engines.generation.packed_weights import pack
from srlm_kedro.engines.generation.request_tokens import (
    draw_fitting,
    length_faults,
    read_fitting,
    tokenise,
)
from srlm_kedro.engines.generation.tiered.decoding import Row
from srlm_kedro.engines.generation.tiered.drawing import Drawing
from srlm_kedro.engines.generation.tiered.reading import Reading
from srlm_kedro.engines.generation.tiered.sampling import stream
from srlm_kedro.engines.generation.tiered.strategies import Found, Strategy, find_strategy
from srlm_kedro.engines.template import checked
from srlm_kedro.engines.torch_device import device_of, free_unused_memory
from srlm_kedro.errors import InputError
from srlm_kedro.params import Count, Threads
from srlm_kedro.records import Checkpoint

_log = logging.getLogger(__name__)


class TransformersEngine:
    """Samples completions from a Hugging Face causal language model in this process.

    A sample depends only on the model, the seed, the request and the sample's number. Batches
    change it only by floating-point noise.
    """

    def __init__(
        self,
        dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32",
        device: str = "auto",
        threads: Threads | None = None,
        max_rows: Count = 256,
        memory_gib: Annotated[float, Field(gt=0, le=1e6)] | None = None,
        trust_remote_code: bool = False,
        template: Mapping[str, Any] | None = None,
    ):
        """Sets precision and resources.

        Args:
            dtype: Precision of the weights; `auto` takes bfloat16 on a GPU made for it,
                and float32 elsewhere.
            device: `cpu`, `cuda`, `cuda:1`, ...; `auto` takes a GPU if there is one.
            threads: CPU threads; None leaves the choice to torch.
            max_rows: Most completions that are sampled at once; several hundred fill a GPU.
            memory_gib: Memory for keys, values and intermediate results, beside the weights. None
                takes 2 GiB on a CPU, and most of what is free on a GPU. It limits batches.
            trust_remote_code: Lets a checkpoint run Python code of its own.
            template: Arguments of the chat template, such as `{enable_thinking: false}`, and
                `date`, its current date (default 2024-07-26). The training engine takes the same.

        Raises:
            InputError: `template` holds what no template can be given.
        """
        self._dtype = dtype
        self._device = device_of(device)
        self._threads = threads
        self._max_rows = max_rows
        self._memory_gib = memory_gib
        self._trust_remote_code = trust_remote_code
        self._template = checked(template)
        self._ready: _Ready | None = None

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Rows of `sampling.n` completions, one row per request.

        Raises:
            InputError: The checkpoint cannot be read, or requests do not fit the model.
        """
        if not requests:
            return []
        with _threads(self._threads):
            ready = self._load(model)
            loaded = ready.loaded
            prompts = tokenise(loaded.tokenizer, requests)

            def draw(
                fitting: Sequence[Request], ids: Sequence[list[int]]
            ) -> list[list[Completion]]:
                with Progress(model.name, len(fitting) * sampling.n) as progress:
                    return self._complete(ready, fitting, ids, sampling, seed, progress)

            return draw_fitting(model, loaded.positions, requests, prompts, sampling, draw)

    def choice_logprobs(
        self, model: Checkpoint, requests: Sequence[Request], choices: Choices
    ) -> list[list[float]]:
        """The log-probability of each choice as the answer, one row per request.

        What prompts share is computed once, so each request costs only its own end. See
        `GenerationEngine.choice_logprobs`.

        Raises:
            InputError: The checkpoint cannot be read, requests do not fit the model, or two
                choices begin with the same token.
        """
        if not requests:
            return []
        with _threads(self._threads):
            ready = self._load(model)
            loaded = ready.loaded
            tokens = first_tokens(model, loaded.tokenizer, choices)
            prompts = tokenise(loaded.tokenizer, requests, before_answers=True)

            def read(fitting: Sequence[Request], ids: Sequence[list[int]]) -> list[list[float]]:
                limits = (self._max_rows, self._memory_gib)
                reading = Reading(loaded, ready.strategy, ids, tokens, *limits)
                rows: list[list[float]] = [[] for _ in fitting]
                with Progress(model.name, len(fitting), "answers") as progress:
                    for place, values in reading.rows():
                        rows[place] = values
                        progress.add(1)
                return rows

            return read_fitting(model, loaded.positions, requests, prompts, len(choices), read)

    def length_faults(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling
    ) -> list[str]:
        """Why each request leaves `model` no room, in tokens; an empty text for one that fits.

        Raises:
            InputError: The checkpoint's tokenizer or configuration cannot be read.
        """
        tokenizer, positions = read_limits(model, self._trust_remote_code, self._template)
        return length_faults(tokenise(tokenizer, requests), positions, sampling)

    def refuse_unfit(self, model: Checkpoint) -> None:
        """Loads the model, checks that it can be sampled from, and frees it.

        Raises:
            InputError: The checkpoint cannot be read, or cannot be sampled from.
        """
        try:
            with _threads(self._threads):
                self._load(model)
        finally:
            self.release()

    def release(self) -> None:
        """Frees the model that is kept between calls."""
        self._ready = None
        free_unused_memory(self._device.startswith("cuda"))

    def _load(self, checkpoint: Checkpoint) -> "_Ready":
        """The checkpoint's model: that of the last call if its files are the same."""
        key = files_key(checkpoint.path)
        if self._ready is None or self._ready.key != key:
            self.release()
            loaded = load(
                checkpoint, self._dtype, self._device, self._trust_remote_code, self._template
            )
            pack(loaded.model)
            self._ready = _Ready(key, loaded, _strategy(checkpoint, loaded))
        return self._ready

    def _complete(
        self,
        ready: "_Ready",
        requests: Sequence[Request],
        prompts: Sequence[list[int]],
        sampling: Sampling,
        seed: int,
        progress: Progress,
    ) -> list[list[Completion]]:
        loaded = ready.loaded
        opened = opened_thoughts(loaded.tokenizer, requests)
        drawing = Drawing(
            loaded,
            ready.strategy,
            prompts,
            sampling,
            opened,
            max_rows=self._max_rows,
            memory_gib=self._memory_gib,
        )
        keys = [
            [stream(seed, request.id, sample) for sample in range(sampling.n)]
            for request in requests
        ]
        rows: list[list[Completion | None]] = [[None] * sampling.n for _ in requests]

        def on_step(at_work: Sequence[Row]) -> None:
            progress.at_work([len(row.ids) for row in at_work], sampling.max_new_tokens)
            watching.begin_all(requests, ((row.request, row.sample) for row in at_work))

        for row in drawing.rows(keys, on_step):
            completion = read_completion(
                loaded.tokenizer,
                row.ids,
                row.ids[-1] in loaded.ends,
                sampling.stop,
                opened[row.request],
            )
            rows[row.request][row.sample] = completion
            progress.add(1, len(row.ids))
            watching.end_all(requests, {(row.request, row.sample): completion})
        return rows  # type: ignore[return-value]


@dataclass(frozen=True)
class _Ready:
    """A model that is kept between calls."""

    key: tuple[Any, ...]
    """Changes with the model's files."""
    loaded: Loaded
    strategy: Strategy


_SLOWER = {
    Strategy.PADDED: "rows share no keys and values, so sampling is slower and takes more memory",
    Strategy.SAME_LENGTH: "only prompts of one length are sampled together, so sampling is slower",
    Strategy.UNCACHED: "each step computes the whole row again, which is exact and slow",
}


def _strategy(checkpoint: Checkpoint, loaded: Loaded) -> Strategy:
    """The fastest strategy that the model allows; the log says why it is not a faster one.

    Raises:
        InputError: The model allows none.
    """
    found = find_strategy(loaded.model)
    if found.strategy is None:
        raise InputError(_no_strategy(checkpoint, loaded, found))
    if found.strategy in _SLOWER:
        _log.warning("%s: %s: %s.", checkpoint.name, _SLOWER[found.strategy], found.last_reason)
    return found.strategy


def _no_strategy(checkpoint: Checkpoint, loaded: Loaded, found: Found) -> str:
    return (
        f"{checkpoint.name}: the architecture {loaded.model.config.model_type} in "
        f"{checkpoint.path} cannot be sampled from. Token by token, its logits must be those "
        "of one pass over the whole row, but "
        f"{found.last_reason}. Start from a causal language model."
    )


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Sets the number of torch's CPU threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
