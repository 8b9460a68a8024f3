"""Judging and sampling: our engine against what people use today, and against the roofline."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks import roofline, targets
from benchmarks.models import LARGE, MEDIUM, SMALL, TINY, Shape, make
from benchmarks.peers.hf import HuggingFace
from benchmarks.peers.lucidrains import INSTALLED, PACKAGE, Lucidrains
from benchmarks.report import Table, contest
from benchmarks.rounds import Contestant, Score, Setting, take_turns
from benchmarks.targets import Target
from benchmarks.work import Work, judging, sampling
from srlm_kedro.engines.generation.transformers import TransformersEngine

Targets = Mapping[tuple[str, str], Target]
_SEED = 1
_DTYPES = ("float32", "bfloat16")
_SLOW_ROUNDS = 3
"""Of the one that takes longest."""
_BESIDE_BFLOAT16 = (
    f"Targets of '{targets.OURS_BF16}' are of float32 peers: they were named so. Beside "
    f"'{targets.BEST_BATCH_BF16}' like is compared with like."
)


@dataclass(frozen=True)
class Sizes:
    """How much work each contestant is given; all are compared by the token."""

    ours: int
    """Prompts of our engine."""
    one_by_one: int
    lucidrains: int
    """0 leaves it out: behind a larger model it would take most of the time."""
    batches: tuple[int, ...]
    """Batch sizes, in prompts, from which the best is searched."""


_QUICK = Sizes(ours=4, one_by_one=1, lucidrains=1, batches=(1, 2))
_CPU_5M = Sizes(ours=64, one_by_one=2, lucidrains=1, batches=(8, 16, 32))
_CPU_23M = Sizes(ours=32, one_by_one=1, lucidrains=0, batches=(4, 8, 16, 32))
_CUDA = Sizes(ours=512, one_by_one=2, lucidrains=1, batches=(32, 64, 128, 256))


@dataclass(frozen=True)
class _Task:
    """A kind of work, how it is asked of the one package that has its own way, and our targets."""

    make: Callable[..., Work]
    lucidrains: Callable[[Lucidrains, int], float]
    small: Targets
    """Of the model of 5M parameters."""
    medium: Targets
    """Of the one of 23M."""


_JUDGING = _Task(judging, Lucidrains.judge, targets.JUDGING, targets.JUDGING_23M)
_SAMPLING = _Task(sampling, Lucidrains.sample, targets.SAMPLING, {})


def run_judging(setting: Setting) -> Iterator[Table]:
    """A table a model."""
    return _run(_JUDGING, setting)


def run_sampling(setting: Setting) -> Iterator[Table]:
    """A table a model."""
    return _run(_SAMPLING, setting)


def _run(task: _Task, setting: Setting) -> Iterator[Table]:
    if setting.quick:
        yield _contest(task, TINY, _QUICK, task.small, setting)
    elif setting.device == "cuda":
        yield _contest(task, LARGE, _CUDA, {}, setting)
    else:
        yield _contest(task, SMALL, _CPU_5M, task.small, setting)
        yield _contest(task, MEDIUM, _CPU_23M, task.medium, setting.heavy)


def _contest(task: _Task, shape: Shape, sizes: Sizes, named: Targets, setting: Setting) -> Table:
    checkpoint = make(shape, setting.folder / shape.name)
    work = task.make(checkpoint, shape, sizes.ours, setting.quick)
    setting.say(work.name)
    peers, notes = _peers(task, work, sizes, setting)
    before = _rates(work, setting)
    scores = take_turns([*_ours(work, setting), *peers], setting)
    rates = [roofline.best(*both) for both in zip(before, _rates(work, setting), strict=True)]
    notes += [_BESIDE_BFLOAT16] if named else []
    notes += [_said(each) for each in rates]
    amount = f"{len(work.prompts)} prompts x {work.samples} samples of {work.new_tokens} tokens"
    title = f"{work.name}: {amount}"
    return contest(title, [*scores, *_floors(work, rates)], "token", named, notes)


def _ours(work: Work, setting: Setting) -> list[Contestant]:
    """Our engine on the whole work, in two number formats."""
    threads = 1 if setting.device == "cpu" else None

    def run(engine: TransformersEngine) -> float:
        rows = engine.generate(work.checkpoint, work.requests, work.sampling, _SEED)
        return sum(completion.tokens for row in rows for completion in row)

    names = {targets.OURS: "float32", targets.OURS_BF16: "bfloat16"}
    return [
        Contestant(name, partial(run, TransformersEngine(dtype, setting.device, threads)))
        for name, dtype in names.items()
    ]


def _peers(
    task: _Task, work: Work, sizes: Sizes, setting: Setting
) -> tuple[list[Contestant], list[str]]:
    """The others on a part of the work, and what there is to say about them."""
    peers, notes = [], []
    for dtype, name in zip(_DTYPES, (targets.BEST_BATCH, targets.BEST_BATCH_BF16), strict=True):
        hf = HuggingFace(work, dtype, setting)
        best, rates = hf.best_batch(sizes.batches)
        warm_up = partial(hf.one_by_one, 1)  # The search has warmed it up.
        if dtype == "float32":
            run = partial(hf.one_by_one, sizes.one_by_one)
            peers.append(Contestant(targets.ONE_BY_ONE, run, warm_up))
        peers.append(Contestant(name, partial(hf.batched, best, best), warm_up))
        found = ", ".join(f"{size}: {rate:,.0f}" for size, rate in rates.items())
        notes.append(f"{name}, tokens a second by prompts a batch: {found}; {best} is taken.")
    if not INSTALLED:
        notes.append(f"The package {PACKAGE} is not installed and left out.")
    elif sizes.lucidrains:
        peer = Lucidrains(work, setting)
        run = partial(task.lucidrains, peer, sizes.lucidrains)
        peers.append(Contestant(targets.LUCIDRAINS, run, peer.warm_up, _SLOW_ROUNDS))
    return peers, notes


def _rates(work: Work, setting: Setting) -> list[roofline.Rates]:
    """What the machine can do now, in each number format."""
    rows = work.samples * len(work.prompts)
    return [roofline.measure(work.shape, rows, dtype, setting) for dtype in _DTYPES]


def _floors(work: Work, rates: Sequence[roofline.Rates]) -> list[Score]:
    names = (targets.ROOFLINE, targets.OURS), (targets.ROOFLINE_BF16, targets.OURS_BF16)
    drawn = work.drawn(len(work.prompts))
    return [
        Score(name, (drawn / roofline.floor(work, each),), beside=ours)
        for (name, ours), each in zip(names, rates, strict=True)
    ]


def _said(rates: roofline.Rates) -> str:
    return (
        f"Roofline, {rates.dtype}: {rates.operations / 1e9:,.0f} billion operations a second, "
        f"{rates.reads / 1e9:,.1f} GB read a second; the best before and after the contest."
    )
