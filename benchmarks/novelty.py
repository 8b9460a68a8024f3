"""The novelty filter: against `rouge_score`, and how its time grows with the pool.

Prompts are spliced from phrases of a store, whose words follow Zipf's law; some are earlier prompts
with a few words changed. So they share phrases, and decisions fall on both sides of the limit.
"""

import importlib.util
import itertools
import random
import statistics
import tracemalloc
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial

import numpy as np
from rapidfuzz.distance import LCSseq

from benchmarks.report import Cell, Table, contest
from benchmarks.rounds import OURS, Contestant, Setting, seconds, take_turns
from benchmarks.targets import Target
from srlm_kedro.pipelines.prompts.novelty import Novelty, tokens

LIMIT = Decimal("0.7")
ROUGE_SCORE = "rouge_score"
RAPIDFUZZ = "rapidfuzz, each known prompt"
FASTER = Target(1000)
A_PROMPT = Target(1.2, at_least=False)

_PASSES = 5
"""Over the prompts that come on top: what is judged is their median."""
_VOCABULARY = 20_000
_STORE = 150_000  # words
_CHANGED = 0.1  # share of prompts that are earlier ones with changes

Decide = Callable[[str], bool]


def run(setting: Setting) -> list[Table]:
    """Two contests, with pools of 1,000 and 10,000, and the growth up to 100,000."""
    pools = (20, 40) if setting.quick else (1_000, 10_000)
    sizes = (25, 50, 100, 200) if setting.quick else (1_600, 6_400, 25_600, 102_400)
    return [*(_contest(pool, setting) for pool in pools), _growth(sizes, setting)]


def exponent(sizes: Sequence[int], figures: Sequence[float]) -> float:
    """Slope of the logarithm of the figures on that of the sizes, by least squares."""
    slope, _ = np.polyfit(np.log(sizes), np.log(figures), 1)
    return float(slope)


def steepest(sizes: Sequence[int], figures: Sequence[float]) -> float:
    """The higher of two exponents: over all sizes, and of the last step."""
    return max(exponent(sizes, figures), exponent(sizes[-2:], figures[-2:]))


def prompts(count: int, seed: int) -> list[str]:
    """Texts of 5 to 100 words."""
    chance = random.Random(seed)
    frequent = list(itertools.accumulate(1 / rank for rank in range(1, _VOCABULARY + 1)))
    names = [f"w{rank}" for rank in range(_VOCABULARY)]
    store = random.Random(0).choices(names, cum_weights=frequent, k=_STORE)
    made: list[list[str]] = []
    while len(made) < count:
        if made and chance.random() < _CHANGED:
            share = chance.uniform(0.1, 0.5)
            words = [chance.choice(names) if chance.random() < share else w for w in made[-1]]
        else:
            words = _spliced(chance, store)
        made.append(words)
    return [" ".join(words) for words in made]


def _spliced(chance: random.Random, store: Sequence[str]) -> list[str]:
    """Phrases of 3 to 12 words, one after the other."""
    length = chance.randint(5, 100)
    words: list[str] = []
    while len(words) < length:
        start = chance.randrange(len(store) - 12)
        words += store[start : start + chance.randint(3, 12)]
    return words[:length]


def _contest(pool: int, setting: Setting) -> Table:
    """New prompts against known ones; all contestants must decide alike."""
    texts = prompts(pool + 200, seed=1)
    chance = random.Random(2)
    chance.shuffle(texts)
    known, new = texts[:pool], texts[pool:]
    few = 2 if pool > 1000 else 10
    ways: dict[str, tuple[Decide, int]] = {
        OURS: (Novelty(known, LIMIT).is_similar, len(new)),
        RAPIDFUZZ: (_by_rapidfuzz(known), min(10 * few, len(new))),
    }
    if installed := importlib.util.find_spec(ROUGE_SCORE):
        ways[ROUGE_SCORE] = (_by_rouge_score(known), few)
    decided: dict[str, list[bool]] = {}
    contestants = [
        Contestant(
            name,
            partial(_decide, name, ways, new, decided),
            partial(decide, new[0]),
        )
        for name, (decide, _) in ways.items()
    ]
    scores = take_turns(contestants, setting.heavy)
    return contest(
        f"Novelty: a new prompt against {pool:,} known ones",
        scores,
        "prompt",
        {(OURS, ROUGE_SCORE): FASTER} if pool > 1000 else None,
        [_agreement(decided) if installed else f"{ROUGE_SCORE} is not installed: left out."],
    )


def _decide(
    name: str,
    ways: dict[str, tuple[Decide, int]],
    new: Sequence[str],
    decided: dict[str, list[bool]],
) -> int:
    decide, count = ways[name]
    decided[name] = [decide(text) for text in new[:count]]
    return count


def _agreement(decided: dict[str, list[bool]]) -> str:
    """A sentence that tells how many decisions were compared.

    Raises:
        AssertionError: Two contestants decided apart.
    """
    ours = decided.pop(OURS)
    for name, others in decided.items():
        apart = sum(a != b for a, b in zip(ours, others, strict=False))
        if apart:
            raise AssertionError(f"{name} decides {apart} of {len(others)} prompts otherwise.")
    compared = " and ".join(f"{len(others)} of {name}" for name, others in decided.items())
    return f"Ours decides as the others do: compared with {compared}."


def _by_rapidfuzz(known: Sequence[str]) -> Decide:
    """Every known prompt is compared, in integers."""
    numbers: dict[str, str] = {}

    def mapped(text: str) -> str:
        return "".join(numbers.setdefault(w, chr(0xE000 + len(numbers))) for w in tokens(text))

    pool = [mapped(text) for text in known]
    over, under = LIMIT.as_integer_ratio()

    def decide(text: str) -> bool:
        new = mapped(text)
        return any(
            2 * under * LCSseq.similarity(new, each) > over * (len(new) + len(each))
            for each in pool
        )

    return decide


def _by_rouge_score(known: Sequence[str]) -> Decide:
    """As Self-Instruct does it: the score of every known prompt, and the highest of them."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)

    def decide(text: str) -> bool:
        scores = [scorer.score(text, each)["rougeL"].fmeasure for each in known]
        return max(scores) > float(LIMIT)

    return decide


def _growth(sizes: Sequence[int], setting: Setting) -> Table:
    """Filtering from an empty pool, and what one prompt more costs then."""
    texts = prompts(sizes[-1], seed=3)
    more = prompts(200, seed=4)
    rows: list[dict[str, Cell]] = []
    for size in sizes:
        start = seconds("cpu")
        novelty = Novelty([], LIMIT)
        accepted = [text for text in texts[:size] if _admitted(novelty, text)]
        whole = seconds("cpu") - start
        each = statistics.median(_each(novelty, more) for _ in range(_PASSES))
        figures = {"accepted": len(accepted), "all [s]": whole, "one more [ms]": 1000 * each}
        rows.append({"prompts": size, **figures, "memory [MiB]": _memory(accepted)})
        setting.say(f"  {size} prompts filtered in {whole:.1f} s")
    return _with_exponents(rows, sizes)


def _each(novelty: Novelty, texts: Sequence[str]) -> float:
    """Seconds a text."""
    start = seconds("cpu")
    for text in texts:
        novelty.is_similar(text)
    return (seconds("cpu") - start) / len(texts)


def _with_exponents(rows: list[dict[str, Cell]], sizes: Sequence[int]) -> Table:
    """The steepest of both exponents is judged."""
    whole, each = ([float(row[name]) for row in rows] for name in ("all [s]", "one more [ms]"))
    steps = [
        {
            "of": name,
            "exponent": exponent(sizes, figures),
            "of the last step": exponent(sizes[-2:], figures[-2:]),
            "target": target and str(target),
            "met": target and target.met(steepest(sizes, figures)),
        }
        for name, figures, target in (
            ("all prompts", whole, None),
            ("one prompt more", each, A_PROMPT),
        )
    ]
    notes = [
        "The pool is empty at first; memory is the peak of what the filter holds.",
        f"Exponents hold up to {sizes[-1]:,} prompts; the one over all sizes and that of the last "
        "step must both be within the target.",
    ]
    return Table(f"Novelty: growth with the pool, up to {sizes[-1]:,} prompts", rows, notes, steps)


def _admitted(novelty: Novelty, text: str) -> bool:
    if novelty.is_known(text) or novelty.is_similar(text):
        return False
    novelty.add(text)
    return True


def _memory(known: Sequence[str]) -> float:
    """MiB at most while a filter that knows these prompts is built."""
    tracemalloc.start()
    Novelty(known, LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20
