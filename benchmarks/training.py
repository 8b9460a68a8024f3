"""SFT and DPO: our engine against TRL's trainers with their defaults.

Everybody starts from the checkpoint on disk and ends with trained weights: reading it, making the
rows and the trainer count, imports do not. Ours also writes the new checkpoint; TRL is spared that.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence

from datasets import disable_progress_bars

from benchmarks import targets
from benchmarks.models import LARGE, SMALL, TINY, Shape, make, words
from benchmarks.peers import trl
from benchmarks.report import Table, contest
from benchmarks.rounds import Contestant, Setting, take_turns
from benchmarks.targets import Target
from srlm_kedro.engines.training.base import DpoParams, SftParams
from srlm_kedro.engines.training.trl import TrlEngine
from srlm_kedro.records import Example, Preference

_BATCH = 16
_RATE = 1e-5
_SHARED = {"batch_size": _BATCH, "dropout": 0.0, "min_learning_rate": _RATE / 10, "epochs": 1}
_SFT = SftParams(learning_rate=_RATE, **_SHARED)
_DPO = DpoParams(learning_rate=(_RATE,), **_SHARED)
_SEED = 1

Train = Callable[[TrlEngine], object]


def run(setting: Setting) -> Iterator[Table]:
    """A table for SFT, and one for DPO."""
    disable_progress_bars()
    shape = TINY if setting.quick else (SMALL if setting.device == "cpu" else LARGE)
    base = make(shape, setting.folder / shape.name)
    examples, pairs = _data(shape, 4 if setting.quick else 160)
    yield _contest(
        f"SFT, {shape.name}",
        len(examples),
        lambda engine: engine.sft(base, examples, _SFT, _SEED),
        lambda: trl.sft(base, examples, _BATCH, _RATE, setting),
        targets.SFT,
        setting,
    )
    yield _contest(
        f"DPO, {shape.name}",
        len(pairs),
        lambda engine: engine.dpo(base, base, pairs, _DPO, _SEED),
        lambda: trl.dpo(base, pairs, _BATCH, _RATE, setting),
        targets.DPO,
        setting,
    )


def _contest(
    name: str,
    rows: int,
    ours: Train,
    theirs: Callable[[], float],
    named: Mapping[tuple[str, str], Target],
    setting: Setting,
) -> Table:
    """A table of one kind of training; on a GPU TRL's default is bfloat16, and so is ours."""
    setting.say(name)
    engines = {targets.OURS_BF16: _engine("bfloat16", setting)}
    if setting.device == "cpu":
        engines = {targets.OURS: _engine("float32", setting), **engines}

    def seen(engine: TrlEngine) -> float:
        ours(engine)
        return rows

    contestants = [
        *(Contestant(each, lambda engine=engine: seen(engine)) for each, engine in engines.items()),
        Contestant(targets.TRL, theirs),
    ]
    title = f"{name}: {rows} rows of about 100 tokens, {_BATCH} a step"
    return contest(title, take_turns(contestants, setting.heavy), "row", named)


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
