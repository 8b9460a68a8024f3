"""How long a run will take: what stages took before, held against what they take now."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node

from srlm_kedro.freshness.plan import is_engine

_TIMINGS = "timings"
_ENOUGH = 0.02
"""Share of the expected work that must be seen before anybody can say how long the rest takes."""
_EARLY = 0.02
"""Share of a drawing or training below which its own pace says little."""
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
"""Seconds of the microworld's longest stages on two cores, as `--pipeline=estimate` has them; their
ratios alone count."""
_WITH_ENGINE, _WITHOUT = 3.0, 0.2
"""Of other stages: those that draw or train, and the rest."""


Grounds = Literal["measured", "rough", "plain"]


@dataclass(frozen=True)
class Expected:
    """How long a node will take, and by what.

    `measured`: by what it, or the same stage of another model, took here before. `rough`: it draws
    or trains, and only its ratio to others is known. `plain`: no model is at work.
    """

    seconds: float
    grounds: Grounds


def expect(nodes: Iterable[Node], catalog: CatalogProtocol) -> dict[str, Expected]:
    """Each node's time by earlier runs in this data folder, or else by what is common."""
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
            found[node.name] = Expected(_SECONDS.get(name, _WITHOUT), "plain")
    return found


_UNKNOWN = Expected(_WITHOUT, "plain")


@dataclass
class _AtWork:
    start: float
    since: float
    """When its present drawing or training began."""
    done: float = 0.0
    """Share of that which is done."""


class Pace:
    """What is done of a run, and when the rest will be."""

    def __init__(
        self,
        expected: dict[str, Expected],
        clock: Callable[[], float] = time.monotonic,
        start: float | None = None,
    ) -> None:
        """`expected` names all nodes of the run, which began at `start` by the clock, or now."""
        self._expected, self._clock = expected, clock
        self.start = clock() if start is None else start
        self._pending = dict(expected)
        self._at_work: dict[str, _AtWork] = {}
        self._took: dict[str, float] = {}
        self._share = 0.0

    @property
    def passed(self) -> float:
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

    def reach(self, node: str, done: float, total: float) -> None:
        """Its drawing or training has come so far; where less is done than before, a new one is."""
        work = self._at_work.get(node)
        if work is None or not total:
            return
        if done / total < work.done:
            work.since = self._clock()
        work.done = done / total

    def end(self, node: str) -> None:
        """A node is done."""
        if (work := self._at_work.pop(node, None)) is not None:
            self._took[node] = self._clock() - work.start

    def left(self) -> float | None:
        """Seconds until all is done; None where nobody can say yet."""
        now, left = self._clock(), 0.0
        scales = {grounds: self._scale(grounds, now) for grounds in get_args(Grounds)}
        if not self._expected:
            return None
        for each in self._pending.values():
            if (scale := scales[each.grounds]) is None:
                return None
            left += each.seconds * scale
        for name, work in self._at_work.items():
            rest = _rest(work, now)
            each = self._expected.get(name, _UNKNOWN)
            if (scale := scales[each.grounds]) is None:
                return None
            left += max(each.seconds * scale - (now - work.start), rest or 0.0, 0.0)
        return left

    def share(self) -> float:
        """Of the run that is done, from 0 to 1; it never falls."""
        left = self.left()
        if left is not None:
            passed = self.passed
            self._share = max(self._share, passed / (passed + left) if left else 1.0)
        return self._share

    def _scale(self, grounds: Grounds, now: float) -> float | None:
        """How much longer stages of a kind take than expected, by those that were seen."""
        if grounds == "plain":
            return 1.0
        alike = {name: e.seconds for name, e in self._expected.items() if e.grounds == grounds}
        seen = dict(self._took)
        for name, work in self._at_work.items():
            if (rest := _rest(work, now)) is not None:
                seen[name] = now - work.start + rest
        expected = sum(alike[name] for name in seen if name in alike)
        if expected and expected >= _ENOUGH * sum(alike.values()):
            return sum(seen[name] for name in seen if name in alike) / expected
        return 1.0 if grounds == "measured" else None


def _rest(work: _AtWork, now: float) -> float | None:
    """Seconds that the rest of a drawing or training takes at the pace of what is done of it."""
    if work.done < _EARLY:
        return None
    return (now - work.since) / work.done * (1 - work.done)
