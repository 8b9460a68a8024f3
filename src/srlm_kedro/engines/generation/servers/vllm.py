"""Sampling with vLLM, which runs in an environment of its own: it needs other versions."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srlm_kedro.display.progress import Progress
from srlm_kedro.engines import thoughts
from srlm_kedro.engines.generation.base import Completion, Request, Sampling
from srlm_kedro.engines.generation.completions import opened_thoughts, read_answer
from srlm_kedro.engines.generation.loading import end_tokens, fingerprint, read_limits
from srlm_kedro.engines.generation.prompts import draw_fitting, misfits, tokenised
from srlm_kedro.engines.generation.servers import vllm_worker
from srlm_kedro.engines.generation.servers.child import Child
from srlm_kedro.engines.template import Argument, checked
from srlm_kedro.engines.weights import is_adapter, read_tokenizer, unreadable
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.params import Count, Retries, Seconds
from srlm_kedro.records import Checkpoint, derive_seed

_log = logging.getLogger(__name__)
_QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}


class VllmEngine:
    """Draws completions with vLLM's offline engine in a child process.

    Prompts are rendered here, as for every other engine, and travel as token ids. Each sample is
    a request with a seed of its own; what the samples of a prompt share is computed once.
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
            python: The interpreter of an environment that holds vLLM.
            dtype: Precision of the weights; `auto` takes the checkpoint's own.
            llm_options: Further arguments of `vllm.LLM`, as `{tensor_parallel_size: 2}`.
            environment: Further variables of the child process, as `{CUDA_VISIBLE_DEVICES: "0"}`.
            chunk: Completions that are handed over at once; progress is told after each chunk.
            retries: Further tries of a chunk, each in a new process, after one that died, hung or
                failed (ran out of memory).
            patience: Seconds that a chunk may take before its process counts as hung; None: any.
            template: Arguments of the chat template, as `{enable_thinking: false}`, and `date`, the
                day that it is told (default 2024-07-26). The training engine takes the same.

        Raises:
            InputError: Arguments that no template can be given.
        """
        self._python, self._environment = python, environment or {}
        self._options = {"dtype": dtype, **(llm_options or {})}
        self._chunk, self._retries, self._patience = chunk, retries, patience
        self._template = checked(template)
        self._held: _Held | None = None

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Rows of `sampling.n` completions, one row a request.

        Raises:
            InputError: vLLM or the model cannot be loaded, or requests do not fit the model.
            GateError: Every try of a chunk died, hung or failed.
        """
        if not requests:
            return []
        held = self._load(model)
        prompts = tokenised(held.tokenizer, requests)

        def draw(asked: Sequence[Request], ids: Sequence[list[int]]) -> list[list[Completion]]:
            return self._complete(model, asked, ids, sampling, seed)

        return draw_fitting(model, held.positions, requests, prompts, sampling, draw)

    def misfits(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling
    ) -> list[str]:
        """Why each request leaves `model` no room, in tokens; empty where it fits.

        The limit is the engine's `max_model_len` where it is named, else the checkpoint's own.

        Raises:
            InputError: The checkpoint's tokenizer or configuration cannot be read.
        """
        tokenizer, positions = read_limits(model, template=self._template)
        named = self._options.get("max_model_len")
        # vLLM also takes words and -1: it then finds the limit when it loads the model.
        limit = named if isinstance(named, int) and named > 0 else positions
        return misfits(tokenised(tokenizer, requests), limit, sampling)

    def _complete(
        self,
        model: Checkpoint,
        requests: Sequence[Request],
        prompts: Sequence[list[int]],
        sampling: Sampling,
        seed: int,
    ) -> list[list[Completion]]:
        opened = opened_thoughts(self._load(model).tokenizer, requests)
        count = 1 if sampling.temperature == 0 else sampling.n  # Greedy samples are one text.
        places = [(row, sample) for row in range(len(requests)) for sample in range(count)]
        drawn: list[Completion] = []
        with Progress(model.name, len(places)) as progress:
            for first in range(0, len(places), self._chunk):
                chunk = places[first : first + self._chunk]
                asked = [
                    _Asked(
                        prompts[row], opened[row], requests[row].chat, _seed(seed, requests[row], n)
                    )
                    for row, n in chunk
                ]
                new = self._draw(model, asked, sampling)
                progress.add(len(new), sum(completion.drawn or 0 for completion in new))
                drawn += new
        return [
            [drawn[row * count + sample % count] for sample in range(sampling.n)]
            for row in range(len(requests))
        ]

    def release(self) -> None:
        """Ends the child process, and gives back all that it holds."""
        held, self._held = self._held, None
        if held is not None:
            held.child.end()

    def _draw(
        self, model: Checkpoint, asked: Sequence["_Asked"], sampling: Sampling
    ) -> list[Completion]:
        """A chunk, in a new process where the last one failed."""
        left = self._retries
        while True:
            try:
                return self._load(model).draw(asked, sampling, self._patience)
            except GateError as error:
                if not left:
                    raise
                _log.warning("%s\n%s: tried again in a new process.", error, model.name)
            left -= 1

    def _load(self, checkpoint: Checkpoint) -> "_Held":
        """The checkpoint's model: the one of the last call when its files are the same."""
        key = fingerprint(checkpoint.path)
        if self._held is None or self._held.key != key or not self._held.child.alive:
            self.release()
            self._held = self._start(checkpoint, key)
        return self._held

    def _start(self, checkpoint: Checkpoint, key: tuple[Any, ...]) -> "_Held":
        tokenizer = _tokenizer(checkpoint, self._template)
        folder = str(checkpoint.path.resolve())
        options = {
            "model": folder,
            "tokenizer": folder,
            "enable_prefix_caching": True,
            "generation_config": "vllm",  # Else the checkpoint's own defaults would join ours.
            "seed": 0,
            **self._options,
        }
        child = Child(self._python, Path(vllm_worker.__file__), {**_QUIET, **self._environment})
        said = child.ask(options)
        if "error" in said:
            words = child.last_words()
            child.end()
            raise InputError(
                f"{checkpoint.name}: vLLM of {self._python} cannot load it: {said['error']}. "
                "Correct the engine's options, or install vLLM there. "
                f"Its last lines:\n{words}"
            )
        ends = _ends(checkpoint.path, tokenizer)
        return _Held(key, child, tokenizer, ends, said["max_model_len"])


@dataclass(frozen=True)
class _Asked:
    """One completion to draw."""

    prompt: list[int]
    opened: str
    """The thought in which it begins."""
    chat: bool
    seed: int


@dataclass(frozen=True)
class _Held:
    """A model in a child process, and its tokenizer in this one."""

    key: tuple[Any, ...]
    child: Child
    tokenizer: Any
    ends: tuple[int, ...]
    """Every token that ends a completion."""
    positions: int
    """Longest sequence, in tokens."""

    def draw(
        self, asked: Sequence[_Asked], sampling: Sampling, patience: float | None
    ) -> list[Completion]:
        """One completion each.

        vLLM looks for stop strings in thoughts too, where they end nothing. A chat with a model
        whose template knows thoughts is drawn to its end, and its answer cut here.
        """
        thinks = thoughts.has_marks(str(self.tokenizer.chat_template))
        common = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            "min_tokens": sampling.min_new_tokens,
            "stop_token_ids": list(self.ends),
        }
        rows = [
            {**common, "seed": one.seed, "stop": [] if thinks and one.chat else [*sampling.stop]}
            for one in asked
        ]
        said = self.child.ask(
            {"prompts": [one.prompt for one in asked], "sampling": rows}, patience
        )
        if "error" in said:
            words = self.child.last_words()
            self.child.end()
            raise GateError(f"vLLM failed: {said['error']}. Its last lines:\n{words}")
        return [
            read_answer(self.tokenizer, row["ids"], row["stopped"], sampling.stop, one.opened)
            for row, one in zip(said["drawn"], asked, strict=True)
        ]


def _tokenizer(checkpoint: Checkpoint, template: Mapping[str, Argument]) -> Any:
    if is_adapter(checkpoint):
        raise InputError(
            f"{checkpoint.name}: {checkpoint.path} holds an adapter alone, which this engine does "
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
