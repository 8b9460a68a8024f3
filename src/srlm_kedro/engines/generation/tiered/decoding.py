"""The loop from prompts to tokens: finished rows leave, and waiting groups join the others."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from srlm_kedro.engines.generation.base import Sampling
from srlm_kedro.engines.generation.completions import StopStrings
from srlm_kedro.engines.generation.tiered.sampling import draw

_JOIN_AT = 4
"""Groups join once a quarter of the rows is free: a pass for few tokens costs nearly a full one."""


@dataclass(frozen=True)
class Group:
    """Completions of one prompt that are drawn together."""

    request: int
    """The prompt's place among the requests."""
    prompt: Sequence[int]
    """Token ids, at least one."""
    samples: range
    """Numbers of the completions."""
    keys: Sequence[int]
    """Random stream of each completion."""


@dataclass
class Row:
    """One completion as it grows."""

    request: int
    sample: int
    key: int
    ids: list[int] = field(default_factory=list)
    """Tokens drawn, the end token included."""


class Decoder(Protocol):
    """Computes the logits of rows that join and leave."""

    @property
    def vacant(self) -> float:
        """Groups that may join now."""
        ...

    def admit(self, prompts: Sequence[Sequence[int]], copies: Sequence[int]) -> torch.Tensor:
        """Logits of new rows; these come after the rows that are there."""
        ...

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits after one more token per row."""
        ...

    def drop(self, done: set[int]) -> list[int]:
        """Removes rows; returns which row is now at each place."""
        ...


@torch.inference_mode()
def complete(
    decoder: Decoder,
    groups: Iterable[Group],
    rows_at_once: int,
    sampling: Sampling,
    ends: Sequence[int],
    stops: StopStrings,
    on_step: Callable[[Sequence[Row]], None] = lambda rows: None,
) -> Iterator[Row]:
    """Rows as they finish. A row does not depend on the rows that are drawn at the same time.

    Args:
        decoder: Holds no rows yet.
        groups: Taken in this order; none has more completions than `rows_at_once`.
        rows_at_once: Most rows that are drawn together.
        sampling: How tokens are drawn and when a row is long enough.
        ends: Tokens that end a row.
        stops: Strings that end a row.
        on_step: Is given the rows at work after each token, before those that ended are yielded.
    """
    waiting = deque(groups)
    rows: list[Row] = []
    logits = torch.empty(0)
    while waiting or rows:
        if joining := _joining(waiting, rows_at_once - len(rows), rows_at_once, decoder.vacant):
            copies = [len(group.samples) for group in joining]
            new = decoder.admit([group.prompt for group in joining], copies)
            logits = torch.cat([logits, new]) if rows else new
            rows += [
                Row(g.request, *names)
                for g in joining
                for names in zip(g.samples, g.keys, strict=True)
            ]
        tokens = _draw_tokens(logits, rows, sampling, ends)
        done = _advance(rows, tokens.tolist(), sampling, ends, stops)
        on_step([row for place, row in enumerate(rows) if place not in done])
        yield from (rows[place] for place in sorted(done))
        if done:
            order = decoder.drop(done)
            rows, tokens = [rows[place] for place in order], tokens[order]
        if rows:
            logits = decoder.step(tokens)


def _joining(waiting: deque[Group], free: int, rows: int, vacant: float) -> list[Group]:
    """Removes the groups that join now from those that wait."""
    joining: list[Group] = []
    if free * _JOIN_AT < rows:
        return joining
    while waiting and len(waiting[0].samples) <= free and len(joining) < vacant:
        joining.append(waiting.popleft())
        free -= len(joining[-1].samples)
    return joining


def _draw_tokens(
    logits: torch.Tensor, rows: Sequence[Row], sampling: Sampling, ends: Sequence[int]
) -> torch.Tensor:
    """The next token of each row."""
    steps = [len(row.ids) for row in rows]
    young = [place for place, step in enumerate(steps) if step < sampling.min_new_tokens]
    if young and ends:
        logits[torch.tensor(young)[:, None], torch.tensor(ends)] = -torch.inf
    keys = torch.tensor([row.key for row in rows], device=logits.device)
    counts = torch.tensor(steps, device=logits.device)
    return draw(logits, keys, counts, sampling.temperature, sampling.top_p)


def _advance(
    rows: Sequence[Row],
    tokens: Sequence[int],
    sampling: Sampling,
    ends: Sequence[int],
    stops: StopStrings,
) -> set[int]:
    """Appends a token to each row; returns the places of finished rows."""
    done = set()
    for place, (row, token) in enumerate(zip(rows, tokens, strict=True)):
        row.ids.append(token)
        full = len(row.ids) == sampling.max_new_tokens
        if full or token in ends or stops.reached(row.ids, row.request):
            done.add(place)
    return done
