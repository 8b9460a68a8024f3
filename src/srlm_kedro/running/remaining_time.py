"""How long a run will still take, from the times that its stages took before and take now."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node

from srlm_kedro.freshness.recipe import is_engine

_TIMINGS = "timings"
_MIN_SEEN = 0.02
"""The share of the expected work that must be seen before the rest can be estimated."""
_MIN_DONE = 0.02
"""The share of a drawing or training below which its own speed says little."""
_SECONDS = {
    "train_m0": 240.0,
    "train_m1": 37.0,
    "judge_candidates": 39.0,
    "write_prompts": 17.0,
    "judge_own": 11.0,
    "judge_shuffled": 11.0,
    "train_dpo": 10.0,
    "check_seed": 6.0,
}
"""Seconds of the microworld's longest stages on two cores, as `--pipeline=estimate` has them. Only
their ratios matter."""
_WITH_ENGINE, _WITHOUT_ENGINE = 3.0, 0.2
"""Seconds of other stages: those that draw or train, and the rest."""

Basis = Literal["measured", "rough", "plain"]


@dataclass(frozen=True)
class Expected:
    """How long a node will take, and how that is known.

    `measured`: the node, or the same stage of another model, took so long here before. `rough`:
    it draws or trains, and only its ratio to others is known. `plain`: it uses no model.
    """

    seconds: float
    basis: Basis


def expected_times(nodes: Iterable[Node], catalog: CatalogProtocol) -> dict[str, Expected]:
    """Each node's time in earlier runs in this data folder, or else a typical time."""
    took: dict[str, float] = {}
    if _TIMINGS in catalog:
        for row in catalog.load(_TIMINGS).itertuples():
            took[f"{row.model}.{row.node}"] = took[row.node] = row.seconds
    found = {}
    for node in nodes:
        name = node.name.rpartition(".")[2]
        before = took.get(node.name, took.get(name))
        if before is not None:
            found[node.name] = Expected(before, "measured")
        elif any(is_engine(catalog, each) for each in node.inputs):
            found[node.name] = Expected(_SECONDS.get(name, _WITH_ENGINE), "rough")
        else:
            found[node.name] = Expected(_SECONDS.get(name, _WITHOUT_ENGINE), "plain")
    return found


_UNKNOWN = Expected(_WITHOUT_ENGINE, "plain")


@dataclass
class _AtWork:
    start: float
    since: float
    """When its current drawing or training began."""
    done: float = 0.0
    """The share of the current drawing or training that is done."""


class RemainingTime:
    """What is done of a run, and how long the rest will take."""

    def __init__(
        self,
        expected: dict[str, Expected],
        clock: Callable[[], float] = time.monotonic,
        start: float | None = None,
    ) -> None:
        """A run of the nodes in `expected` that began at `start` on the clock; None: now."""
        self._expected, self._clock = expected, clock
        self.start = clock() if start is None else start
        self._pending = dict(expected)
        self._at_work: dict[str, _AtWork] = {}
        self._durations: dict[str, float] = {}
        self._share = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self.start

    @property
    def at_work(self) -> list[str]:
        """The nodes at work, in the order in which they began."""
        return list(self._at_work)

    def begin(self, node: str) -> None:
        """A node begins."""
        now = self._clock()
        self._pending.pop(node, None)
        self._at_work[node] = _AtWork(now, now)

    def update(self, node: str, done: float, total: float) -> None:
        """The node's drawing or training has done `done`; if that is less, another one began."""
        work = self._at_work.get(node)
        if work is None or not total:
            return
        if done / total < work.done:
            work.since = self._clock()
        work.done = done / total

    def end(self, node: str) -> None:
        """A node is done."""
        if (work := self._at_work.pop(node, None)) is not None:
            self._durations[node] = self._clock() - work.start

    def left(self) -> float | None:
        """Seconds until all is done; None if that is not known yet."""
        now, left = self._clock(), 0.0
        scales = {basis: self._scale(basis, now) for basis in get_args(Basis)}
        if not self._expected:
            return None
        for each in self._pending.values():
            if (scale := scales[each.basis]) is None:
                return None
            left += each.seconds * scale
        for name, work in self._at_work.items():
            rest = _rest(work, now)
            each = self._expected.get(name, _UNKNOWN)
            if (scale := scales[each.basis]) is None:
                return None
            left += max(each.seconds * scale - (now - work.start), rest or 0.0, 0.0)
        return left

    def share(self) -> float:
        """The share of the run that is done, from 0 to 1; it never falls."""
        left = self.left()
        if left is not None:
            elapsed = self.elapsed
            self._share = max(self._share, elapsed / (elapsed + left) if left else 1.0)
        return self._share

    def _scale(self, basis: Basis, now: float) -> float | None:
        """How much longer the stages of a basis take than expected, from those seen so far."""
        if basis == "plain":
            return 1.0
        alike = {name: e.seconds for name, e in self._expected.items() if e.basis == basis}
        seen = dict(self._durations)
        for name, work in self._at_work.items():
            if (rest := _rest(work, now)) is not None:
                seen[name] = now - work.start + rest
        expected = sum(alike[name] for name in seen if name in alike)
        if expected and expected >= _MIN_SEEN * sum(alike.values()):
            return sum(seen[name] for name in seen if name in alike) / expected
        return 1.0 if basis == "measured" else None


def _rest(work: _AtWork, now: float) -> float | None:
    """Seconds that the rest of a drawing or training takes at its speed so far."""
    if work.done < _MIN_DONE:
        return None
    return (now - work.since) / work.done * (1 - work.done)
