"""The sections of the page; one whose figures are missing has no lines."""

from collections.abc import Mapping, Sequence

from evidence import cells, paper
from evidence.experiments import MAIN, TITLES
from evidence.figures import FIRST, KINDS, Figures
from srlm_kedro.referee import base

_ERRORS = {column.replace("_", " "): column for column in base.KINDS.values()}
_SCORES = {
    "mean score": "mean_score",
    "seen kinds": "score_seen",
    "unseen kinds": "score_unseen",
    "greedy": "greedy_score",
    "perfect": "perfect",
}
_LENGTHS = {"tokens": "mean_length", "characters": "mean_characters"}
_CURVE = {**_SCORES, **_ERRORS, "tokens": "mean_length"}
_BESIDE = {
    "M2: items wrong": ("m2", "items_wrong"),
    "M3: items wrong": ("m3", "items_wrong"),
    "M2: constraints missed": ("m2", "constraints_missed"),
    "M3: constraints missed": ("m3", "constraints_missed"),
    "M2: tokens": ("m2", "mean_length"),
    "M3: tokens": ("m3", "mean_length"),
    "pairs for M2": ("m2", "pairs"),
    "pairs for M3": ("m3", "pairs"),
    "SFT as judge: pairwise accuracy, %": ("sft", "pairwise_accuracy"),
    "M1 as judge: pairwise accuracy, %": ("m1", "pairwise_accuracy"),
    "M2 against SFT: wins, %": ("m2", "win vs sft"),
    "M2 against SFT: losses, %": ("m2", "loss vs sft"),
}
_COUNTS = ("pairs",)
_WTL = ("win", "tie", "loss")


def head_to_head(figures: Figures) -> list[str]:
    """Win minus loss of each seed, and win, tie, loss, beside the paper's."""
    seeds = figures.seeds()
    rows = [_duels(figures, MAIN, seeds, *pair) for pair in paper.DUELS]
    shares = [
        [
            cells.versus(*pair),
            _shares([figures.mean(pair[0], f"{kind} vs {pair[1]}") for kind in _WTL]),
            _shares(paper.DUELS[pair]),
        ]
        for pair in paper.DUELS
    ]
    return _titled(
        "Head-to-head: win minus loss, points (95% interval)",
        cells.table(["", *_names(seeds), "mean ± deviation", "paper"], rows),
        ["![Win minus loss](evidence/head_to_head.svg)"],
        cells.table(["win / tie / loss, %", "mean over seeds", "paper"], shares),
    )


def _shares(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return " / ".join(cells.number(value, 1) for value in known) or cells.NONE


def _duels(
    figures: Figures, experiment: str, seeds: Sequence[int], model: str, opponent: str
) -> list[str]:
    found = figures.by_seed(model, f"win_minus_loss vs {opponent}", experiment, seeds)
    return [
        cells.versus(model, opponent),
        *(cells.duel(figures, experiment, seed, model, opponent) for seed in seeds),
        cells.spread(found),
        cells.points(paper.win_minus_loss(model, opponent)),
    ]


def errors(figures: Figures) -> list[str]:
    """What sampled responses still get wrong, and what they score."""
    return _titled(
        "Errors by kind and scores",
        _by_model(figures, {**_ERRORS, **_SCORES}, digits=3),
        ["![Errors by kind](evidence/errors.svg)"],
        [
            "Errors are shares of sampled responses. Scores are the oracle's, from 0 to 5. "
            "All figures are means over seeds."
        ],
    )


def own_accuracy(figures: Figures) -> list[str]:
    """How a model orders what it says itself, by what alone differs; then what it rewarded."""
    head = ["right (tied) %", *(cells.model(name) for name in FIRST)]
    own = [[kind, *(_right(figures, "own", name, kind) for name in FIRST)] for kind in KINDS]
    judged = [[kind, *(_right(figures, "judged", name, kind) for name in FIRST)] for kind in KINDS]
    beside = ["right (tied) %", *(f"pairs for {cells.model(name)}" for name in FIRST)]
    lines = cells.table(head, own)
    return _titled(
        "The judge on the model's own responses",
        lines,
        ["![Judge accuracy on its own responses](evidence/own_accuracy.svg)"] if lines else [],
        cells.table(beside, judged),
        [
            "A pair is two responses to one prompt whose true scores differ, and only in that "
            "kind. Means over seeds."
        ],
    )


def _right(figures: Figures, prefix: str, model: str, kind: str) -> str:
    right, tied = (figures.mean(model, f"{prefix} {name} {kind}") for name in ("right", "tied"))
    return cells.NONE if right is None else f"{right:.1f} ({tied:.1f})"


def reward_modelling(figures: Figures) -> list[str]:
    """The paper's five metrics on held-back rankings."""
    rows = []
    for name, theirs in paper.REWARD_MODELLING.items():
        digits = 3 if abs(theirs["sft"]) < 1 else 1
        ours = [cells.number(figures.mean(model, name), digits) for model in FIRST]
        printed = [cells.number(theirs[model], digits) for model in FIRST]
        rows.append([name.replace("_", " "), *ours, " / ".join(printed)])
    head = ["", *(cells.model(name) for name in FIRST), "paper: SFT / M1 / M2 / M3"]
    return _titled("Reward modelling", cells.table(head, rows), _shuffled(figures))


def _shuffled(figures: Figures) -> list[str]:
    """What is left of the judge when its prompt's words stand in random order."""
    names = ("rubric_right", "rubric_right_shuffled", "rubric_unscored")
    values = [figures.mean("m1", name) for name in names]
    if None in values:
        return []
    right, shuffled, unscored = (cells.number(value, 1) for value in values)
    return [
        f"Of the scored pairs M1 orders {right}% rightly, and {shuffled}% when the judge prompt's "
        f"words are in random order ({unscored}% of the pairs then carry no score)."
    ]


def lengths(figures: Figures) -> list[str]:
    """Sampled responses; the paper's are of AlpacaEval."""
    rows = _by_model(figures, _LENGTHS, digits=1)
    printed = [cells.number(paper.CHARACTERS.get(name), 0) for name in FIRST]
    rows += [f"| paper: characters | {' | '.join(printed)} |"] if rows else []
    tokens, characters = (cells.number(figures.mean("", f"asked {name}"), 1) for name in _LENGTHS)
    said = [
        f"Right answers to the held-out prompts have {tokens} tokens. With their words drawn "
        f"evenly they have {characters} characters."
    ]
    return _titled("Lengths", rows, said)


def ablations(figures: Figures) -> list[str]:
    """A table a control, beside the main run of the same seeds."""
    names = [name for name in figures.experiments if name != MAIN]
    order = [name for name in TITLES if name in names] + sorted(set(names) - set(TITLES))
    lines = [line for name in order for line in _ablation(figures, name)]
    if not lines:
        return []
    picture = ["![M3 against SFT](evidence/controls.svg)", ""]
    return ["## Controls and ablations", "", *picture, *lines]


def _ablation(figures: Figures, name: str) -> list[str]:
    seeds = figures.seeds(name)
    rows = [_moved(figures, name, *pair) for pair in paper.DUELS]
    rows += [_beside(figures, name, said, *asked) for said, asked in _BESIDE.items()]
    own = [row for row in rows if row[-2] != cells.NONE]
    head = ["", "main run, mean", *_names(seeds), "mean", "paper"]
    return [f"### {TITLES.get(name, name)} (`{name}`)", "", *cells.table(head, own), ""]


def _moved(figures: Figures, name: str, model: str, opponent: str) -> list[str]:
    """A comparison: the main run with the control's seeds, each of its seeds, mean, paper."""
    seeds, figure = figures.seeds(name), f"win_minus_loss vs {opponent}"
    return [
        cells.versus(model, opponent),
        cells.spread(figures.by_seed(model, figure, MAIN, seeds)),
        *(cells.duel(figures, name, seed, model, opponent) for seed in seeds),
        cells.spread(figures.by_seed(model, figure, name)),
        paper.ABLATIONS.get((name, model, figure), ""),
    ]


def _beside(figures: Figures, name: str, said: str, model: str, figure: str) -> list[str]:
    """The same of another figure."""
    seeds, digits = figures.seeds(name), 0 if figure in _COUNTS else 2
    values = [
        figures.mean(model, figure, MAIN, seeds),
        *(figures.at(name, seed, model, figure) for seed in seeds),
        figures.mean(model, figure, name),
    ]
    printed = paper.ABLATIONS.get((name, model, figure), "")
    return [said, *(cells.number(value, digits) for value in values), printed]


def curve(figures: Figures) -> list[str]:
    """The loop beyond M3, its own judge against a frozen one."""
    lines = []
    for name, said in ((MAIN, "each model judges itself"), ("frozen_judge", "M1 judges")):
        models = [each for each in figures.models(name) if each != "sft"]
        seeds = sorted(figures.by_seed("m4", "mean_score", name))
        if not seeds:
            continue
        duels = [
            ["win minus loss, model before", *_against_previous(figures, name, models, seeds)],
            ["win minus loss, SFT", *_against(figures, name, models, seeds)],
        ]
        rows = [
            [label, *(cells.number(figures.mean(m, key, name, seeds)) for m in models)]
            for label, key in _CURVE.items()
        ]
        head = [f"{said}; seeds {_joined(seeds)}", *(cells.model(each) for each in models)]
        lines += [*cells.table(head, duels + rows), ""]
    picture = ["![Mean score by model](evidence/curve.svg)", ""]
    return ["## Beyond M3", "", *picture, *lines] if lines else []


def _against(figures: Figures, name: str, models: Sequence[str], seeds: Sequence[int]) -> list[str]:
    key = "win_minus_loss vs sft"
    return [cells.points(figures.mean(model, key, name, seeds)) for model in models]


def _against_previous(
    figures: Figures, name: str, models: Sequence[str], seeds: Sequence[int]
) -> list[str]:
    elders = ["sft", *models]
    return [
        cells.points(figures.mean(model, f"win_minus_loss vs {elder}", name, seeds))
        for elder, model in zip(elders, models, strict=False)
    ]


def stopped(messages: Mapping[str, str]) -> list[str]:
    """Runs that a gate stopped, and with what words."""
    lines = [f"- {run}: {message.splitlines()[0]}" for run, message in sorted(messages.items())]
    return _titled("Stopped by a gate", lines)


def _by_model(figures: Figures, asked: Mapping[str, str], digits: int) -> list[str]:
    """Means over seeds of the main run."""
    rows = [
        [said, *(cells.number(figures.mean(model, name), digits) for model in FIRST)]
        for said, name in asked.items()
    ]
    return cells.table(["", *(cells.model(name) for name in FIRST)], rows)


def _titled(title: str, *parts: list[str]) -> list[str]:
    """Parts with an empty line between; nothing without the first."""
    if not parts[0]:
        return []
    return [f"## {title}", "", *(line for part in parts if part for line in (*part, ""))]


def _names(seeds: Sequence[int]) -> list[str]:
    return [f"seed {seed}" for seed in seeds]


def _joined(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
