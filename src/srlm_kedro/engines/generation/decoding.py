"""One batch from prompts to tokens: what rows share is computed once, finished rows leave."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from srlm_kedro.engines.generation.base import Sampling
from srlm_kedro.engines.generation.cache import GrowingCache
from srlm_kedro.engines.generation.sampling import draw
from srlm_kedro.engines.generation.stopping import StopStrings

_SHRINK_AT = 0.8
"""Finished rows are taken out once no more than this share of a batch still draws."""


@dataclass(frozen=True)
class Batch:
    """Prompts that are completed together."""

    prompts: Sequence[Sequence[int]]
    """Token ids, each row with one at least."""
    copies: torch.Tensor
    """For each row that is drawn, the prompt it continues; ascending."""
    uniforms: torch.Tensor
    """(rows, max_new_tokens): the random stream of each row."""


@dataclass
class _State:
    """What the next step of a batch needs; all of it shrinks together."""

    logits: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    cache: GrowingCache

    def select(self, rows: torch.Tensor) -> None:
        self.logits = self.logits[rows]
        self.positions = self.positions[rows]
        self.mask = self.mask[rows]
        self.cache.select(rows)


class _Tally:
    """What has been drawn for the rows of a batch, and which of them still draw."""

    def __init__(self, rows: int, columns: int, device: torch.device):
        self.rows = torch.arange(rows, device=device)
        """The rows that are left in the batch, by their number at its start."""
        self._done = torch.zeros(rows, dtype=torch.bool, device=device)
        self._drawn = torch.zeros(rows, columns, dtype=torch.long, device=device)
        self._lengths = torch.full_like(self.rows, columns)

    def record(
        self, step: int, tokens: torch.Tensor, ends: torch.Tensor, stops: StopStrings
    ) -> int:
        """Notes the tokens of a step; says how many rows go on."""
        self._drawn[self.rows, step] = tokens
        over = torch.isin(tokens, ends)
        over[stops.reached(self._drawn, self.rows, step + 1)] = True
        self._lengths[self.rows[over & ~self._done]] = step + 1
        self._done |= over
        return int((~self._done).sum())

    def drop_done(self) -> torch.Tensor:
        """Takes finished rows out; gives the places of those that stay."""
        keep = (~self._done).nonzero().squeeze(-1)
        self.rows, self._done = self.rows[keep], self._done[keep]
        return keep

    def result(self) -> list[list[int]]:
        """The tokens of each row, its end token included."""
        lengths = self._lengths.tolist()
        return [ids[:n] for ids, n in zip(self._drawn.tolist(), lengths, strict=True)]


@torch.inference_mode()
def complete(
    model: Any, batch: Batch, sampling: Sampling, ends: Sequence[int], stops: StopStrings
) -> list[list[int]]:
    """The token ids drawn for each row of `batch`, the end token included.

    Args:
        model: A causal language model of transformers, in evaluation mode.
        batch: The prompts and random streams, on the model's device.
        sampling: How tokens are drawn and when a row is long enough.
        ends: Tokens that end a row.
        stops: Strings that end a row.
    """
    state = _prefill(model, batch.prompts)
    state.select(batch.copies)
    device = batch.uniforms.device
    tally = _Tally(len(batch.copies), sampling.max_new_tokens, device)
    end_ids = torch.tensor(list(ends), dtype=torch.long, device=device)
    for step in range(sampling.max_new_tokens):
        if step < sampling.min_new_tokens:
            state.logits[:, end_ids] = -torch.inf
        uniform = batch.uniforms[tally.rows, step]
        tokens = draw(state.logits, uniform, sampling.temperature, sampling.top_p)
        left = tally.record(step, tokens, end_ids, stops)
        if left == 0 or step + 1 == sampling.max_new_tokens:
            break
        if left <= _SHRINK_AT * len(tally.rows):
            keep = tally.drop_done()
            state.select(keep)
            tokens = tokens[keep]
        _advance(model, state, tokens)
    return tally.result()


def _advance(model: Any, state: _State, tokens: torch.Tensor) -> None:
    """Feeds one token a row; `state` then stands at the next draw."""
    state.mask = torch.cat([state.mask, state.mask.new_ones(len(tokens), 1)], dim=1)
    state.logits = _forward(model, tokens[:, None], state.positions[:, None], state)
    state.positions = state.positions + 1


def _forward(model: Any, ids: torch.Tensor, positions: torch.Tensor, state: _State) -> torch.Tensor:
    """Logits behind the last column; keys and values are appended to the state's cache."""
    return model(
        input_ids=ids,
        attention_mask=state.mask,
        position_ids=positions,
        past_key_values=state.cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]


def _prefill(model: Any, prompts: Sequence[Sequence[int]]) -> _State:
    """The state behind the prompts: their common prefix in one row, then each one's own rest.

    The rests stand flush right, so that every row's next token falls into the same column.
    """
    shared = _shared_length(model, prompts)
    cache = GrowingCache(model.config.get_text_config(decoder=True).num_hidden_layers)
    state = _State(torch.empty(0), torch.empty(0), torch.empty(0), cache)
    if shared:
        prefix = torch.tensor([prompts[0][:shared]], device=model.device)
        state.mask = torch.ones_like(prefix)
        _forward(model, prefix, torch.arange(shared, device=model.device)[None], state)
        cache.select(torch.zeros(len(prompts), dtype=torch.long, device=model.device))
    ids, held = _flush_right([prompt[shared:] for prompt in prompts], model.device)
    state.mask = torch.cat([held.new_ones(len(prompts), shared), held], dim=1)
    positions = shared + (held.cumsum(1) - 1).clamp(min=0)
    state.logits = _forward(model, ids, positions, state)
    state.positions = positions[:, -1] + 1
    return state


def _shared_length(model: Any, prompts: Sequence[Sequence[int]]) -> int:
    """Length of the prefix computed once; each prompt keeps one token of its own at least."""
    if len(prompts) == 1 or _has_window(model):
        return 0
    first, last = min(prompts), max(prompts)
    shortest = min(map(len, prompts))
    differing = (place for place in range(shortest) if first[place] != last[place])
    return min(next(differing, shortest), shortest - 1)


def _has_window(model: Any) -> bool:
    """Whether a layer counts columns back: padding behind a shared prefix would shift its sight."""
    config = model.config.get_text_config(decoder=True)
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return any(kind != "full_attention" for kind in kinds)
    return getattr(config, "sliding_window", None) is not None


def _flush_right(
    rows: Sequence[Sequence[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded ids and a mask of ones where an id stands; the padding's own ids do not matter."""
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=device)
    held = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, held
