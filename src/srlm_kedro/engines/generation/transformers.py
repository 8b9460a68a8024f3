"""Sampling through plain forward passes of transformers: CPU or GPU, any Llama-like model."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch

from srlm_kedro.engines.generation.base import Completion, Request, Sampling
from srlm_kedro.engines.generation.decoding import Batch, complete
from srlm_kedro.engines.generation.loading import Loaded, fingerprint, load
from srlm_kedro.engines.generation.planning import Share, plan
from srlm_kedro.engines.generation.progress import Progress
from srlm_kedro.engines.generation.prompts import refuse_misfits, tokenised
from srlm_kedro.engines.generation.sampling import uniforms
from srlm_kedro.engines.generation.stopping import StopStrings, cut, decode
from srlm_kedro.records import Checkpoint


class TransformersEngine:
    """Draws completions with a Hugging Face causal language model held in this process.

    A sample depends on the model, the seed, the request and the sample's number alone. Batches
    change it by floating-point noise only.
    """

    def __init__(
        self,
        dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32",
        device: str = "auto",
        threads: int | None = None,
        max_rows: int = 128,
        max_tokens: int = 131_072,
        trust_remote_code: bool = False,
    ):
        """Sets precision and resources.

        Args:
            dtype: Precision of the weights; `auto` takes the checkpoint's own.
            device: `cpu`, `cuda`, `cuda:1`, ...; `auto` takes a GPU when there is one.
            threads: CPU threads; None leaves torch's own choice.
            max_rows: Most completions drawn at once; a GPU is filled by several hundred.
            max_tokens: Most tokens (prompts and completions) whose keys and values are held at
                once; lower it when memory runs out.
            trust_remote_code: Lets a checkpoint run Python code of its own.
        """
        self._dtype = dtype
        self._device = _device(device)
        self._threads = threads
        self._max_rows = max_rows
        self._max_tokens = max_tokens
        self._trust_remote_code = trust_remote_code
        self._loaded: tuple[tuple[Any, ...], Loaded] | None = None

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
            loaded = self._load(model)
            prompts = tokenised(loaded.tokenizer, requests)
            refuse_misfits(model, loaded.positions, requests, prompts, sampling)
            with Progress(model.name, len(requests) * sampling.n) as progress:
                return self._complete(loaded, requests, prompts, sampling, seed, progress)

    def release(self) -> None:
        """Drops the model that is kept between calls."""
        self._loaded = None
        gc.collect()  # modules refer to each other
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()

    def _load(self, checkpoint: Checkpoint) -> Loaded:
        """The checkpoint's model: the one of the last call when its files are the same."""
        key = fingerprint(checkpoint.path)
        if self._loaded is None or self._loaded[0] != key:
            self.release()
            self._loaded = key, load(checkpoint, self._dtype, self._device, self._trust_remote_code)
        return self._loaded[1]

    def _complete(
        self,
        loaded: Loaded,
        requests: Sequence[Request],
        prompts: Sequence[list[int]],
        sampling: Sampling,
        seed: int,
        progress: Progress,
    ) -> list[list[Completion]]:
        stops = StopStrings(loaded.tokenizer, sampling.stop)
        rows: list[list[Completion | None]] = [[None] * sampling.n for _ in requests]
        lengths = [len(prompt) for prompt in prompts]
        for shares in plan(
            lengths, sampling.n, sampling.max_new_tokens, self._max_rows, self._max_tokens
        ):
            batch = self._batch(shares, requests, prompts, sampling, seed)
            drawn = complete(loaded.model, batch, sampling, loaded.ends, stops)
            places = ((share.request, sample) for share in shares for sample in share.samples)
            for (request, sample), ids in zip(places, drawn, strict=True):
                rows[request][sample] = _completion(loaded, ids, sampling)
            progress.add(len(drawn), sum(map(len, drawn)))
        return rows  # type: ignore[return-value]

    def _batch(
        self,
        shares: Sequence[Share],
        requests: Sequence[Request],
        prompts: Sequence[list[int]],
        sampling: Sampling,
        seed: int,
    ) -> Batch:
        streams = [
            uniforms(seed, requests[share.request].id, sample, sampling.max_new_tokens)
            for share in shares
            for sample in share.samples
        ]
        copies = [place for place, share in enumerate(shares) for _ in share.samples]
        return Batch(
            prompts=[prompts[share.request] for share in shares],
            copies=torch.tensor(copies, device=self._device),
            uniforms=torch.from_numpy(np.stack(streams)).to(self._device),
        )


def _completion(loaded: Loaded, ids: list[int], sampling: Sampling) -> Completion:
    whole = decode(loaded.tokenizer, ids)
    text = cut(whole, sampling.stop)
    stopped = len(text) < len(whole) or ids[-1] in loaded.ends
    return Completion(text=text, tokens=len(ids), finish="stop" if stopped else "length")


def _device(name: str) -> str:
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Sets torch's CPU threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
