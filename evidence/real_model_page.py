"""The page about SmolLM2: gains, what they cost, and answers to read."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from evidence.cells import NONE, table

RANDOM = "shuffled_rewards"
EXPERIMENTS = {
    "main": "M2 and M3 by its own judge",
    RANDOM: "the same pairs in random order",
    "checked": "rewarded by the programs: the ceiling",
}
"""By the environment that is added to `smollm`."""
COLUMNS = ["experiment", "seed", "model", "figure", "value"]
MODELS = ("m0", "sft", "m1", "m2", "m3")
_FULL = 5
_TEXTS = 8
"""Prompts whose answers are shown."""
_PARTS = {
    "all": "all",
    "seen": "seen",
    "unseen_topic": "unseen topics",
    "unseen_kind": "unseen kinds",
}
_BESIDE = {
    "M2": ("m2", "main"),
    "M2, random order": ("m2", RANDOM),
    "M3": ("m3", "main"),
    "M3, random order": ("m3", RANDOM),
}
"""Columns of the kinds, each with its model and experiment."""
_COSTS = {
    "words": ("met/words", "{:.0f}"),
    "cut off": ("met/cut_off", "{:.2f}"),
    "repeats itself": ("met/repeating", "{:.2f}"),
    "different pairs of words": ("met/distinct_pairs", "{:.3f}"),
    "log-probability under M0": ("fluency/log_prob", "{:.3f}"),
}
_PROMPTS = {
    "written": ("prompts/written", "{:.0f}"),
    "accepted": ("prompts/accepted", "{:.0f}"),
    "accepted of those judged": ("prompts/accepted_share", "{:.2f}"),
    "refused: not all constraints known": ("prompts/rejected_no_criteria", "{:.0f}"),
}
_JUDGING = {
    "right on held-out answers of M0": ("eval/pairwise_accuracy", "eval/judge_pairs"),
    "right on its own held-out answers": ("study/own_right", "study/own_pairs"),
    "its judge was right on candidates": ("study/judge_right", "study/judge_pairs"),
}
"""Share and number of pairs."""
_ACCURACY = ("eval/pairwise_accuracy", "{:.1f}%")
_NOT_RUN = "not run"
_IFEVAL = (
    *("prompt_level_strict_acc", "prompt_level_loose_acc"),
    *("inst_level_strict_acc", "inst_level_loose_acc"),
)


def lines(figures: pd.DataFrame) -> list[str]:
    """The page, line by line."""
    found = Found(figures)
    seeds = sorted(figures["seed"].unique())
    return [
        "# SmolLM2 rewards itself",
        "",
        "`python -m evidence.real_model` writes this page from what the runs left; all figures are",
        "in [smollm.csv](smollm.csv). Shares are of the constraints in held-out prompts that the",
        "responses meet, as programs find them. Intervals: 95%, over prompts.",
        "",
        f"Seeds: {', '.join(map(str, seeds)) or 'none is finished'}.",
        "",
        "## What was to be shown",
        "",
        *table(["claim", "found"], _claims(found, seeds)),
        "",
        "## Gains over M1",
        "",
        *table(["seed", "rewards", "M2 - M1", "M3 - M1", "M3 - M2", "pairs"], _gains(found, seeds)),
        "",
        *_over_random_order(found, seeds),
        "## Shares of constraints met",
        "",
        *_by_model(found, seeds, [*_PARTS.values(), "all of a prompt's"], _shares),
        "",
        "## By kind of constraint",
        "",
        *_kinds(found, seeds),
        "",
        "## What it paid",
        "",
        "A response repeats itself if fewer than half of its runs of four words are different.",
        "Different pairs of words are counted in the first 20 words of each response. Less of a",
        "log-probability under M0 means texts that M0 would not write; repeated texts have more.",
        "",
        *table(["seed", "rewards", "model", *_COSTS], _costs(found, seeds), names=3),
        "",
        "## How it judged",
        "",
        "Shares of pairs that it ordered as the programs do, and the number of pairs; half is",
        "chance. Of the pairs that DPO learnt from, the rest meet their constraints equally well.",
        "",
        *_by_model(found, seeds, [*_JUDGING, "pairs true, false"], _judging),
        "",
        *_known_kinds(found),
        "## Prompts that it wrote",
        "",
        *_by_model(found, seeds, list(_PROMPTS), _written),
        "",
        *_ifeval_lines(found, seeds),
        "## Time and memory",
        "",
        *table(["seed", "run", "minutes", "peak (GiB)"], _spent(found, seeds), names=2),
    ]


def texts(folder: Path) -> list[str]:
    """Answers of M0 and of the last model to the same prompts, drawn at random, not chosen."""
    for seed in sorted((folder / "data").glob("seed*")):
        places = {"m0": seed / "02_intermediate/m0"}
        places |= {model: seed / f"07_model_output/{model}" for model in ("m1", "m2", "m3")}
        files = {model: place / "eval_scores.parquet" for model, place in places.items()}
        finished = [model for model, file in files.items() if file.exists()]
        if len(finished) > 1:
            scores = {model: _first(files[model]) for model in (finished[0], finished[-1])}
            return _beside(seed.name, scores)
    return []


def _first(file: Path) -> pd.DataFrame:
    """The first sampled response to each prompt."""
    rows = pd.read_parquet(file)
    return rows[(rows["mode"] == "sampled") & (rows["sample"] == 0)].set_index("prompt_id")


def _beside(seed: str, scores: Mapping[str, pd.DataFrame]) -> list[str]:
    first = next(iter(scores.values()))
    drawn = random.Random(0).sample(sorted(first.index), min(_TEXTS, len(first)))
    page = ["", f"## Answers to read ({seed}, prompts drawn at random)", ""]
    for name in drawn:
        page += [f"**{first.loc[name, 'prompt']}**", ""]
        for model, table_ in scores.items():
            row = table_.loc[name]
            page += [f"{model.upper()} ({row['score'] / _FULL:.2f} met):", "", "~~~text"]
            page += [row["response"].replace("~~~", "---"), "~~~", ""]
    return page


class Found:
    """The figures, by experiment, seed, model and name."""

    def __init__(self, figures: pd.DataFrame) -> None:
        self.figures = figures
        self._values = figures.set_index(COLUMNS[:4])["value"].to_dict()

    def at(self, seed: int, model: str, figure: str, experiment: str = "main") -> float | None:
        """One figure; None if there is none."""
        return self._values.get((experiment, seed, model, figure))

    def cell(self, form: str, *place: object) -> str:
        """One figure as a cell of a table."""
        value = self.at(*place)  # type: ignore[arg-type]
        return NONE if value is None else form.format(value)


def _gains(found: Found, seeds: Sequence[int]) -> Iterator[tuple[str, ...]]:
    for seed in seeds:
        for control, title in EXPERIMENTS.items():
            cells = [_gain(found, seed, model, control) for model in ("m2", "m3")]
            if set(cells) == {NONE}:
                continue
            cells.append(_gain(found, seed, "m3", control, "m2"))
            yield str(seed), title, *cells, found.cell("{:.0f}", seed, "m2", "pairs/count", control)


def _gain(found: Found, seed: int, model: str, control: str, against: str = "m1") -> str:
    figure = f"gain/vs_{against}"
    values = [found.at(seed, model, f"{figure}{part}", control) for part in ("", "_low", "_high")]
    if None in values:
        return NONE
    return "{:+.3f} ({:+.3f} to {:+.3f})".format(*values)


def _over_random_order(found: Found, seeds: Sequence[int]) -> list[str]:
    """The section on what the judge gives beyond random order; empty without that control."""
    rows = [
        (str(seed), *(_gain(found, seed, model, "main", RANDOM) for model in ("m2", "m3")))
        for seed in seeds
    ]
    lines_ = table(["seed", "M2", "M3"], rows)
    if not lines_:
        return []
    head = ["## Own judge over random order", ""]
    head += [
        "What the order of the pairs gives: training on the model's own texts cancels out.",
        "",
    ]
    kinds = table(["kind", "M1", *_BESIDE], _kinds_beside(found, seeds))
    return [*head, *lines_, "", "By kind, over the seeds that have both:", "", *kinds, ""]


def _kinds_beside(found: Found, seeds: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """Means over the seeds whose model of random order is finished, of each kind of constraint."""
    figures = found.figures["figure"]
    kinds = sorted(set(figures[figures.str.fullmatch(r"met/all/\w+")]))
    for kind in kinds:
        cells = []
        for model, experiment in (("m1", "main"), *_BESIDE.values()):
            last = "m2" if model == "m1" else model
            values = [
                found.at(seed, model, kind, experiment)
                for seed in seeds
                if found.at(seed, last, kind, RANDOM) is not None
            ]
            known = [value for value in values if value is not None]
            cells.append(f"{sum(known) / len(known):.3f}" if known else NONE)
        yield kind.rpartition("/")[2], *cells


def _shares(found: Found, seed: int, model: str) -> list[str]:
    cells = [found.cell("{:.3f}", seed, model, f"met/{part}/all") for part in _PARTS]
    return [*cells, found.cell("{:.3f}", seed, model, "met/every_constraint")]


def _kinds(found: Found, seeds: Sequence[int]) -> list[str]:
    """The means over seeds, of all parts."""
    rows = _means_by_kind(found, r"met/all/(?!all$)\w+")
    return table(["kind", *map(str.upper, MODELS)], rows)


def _means_by_kind(found: Found, pattern: str) -> Iterator[tuple[str, ...]]:
    """A row for each kind: the mean over seeds for each model."""
    rows = found.figures[found.figures["figure"].str.fullmatch(pattern)]
    rows = rows[rows["experiment"] == "main"]
    means: Mapping = rows.groupby(["figure", "model"])["value"].mean().to_dict()
    for kind in sorted({figure for figure, _ in means}):
        cells = [means.get((kind, model)) for model in MODELS]
        shown = [NONE if value is None else f"{value:.3f}" for value in cells]
        yield kind.rpartition("/")[2], *shown


def _by_model(
    found: Found,
    seeds: Sequence[int],
    columns: Sequence[str],
    cells: Callable[[Found, int, str], Sequence[str]],
) -> list[str]:
    """A table with one row for each seed and model."""
    rows = [
        (str(seed), model.upper(), *cells(found, seed, model)) for seed in seeds for model in MODELS
    ]
    return table(["seed", "model", *columns], rows, names=2)


def _costs(found: Found, seeds: Sequence[int]) -> Iterator[tuple[str, ...]]:
    for seed in seeds:
        for control, title in EXPERIMENTS.items():
            for model in MODELS:
                cells = [found.cell(form, seed, model, at, control) for at, form in _COSTS.values()]
                yield str(seed), title, model.upper(), *cells


def _written(found: Found, seed: int, model: str) -> list[str]:
    return [found.cell(form, seed, model, name) for name, form in _PROMPTS.values()]


def _known_kinds(found: Found) -> list[str]:
    """What the judge knows of each kind; empty if no seed was measured."""
    rows = _means_by_kind(found, r"criteria/auc/\w+")
    lines_ = table(["kind", *map(str.upper, MODELS)], rows)
    if not lines_:
        return []
    return [
        "By kind of constraint, on its own held-out answers: how often a met one has more points",
        "than one that is not met (half: by chance), mean over seeds.",
        "",
        *lines_,
        "",
    ]


def _judging(found: Found, seed: int, model: str) -> list[str]:
    shares = [
        (found.cell("{:.1f}%", seed, model, share), found.cell("{:.0f}", seed, model, pairs))
        for share, pairs in _JUDGING.values()
    ]
    names = ("study/pairs_true", "study/pairs_false")
    true, false = (found.cell("{:.0f}%", seed, model, name) for name in names)
    cells = [share if NONE in (share, pairs) else f"{share} of {pairs}" for share, pairs in shares]
    return [*cells, NONE if NONE in (true, false) else f"{true}, {false}"]


def _ifeval(found: Found, seed: int, model: str) -> list[str]:
    values = [found.at(seed, model, f"benchmarks/ifeval/{name}") for name in _IFEVAL]
    return [NONE if value is None else f"{100 * value:.1f}" for value in values]


def _ifeval_lines(found: Found, seeds: Sequence[int]) -> list[str]:
    """The section on IFEval; empty if no seed was measured by it."""
    columns = ["prompts, strict", "prompts, loose", "instructions, strict", "instructions, loose"]
    rows = _by_model(found, seeds, columns, _ifeval)
    note = [
        "In %, of prompts and of instructions, strictly and loosely; the longest answer has 512",
        "tokens. No prompt of IFEval shares 13 words in a row with one of seed data or training.",
        "Of its 832 instructions 263 are of kinds that are trained too, in other words: no commas,",
        "a number of words, words to use or to avoid, bullet points, a postscript.",
    ]
    return ["## IFEval", "", *note, "", *rows, ""] if rows else []


def _spent(found: Found, seeds: Sequence[int]) -> Iterator[tuple[str, ...]]:
    for seed in seeds:
        for name, title in EXPERIMENTS.items():
            minutes = found.cell("{:.0f}", seed, "all", "cost/minutes", name)
            peak = found.cell("{:.1f}", seed, "all", "cost/peak_gib", name)
            yield str(seed), title, minutes, peak


def _claims(found: Found, seeds: Sequence[int]) -> Iterator[tuple[str, str]]:
    """What the seeds were run for; what has no figures was not run."""
    for model in ("m2", "m3"):
        name = model.upper()
        yield f"{name} gains on M1, clear of zero", _count(found, seeds, model, "main", _positive)
        yield (
            f"{name} gains on M1 with pairs in random order: the interval holds zero",
            _count(found, seeds, model, RANDOM, lambda low, high: low <= 0 <= high),
        )
        yield (
            f"{name} gains on {name} of random order, clear of zero",
            _count(found, seeds, model, "main", _positive, RANDOM),
        )
        yield (
            f"{name} gains on M1: share of what true rewards give; beyond random order",
            _shares_of_ceiling(found, seeds, model),
        )
    strictly = f"benchmarks/ifeval/{_IFEVAL[0]}"
    yield "IFEval, prompts strictly, M1 to M3", _change(found, seeds, strictly, "{:.3f}")
    yield "its judge on held-out answers of M0, M1 to M3", _change(found, seeds, *_ACCURACY)
    for name, (figure, form) in _COSTS.items():
        yield f"{name}, M1 to M3", _change(found, seeds, figure, form)
    for name, figure, limit in (
        ("minutes below 120", "cost/minutes", 120),
        ("peak below 8 GiB", "cost/peak_gib", 8),
    ):
        values = [value for seed in seeds if (value := found.at(seed, "all", figure)) is not None]
        held = sum(value < limit for value in values)
        yield name, f"{held} of {len(values)} seeds" if values else _NOT_RUN


def _positive(low: float, high: float) -> bool:
    return low > 0


def _change(found: Found, seeds: Sequence[int], figure: str, form: str) -> str:
    """The means of M1 and M3 over the seeds that have both."""
    values = [[found.at(seed, model, figure) for model in ("m1", "m3")] for seed in seeds]
    known = [(first, last) for first, last in values if first is not None and last is not None]
    if not known:
        return _NOT_RUN
    first, last = (form.format(sum(each) / len(known)) for each in zip(*known, strict=True))
    return f"{first} to {last} ({_seeds(len(known))})"


def _seeds(number: int) -> str:
    return "1 seed" if number == 1 else f"{number} seeds"


def _count(
    found: Found,
    seeds: Sequence[int],
    model: str,
    experiment: str,
    holds: Callable[[float, float], bool],
    against: str = "m1",
) -> str:
    """In how many seeds an interval is as claimed."""
    ends = [
        tuple(
            found.at(seed, model, f"gain/vs_{against}_{end}", experiment) for end in ("low", "high")
        )
        for seed in seeds
    ]
    known = [(low, high) for low, high in ends if low is not None and high is not None]
    return f"{sum(holds(*each) for each in known)} of {len(known)} seeds" if known else _NOT_RUN


def _shares_of_ceiling(found: Found, seeds: Sequence[int], model: str) -> str:
    """The mean gain by the own judge over that by the programs, on seeds that have both.

    Then both without what random order gains, on seeds that have that too.
    """
    names = ("main", "checked", RANDOM)
    gains = [[found.at(seed, model, "gain/vs_m1", name) for name in names] for seed in seeds]
    known = [each for each in gains if None not in each[:2]]
    if not known:
        return _NOT_RUN
    controlled = [each for each in known if each[2] is not None]
    whole = _ratio([(own, true) for own, true, _ in known])
    beyond = _ratio([(own - chance, true - chance) for own, true, chance in controlled])
    return f"{whole} ({_seeds(len(known))}); {beyond} ({_seeds(len(controlled))})"


def _ratio(gains: Sequence[tuple[float, float]]) -> str:
    ceiling = sum(true for _, true in gains)
    return f"{sum(own for own, _ in gains) / ceiling:.0%}" if ceiling > 0 else NONE
