"""SFT and DPO: our engine against TRL's trainers, with their defaults and without.

Everybody starts from the checkpoint on disk and ends with trained weights: reading it, making the
rows and the trainer count, imports do not. Ours also writes the new checkpoint; TRL is spared that.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from datasets import disable_progress_bars

from benchmarks import targets
from benchmarks.models import LARGE, SMALL, TINY, Shape, make, words
from benchmarks.peers import trl
from benchmarks.report import Table, contest
from benchmarks.rounds import Contestant, Setting, take_turns
from benchmarks.targets import Target
from srlm_kedro.engines.training.params import DpoParams, SftParams
from srlm_kedro.engines.training.trl.engine import TrlEngine
from srlm_kedro.records import Checkpoint, Example, Preference

_BATCH = 16
_RATE = 1e-5
_SHARED = {"batch_size": _BATCH, "dropout": 0.0, "min_learning_rate": _RATE / 10, "epochs": 1}
_SFT = SftParams(learning_rate=_RATE, **_SHARED)
_DPO = DpoParams(learning_rate=(_RATE,), **_SHARED)
_SEED = 1
_ROWS = 96
"""Of SFT; DPO has two thirds as many."""
_FEWER_ROUNDS = 2
"""Of the peers but the first."""
_DEFAULTS = (
    f"'{targets.TRL_BF16}': TRL's own settings, which are bfloat16 (autocast, on a CPU too) and "
    "activations computed twice (gradient checkpointing)."
)
_FLOAT32 = (
    f"'{targets.TRL}': float32, all else as it is; the targets are of this one. "
    f"'{targets.TRL_KEPT}': gradient checkpointing is off, too."
)
_ALIKE = (
    "Batch, rate, epochs and data are everybody's. Ours computes activations twice only where "
    "memory asks for it. TRL writes no checkpoint; ours writes one within its time."
)

Rows = Sequence[Any]


def run(setting: Setting) -> Iterator[Table]:
    """A table for SFT, and one for DPO."""
    disable_progress_bars()
    shape = TINY if setting.quick else (SMALL if setting.device == "cpu" else LARGE)
    base = make(shape, setting.folder / shape.name)
    examples, pairs = _data(shape, 4 if setting.quick else _ROWS)
    pairs = pairs[: len(pairs) * 2 // 3]  # They take longer: two responses each.
    yield sft(base, shape.name, examples, targets.SFT, setting)
    yield dpo(base, shape.name, pairs, targets.DPO, setting)


def sft(
    base: Checkpoint,
    name: str,
    examples: Sequence[Example],
    named: Mapping[tuple[str, str], Target],
    setting: Setting,
    only: Sequence[str] | None = None,
) -> Table:
    """The contest of SFT.

    Args:
        base: Where everybody starts.
        name: What the model is called.
        examples: All of them are read once.
        named: The targets.
        setting: Of the benchmarks.
        only: Contestants that take part; None: all.
    """
    return _contest(
        f"SFT, {name}",
        examples,
        lambda engine, rows: engine.sft(base, rows, _SFT, _SEED),
        lambda rows, asked: trl.sft(base, rows, asked),
        named,
        setting,
        only,
    )


def dpo(
    base: Checkpoint,
    name: str,
    pairs: Sequence[Preference],
    named: Mapping[tuple[str, str], Target],
    setting: Setting,
    only: Sequence[str] | None = None,
) -> Table:
    """The contest of DPO; see `sft`."""
    return _contest(
        f"DPO, {name}",
        pairs,
        lambda engine, rows: engine.dpo(base, base, rows, _DPO, _SEED),
        lambda rows, asked: trl.dpo(base, rows, asked),
        named,
        setting,
        only,
    )


def _contest(
    name: str,
    rows: Rows,
    ours: Callable[[TrlEngine, Rows], object],
    theirs: Callable[[Rows, trl.Settings], float],
    named: Mapping[tuple[str, str], Target],
    setting: Setting,
    only: Sequence[str] | None,
) -> Table:
    """A table of one kind of training; a step of each warms up."""
    setting.say(name)
    few = rows[:_BATCH]

    def seen(engine: TrlEngine, rows: Rows) -> float:
        ours(engine, rows)
        return len(rows)

    contestants = [
        Contestant(each, partial(seen, engine, rows), partial(seen, engine, few))
        for each, engine in _engines(setting).items()
    ]
    for number, (each, asked) in enumerate(_peers(setting).items()):
        run, warm_up = partial(theirs, rows, asked), partial(theirs, few, asked)
        contestants.append(Contestant(each, run, warm_up, _FEWER_ROUNDS if number else None))
    contestants = [each for each in contestants if only is None or each.name in only]
    notes = [_DEFAULTS, *([_FLOAT32] if setting.device == "cpu" else []), _ALIKE]
    title = f"{name}: {len(rows)} rows of about 100 tokens, {_BATCH} a step"
    return contest(title, take_turns(contestants, setting.heavy), "row", named, notes)


def _engines(setting: Setting) -> dict[str, TrlEngine]:
    """On a GPU TRL's default is bfloat16, and so is ours."""
    engines = {targets.OURS_BF16: _engine("bfloat16", setting)}
    if setting.device == "cpu":
        engines = {targets.OURS: _engine("float32", setting), **engines}
    return engines


def _peers(setting: Setting) -> dict[str, trl.Settings]:
    """What is set besides TRL's defaults, by contestant; ours is to be held against the first."""
    float32 = {
        targets.TRL: {"bf16": False},
        targets.TRL_KEPT: {"bf16": False, "gradient_checkpointing": False},
    }
    asked = {**(float32 if setting.device == "cpu" else {}), targets.TRL_BF16: {}}
    return {name: trl.settings(_BATCH, _RATE, setting, **each) for name, each in asked.items()}


def _engine(dtype: str, setting: Setting) -> TrlEngine:
    threads = 1 if setting.device == "cpu" else None
    folder = setting.folder / "ours"
    return TrlEngine(dtype=dtype, device=setting.device, threads=threads, work_dir=str(folder))


def _data(shape: Shape, count: int) -> tuple[Sequence[Example], Sequence[Preference]]:
    """Examples and pairs: prompts of 20 to 60 tokens, responses of 30 to 90."""
    chance = random.Random(3)

    def text(shortest: int, longest: int) -> str:
        return words(chance.randint(shortest, longest), shape, chance)

    examples = [Example(text(20, 60), text(30, 90)) for _ in range(count)]
    pairs = [Preference(each.prompt, each.completion, text(30, 90)) for each in examples]
    return examples, pairs
