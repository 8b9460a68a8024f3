"""All completions of one call, in waves that fit into memory; a wave that did not is halved."""

import logging
from collections.abc import Callable, Iterator, Sequence

from srlm_kedro.engines.generation.base import Sampling
from srlm_kedro.engines.generation.completions import StopStrings
from srlm_kedro.engines.generation.loading import Loaded
from srlm_kedro.engines.generation.tiered.decoding import Decoder, Group, Row, complete
from srlm_kedro.engines.generation.tiered.plain_rows import PlainDecoder
from srlm_kedro.engines.generation.tiered.planning import (
    Costs,
    Share,
    Wave,
    Work,
    memory_budget,
    places_for_groups,
    plain_rows,
    tiered_rows,
    uncached_rows,
    waves,
)
from srlm_kedro.engines.generation.tiered.prefix_tree import WORTH_SHARING
from srlm_kedro.engines.generation.tiered.strategies import Strategy
from srlm_kedro.engines.generation.tiered.tiered_rows import TieredDecoder
from srlm_kedro.engines.generation.tiered.tiers import Room
from srlm_kedro.engines.torch_device import free_unused_memory, is_out_of_memory

_FEW = 8
"""Below so many rows sampling is slow enough for a warning."""
_ROWS_THAT_FIT = {
    Strategy.TIERED: tiered_rows,
    Strategy.PADDED: plain_rows,
    Strategy.SAME_LENGTH: plain_rows,
    Strategy.UNCACHED: uncached_rows,
}

_log = logging.getLogger(__name__)


class Drawing:
    """The completions of one call: one model, its prompts and one set of settings."""

    def __init__(
        self,
        loaded: Loaded,
        strategy: Strategy,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        opened: Sequence[str],
        max_rows: int,
        memory_gib: float | None,
    ):
        """Finds what the prompts share, and what memory is left.

        Args:
            loaded: The model.
            strategy: How its rows are sampled.
            prompts: Token ids of each request.
            sampling: How tokens are sampled.
            opened: The thought in which each request's rows begin; see `StopStrings`.
            max_rows: Most rows at once.
            memory_gib: See `memory_budget`.
        """
        self._loaded, self._prompts, self._sampling = loaded, prompts, sampling
        self._stops = StopStrings(loaded.tokenizer, sampling.stop, opened)
        # A tokenizer may know end tokens that the model cannot write.
        vocabulary = loaded.model.config.get_text_config(decoder=True).vocab_size
        self._ends = [end for end in loaded.ends if end < vocabulary]
        self._max_rows, self._strategy = max_rows, strategy
        self._shared = _common_prefix(prompts) if strategy is Strategy.TIERED else 0
        self._costs = Costs.of(loaded.model)
        self._budget = memory_budget(memory_gib, loaded.model.device)

    def rows(
        self,
        keys: Sequence[Sequence[int]],
        on_step: Callable[[Sequence[Row]], None] = lambda rows: None,
    ) -> Iterator[Row]:
        """Every completion, in the order in which they finish.

        If a device refuses memory, unfinished completions are drawn again with half as many rows
        at once. `keys` holds the random stream of each sample of each prompt. `on_step` is given
        the rows at work after each token.

        Raises:
            torch.OutOfMemoryError: A single row does not fit.
        """
        missing = {
            (prompt, sample) for prompt, row in enumerate(keys) for sample in range(len(row))
        }
        halved = 0
        while missing:
            try:
                for row in self._rows(missing, keys, on_step):
                    missing.discard((row.request, row.sample))
                    yield row
            except RuntimeError as error:
                if not is_out_of_memory(error) or self._at_once == 1:
                    raise
                halved += 1
            # Not inside the handler: its error still refers to the memory of the failed pass.
            if missing:
                self._halve(halved, len(missing))

    def _halve(self, times: int, missing: int) -> None:
        self._max_rows = self._at_once // 2
        free_unused_memory(self._loaded.model.device.type == "cuda")
        _log.warning(
            "Out of memory for the %d. time: %d completions are left and are drawn by %d at once. "
            "A lower memory_gib or max_rows avoids it.",
            times,
            missing,
            self._max_rows,
        )

    def _rows(
        self,
        missing: set[tuple[int, int]],
        keys: Sequence[Sequence[int]],
        on_step: Callable[[Sequence[Row]], None],
    ) -> Iterator[Row]:
        for wave in self._waves(_shares(missing)):
            self._at_once = wave.rows
            if wave.rows < min(_FEW, self._max_rows, len(missing)):
                _log.warning("Memory leaves room for %d rows at once; see memory_gib.", wave.rows)
            groups = (
                Group(
                    share.request,
                    self._prompts[share.request],
                    share.samples,
                    [keys[share.request][sample] for sample in share.samples],
                )
                for share in wave.shares
            )
            yield from complete(
                self._decoder(wave),
                groups,
                wave.rows,
                self._sampling,
                self._ends,
                self._stops,
                on_step,
            )

    def _waves(self, shares: Sequence[Share]) -> Iterator[Wave]:
        """Waves of prompts that may be drawn together."""
        lengths = [len(prompt) - self._shared for prompt in self._prompts]
        if self._strategy in (Strategy.TIERED, Strategy.PADDED):
            yield from waves(shares, lengths, self._capacity)
            return
        for length in sorted({lengths[share.request] for share in shares}, reverse=True):
            same = [share for share in shares if lengths[share.request] == length]
            yield from waves(same, lengths, self._capacity)

    def _capacity(self, own: int) -> int:
        """Rows at once, if prompts have `own` tokens after what all of them share."""
        work = Work(self._shared, own, self._sampling.n, self._sampling.max_new_tokens)
        return min(self._max_rows, _ROWS_THAT_FIT[self._strategy](self._budget, self._costs, work))

    def _decoder(self, wave: Wave) -> Decoder:
        if self._strategy is not Strategy.TIERED:
            return PlainDecoder(self._loaded.model, self._strategy is not Strategy.UNCACHED)
        # After an out-of-memory error, only some of a prompt's N samples may be left.
        width = sum(len(share.samples) for share in wave.shares) / len(wave.shares)
        groups = min(places_for_groups(wave.rows, width), len(wave.shares))
        room = Room(groups, wave.rows, self._sampling.max_new_tokens)
        return TieredDecoder(self._loaded.model, self._prompts[0][: self._shared], room)


def _shares(missing: set[tuple[int, int]]) -> list[Share]:
    """Runs of consecutive samples of one request."""
    shares: list[Share] = []
    for request, sample in sorted(missing):
        if shares and (shares[-1].request, shares[-1].samples.stop) == (request, sample):
            shares[-1] = Share(request, range(shares[-1].samples.start, sample + 1))
        else:
            shares.append(Share(request, range(sample, sample + 1)))
    return shares


def _common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that are computed once for all prompts; each prompt keeps at least one for itself."""
    first, last = min(prompts), max(prompts)
    shortest = min(map(len, prompts))
    differing = (place for place in range(shortest) if first[place] != last[place])
    length = min(next(differing, shortest), shortest - 1)
    return length if len(prompts) > 1 and length >= WORTH_SHARING else 0
