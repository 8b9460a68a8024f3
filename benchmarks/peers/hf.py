"""Hugging Face `generate`: one by one, and at its best batch size."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks import models
from benchmarks.rounds import Setting, seconds
from benchmarks.work import Work, middle

_WELL_BELOW = 0.85
"""Of the best rate; what is above may be the machine's noise."""


class HuggingFace:
    """A model in the hands of `generate`, with the settings of `work.sampling`."""

    def __init__(self, work: Work, dtype: str, setting: Setting):
        self._work, self._setting = work, setting
        self._model = models.read(work.checkpoint, dtype, setting.device)
        self._tokenizer = models.read_tokenizer(work.checkpoint)
        self._rows = work.ids()  # Outside the clock: this is a contest of generation.

    def one_by_one(self, prompts: int) -> float:
        """Each sample by a call of its own, as most scripts do; tokens drawn."""
        for row in middle(self._rows, prompts):
            for _ in range(self._work.samples):
                self._generate([row], samples=1)
        return self._work.drawn(prompts)

    def batched(self, prompts: int, batch: int) -> float:
        """Prompts of like length padded to the left, all their samples at once; tokens drawn."""
        rows = middle(self._rows, prompts)
        for first in range(0, prompts, batch):
            self._generate(rows[first : first + batch], self._work.samples)
        return self._work.drawn(prompts)

    @torch.no_grad()
    def read(self, prompts: int, batch: int) -> float:
        """The logits after prompts of like length, padded to the left; prompts read."""
        rows = middle(self._rows, prompts)
        for first in range(0, prompts, batch):
            asked: Any = self._tokenizer.pad(
                {"input_ids": rows[first : first + batch]}, return_tensors="pt"
            )
            self._model(**asked.to(self._setting.device), logits_to_keep=1).logits.log_softmax(-1)
        return prompts

    def best_batch(
        self, sizes: Sequence[int], run: Callable[[int, int], float] | None = None
    ) -> tuple[int, dict[int, float]]:
        """The fastest of `sizes` (prompts a batch, rising), and units a second at each tried.

        A size well below the best ends the search: still larger ones move still more memory.
        `run` is what is searched for, `batched` by default.
        """
        run = run or self.batched
        run(1, 1)  # The first call of all is slower.
        rates: dict[int, float] = {}
        for size in sizes:
            rates[size] = self._rate(run, size)
            if rates[size] < _WELL_BELOW * max(rates.values()):
                break
        return max(rates, key=rates.__getitem__), rates

    def _rate(self, run: Callable[[int, int], float], batch: int) -> float:
        start = seconds(self._setting.device)
        drawn = run(batch, batch)
        return drawn / (seconds(self._setting.device) - start)

    def _generate(self, rows: list[list[int]], samples: int) -> None:
        asked: Any = self._tokenizer.pad({"input_ids": rows}, return_tensors="pt")
        drawn = self._model.generate(
            **asked.to(self._setting.device),
            do_sample=True,
            temperature=self._work.sampling.temperature,
            top_p=self._work.sampling.top_p,
            top_k=0,
            num_return_sequences=samples,
            min_new_tokens=self._work.new_tokens,
            max_new_tokens=self._work.new_tokens,
        )
        assert drawn.shape[1] == asked["input_ids"].shape[1] + self._work.new_tokens
