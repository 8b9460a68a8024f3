"""Sampling through plain forward passes of transformers: CPU or GPU, any causal model."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from srlm_kedro.display.progress import Progress
from srlm_kedro.engines import devices
from srlm_kedro.engines.devices import free_unused_memory
from srlm_kedro.engines.generation.base import Completion, Request, Sampling
from srlm_kedro.engines.generation.completions import opened_thoughts, read_answer
from srlm_kedro.engines.generation.loading import Loaded, fingerprint, load, read_limits
from srlm_kedro.engines.generation.prompts import draw_fitting, misfits, tokenised
from srlm_kedro.engines.generation.tiered.drawing import Drawing, Limits
from srlm_kedro.engines.generation.tiered.sampling import stream
from srlm_kedro.engines.generation.tiered.strategies import Found, Way, find_way
from srlm_kedro.engines.template import checked
from srlm_kedro.errors import InputError
from srlm_kedro.params import Count, Threads
from srlm_kedro.records import Checkpoint

_log = logging.getLogger(__name__)


class TransformersEngine:
    """Draws completions with a Hugging Face causal language model held in this process.

    A sample depends on the model, the seed, the request and the sample's number alone. Batches
    change it by floating-point noise only.
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
            device: `cpu`, `cuda`, `cuda:1`, ...; `auto` takes a GPU when there is one.
            threads: CPU threads; None leaves torch's own choice.
            max_rows: Most completions drawn at once; a GPU is filled by several hundred.
            memory_gib: What keys, values and intermediate results may take beside the weights;
                None takes 2 GiB on a CPU, and most of what is free on a GPU. Batches follow it.
            trust_remote_code: Lets a checkpoint run Python code of its own.
            template: Arguments of the chat template, as `{enable_thinking: false}`, and `date`, the
                day that it is told (default 2024-07-26). The training engine takes the same.

        Raises:
            InputError: Arguments that no template can be given.
        """
        self._dtype = dtype
        self._device = devices.device_of(device)
        self._threads = threads
        self._max_rows = max_rows
        self._memory_gib = memory_gib
        self._trust_remote_code = trust_remote_code
        self._template = checked(template)
        self._ready: _Ready | None = None

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Rows of `sampling.n` completions, one row a request.

        Raises:
            InputError: The checkpoint cannot be read, or requests do not fit the model.
        """
        if not requests:
            return []
        with _threads(self._threads):
            ready = self._load(model)
            loaded = ready.loaded
            prompts = tokenised(loaded.tokenizer, requests)

            def draw(asked: Sequence[Request], ids: Sequence[list[int]]) -> list[list[Completion]]:
                with Progress(model.name, len(asked) * sampling.n) as progress:
                    return self._complete(ready, asked, ids, sampling, seed, progress)

            return draw_fitting(model, loaded.positions, requests, prompts, sampling, draw)

    def misfits(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling
    ) -> list[str]:
        """Why each request leaves `model` no room, in tokens; empty where it fits.

        Raises:
            InputError: The checkpoint's tokenizer or configuration cannot be read.
        """
        tokenizer, positions = read_limits(model, self._trust_remote_code, self._template)
        return misfits(tokenised(tokenizer, requests), positions, sampling)

    def refuse_unfit(self, model: Checkpoint) -> None:
        """Loads the model, looks whether it can be drawn from, and gives it back.

        Raises:
            InputError: The checkpoint cannot be read, or nothing can be drawn from it.
        """
        try:
            with _threads(self._threads):
                self._load(model)
        finally:
            self.release()

    def release(self) -> None:
        """Drops the model that is kept between calls."""
        self._ready = None
        free_unused_memory(self._device.startswith("cuda"))

    def _load(self, checkpoint: Checkpoint) -> "_Ready":
        """The checkpoint's model: the one of the last call when its files are the same."""
        key = fingerprint(checkpoint.path)
        if self._ready is None or self._ready.key != key:
            self.release()
            loaded = load(
                checkpoint, self._dtype, self._device, self._trust_remote_code, self._template
            )
            self._ready = _Ready(key, loaded, _way(checkpoint, loaded))
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
        loaded, limits = ready.loaded, Limits(self._max_rows, self._memory_gib)
        opened = opened_thoughts(loaded.tokenizer, requests)
        drawing = Drawing(loaded, prompts, sampling, limits, ready.way, opened)
        keys = [
            [stream(seed, request.id, sample) for sample in range(sampling.n)]
            for request in requests
        ]
        rows: list[list[Completion | None]] = [[None] * sampling.n for _ in requests]
        for row in drawing.rows(keys):
            rows[row.request][row.sample] = read_answer(
                loaded.tokenizer,
                row.ids,
                row.ids[-1] in loaded.ends,
                sampling.stop,
                opened[row.request],
            )
            progress.add(1, len(row.ids))
        return rows  # type: ignore[return-value]


@dataclass(frozen=True)
class _Ready:
    """A model that is kept between calls."""

    key: tuple[Any, ...]
    """Its files."""
    loaded: Loaded
    way: Way
    """How its rows are drawn."""


_SAID = {
    Way.PADDED: "rows share no keys and values, so drawing is slower and takes more memory",
    Way.ALIKE: "only prompts of one length draw together, so drawing is slower",
    Way.UNCACHED: "every step computes the whole row anew, which is exact and slow",
}


def _way(checkpoint: Checkpoint, loaded: Loaded) -> Way:
    """The fastest way that the model allows; says once why it is not a faster one.

    Raises:
        InputError: There is none.
    """
    found = find_way(loaded.model)
    if found.way is None:
        raise InputError(_undrawable(checkpoint, loaded, found))
    if found.way in _SAID:
        _log.warning("%s: %s: %s.", checkpoint.name, _SAID[found.way], found.last_reason)
    return found.way


def _undrawable(checkpoint: Checkpoint, loaded: Loaded, found: Found) -> str:
    return (
        f"{checkpoint.name}: nothing can be drawn from the architecture "
        f"{loaded.model.config.model_type} in {checkpoint.path}: what it says of a few tokens, one "
        "after the other, must be what one pass over the whole row says, but "
        f"{found.last_reason}. Start from a causal language model."
    )


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Sets torch's CPU threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
