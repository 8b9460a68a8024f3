"""llama.cpp as its server uses it: many sequences at once, and prompts that are read only once.

This drives the library itself, in this process, so that its processor time counts as everybody's.
HTTP, JSON and the tokenizer, which its server adds, cost it nothing here. What prompts share is
read once and copied to their sequences, and so is a prompt to its samples. Keys and values are in
float16, which is its default. Its weights come in a GGUF file of the same numbers.
"""

import ctypes
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.rounds import Setting, seconds
from benchmarks.work import Work, agreeing, middle

PACKAGE = "llama-cpp-python"
INSTALLED = all(map(importlib.util.find_spec, ("llama_cpp", "gguf")))
_BATCH = 2048
"""Tokens of one call; it computes 512 of them at a time."""
_WORTH_SHARING = 16
"""Tokens of a common prefix from which on they are read once."""
_TEMPERATURE, _TOP_P, _SEED = 0.7, 0.9, 1


class LlamaCpp:
    """A model in the hands of llama.cpp, on the prompts of `work`."""

    def __init__(self, work: Work, dtype: str, setting: Setting):
        """Writes the GGUF file and loads it."""
        import llama_cpp

        from benchmarks.peers import gguf_file

        self._api, self._work, self._setting = llama_cpp, work, setting
        file = setting.folder / f"{work.shape.name}-{dtype}.gguf"
        if not file.is_file():
            gguf_file.write(work.checkpoint, file, dtype)
        self._rows = work.ids()
        self._quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p(0))
        self._model = _loaded(llama_cpp, file)

    def batched(self, prompts: int, batch: int) -> float:
        """Prompts of like length, all their samples at once; tokens drawn."""
        rows = middle(self._rows, prompts)
        for first in range(0, prompts, batch):
            self._draw(rows[first : first + batch])
        return self._work.drawn(prompts)

    def best_batch(self, sizes: Sequence[int]) -> tuple[int, dict[int, float]]:
        """The fastest of `sizes` (prompts a batch), and tokens a second at each."""
        rates = {}
        for size in sizes:
            start = seconds(self._setting.device)
            drawn = self.batched(size, size)
            rates[size] = drawn / (seconds(self._setting.device) - start)
        return max(rates, key=rates.__getitem__), rates

    def read(self, prompts: int) -> float:
        """The logits after each prompt, what all share read once; prompts read.

        Two prompts that share more, as the criteria of one response do, share that as well: each
        goes on from the one before it, as far as they agree.
        """
        rows = sorted(self._rows)[:prompts]
        with _Context(self._api, self._model, 1, max(map(len, rows))) as context:
            known: list[int] = []
            for row in rows:
                same = min(agreeing(known, row), len(row) - 1)
                context.forget(0, same)
                last = len(row) - 1
                context.decode([(row[p], p, 0, p == last) for p in range(same, len(row))])
                context.logits(last - same, self._work.shape.vocabulary)
                known = row
        return len(rows)

    def _draw(self, prompts: Sequence[list[int]]) -> list[list[int]]:
        """The tokens drawn behind each prompt, sample by sample."""
        samples, new = self._work.samples, self._work.new_tokens
        longest = max(map(len, prompts)) + new
        with _Context(self._api, self._model, len(prompts) * samples, longest) as context:
            rows = self._read(context, prompts, samples)
            for step in range(1, new):
                context.decode(
                    [
                        (row[-1], len(prompts[number // samples]) + step - 1, number, True)
                        for number, row in enumerate(rows)
                    ]
                )
                for number, row in enumerate(rows):
                    row.append(context.sample(number))
        return rows

    def _read(
        self, context: "_Context", prompts: Sequence[list[int]], samples: int
    ) -> list[list[int]]:
        """Reads prompts into the sequences of their samples; the first token of each sample."""
        shared = min(self._work.prefix, min(map(len, prompts)) - 1)
        shared = shared if shared >= _WORTH_SHARING and len(prompts) > 1 else 0
        if shared:
            context.decode([(prompts[0][place], place, 0, False) for place in range(shared)])
            for number in range(1, len(prompts)):
                context.copy(0, number * samples)
        rows: list[list[int]] = []
        for part in _parts([len(prompt) - shared for prompt in prompts]):
            tokens, ends = [], []
            for number in part:
                prompt = prompts[number]
                for place in range(shared, len(prompt)):
                    last = place == len(prompt) - 1
                    tokens.append((prompt[place], place, number * samples, last))
                ends.append(len(tokens) - 1)
            context.decode(tokens)
            rows += [[context.sample(end)] for end in ends for _ in range(samples)]
        for number in range(len(prompts)):
            for sample in range(1, samples):
                context.copy(number * samples, number * samples + sample)
        return rows


class _Context:
    """Sequences with a cache of their own, and a sampler; used in a `with` block."""

    def __init__(self, api: Any, model: Any, sequences: int, longest: int):
        params = api.llama_context_default_params()
        longest += -longest % 256  # llama.cpp rounds up, and by sequence
        params.n_ctx, params.n_seq_max = longest * sequences, sequences
        params.n_batch, params.n_ubatch = _BATCH, 512
        params.n_threads = params.n_threads_batch = 1
        params.kv_unified = False  # one stream a sequence: each sees no other's keys
        self._api, self._context = api, api.llama_init_from_model(model, params)
        if not self._context:
            raise MemoryError(f"llama.cpp makes no context of {sequences} x {longest} tokens")
        self._batch = api.llama_batch_init(_BATCH, 0, 1)
        self._chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        for sampler in (
            api.llama_sampler_init_temp(_TEMPERATURE),
            api.llama_sampler_init_top_p(_TOP_P, 1),
            api.llama_sampler_init_dist(_SEED),
        ):
            api.llama_sampler_chain_add(self._chain, sampler)

    def __enter__(self) -> "_Context":
        return self

    def __exit__(self, *raised: object) -> None:
        self._api.llama_sampler_free(self._chain)
        self._api.llama_batch_free(self._batch)
        self._api.llama_free(self._context)

    def decode(self, tokens: Sequence[tuple[int, int, int, bool]]) -> None:
        """Computes tokens, each with its position, its sequence, and whether its logits count."""
        for first in range(0, len(tokens), _BATCH):
            self._decode(tokens[first : first + _BATCH])

    def _decode(self, tokens: Sequence[tuple[int, int, int, bool]]) -> None:
        batch = self._batch
        batch.n_tokens = len(tokens)
        for place, (token, position, sequence, kept) in enumerate(tokens):
            batch.token[place], batch.pos[place], batch.logits[place] = token, position, kept
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, sequence
        if failed := self._api.llama_decode(self._context, batch):
            raise RuntimeError(f"llama.cpp decodes {len(tokens)} tokens with error {failed}")

    def copy(self, source: int, target: int) -> None:
        """The target sequence begins as the source does."""
        memory = self._api.llama_get_memory(self._context)
        self._api.llama_memory_seq_cp(memory, source, target, -1, -1)

    def forget(self, sequence: int, start: int) -> None:
        """Removes a sequence's tokens from that position on."""
        memory = self._api.llama_get_memory(self._context)
        self._api.llama_memory_seq_rm(memory, sequence, start, -1)

    def sample(self, place: int) -> int:
        """A token from the logits of that place of the last decoded batch."""
        return int(self._api.llama_sampler_sample(self._chain, self._context, place))

    def logits(self, place: int, vocabulary: int) -> list[float]:
        """The logits of that place of the last decoded batch."""
        return self._api.llama_get_logits_ith(self._context, place)[:vocabulary]


def _loaded(api: Any, file: Path) -> Any:
    api.llama_backend_init()
    model = api.llama_model_load_from_file(str(file).encode(), api.llama_model_default_params())
    if not model:
        raise RuntimeError(f"llama.cpp does not read {file}")
    return model


def _parts(lengths: Sequence[int]) -> list[list[int]]:
    """Numbers of prompts that are read by one call."""
    parts: list[list[int]] = []
    room = 0
    for number, length in enumerate(lengths):
        if length > room:
            parts.append([])
            room = _BATCH
        parts[-1].append(number)
        room -= length
    return parts
