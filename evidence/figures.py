"""Every figure of finished runs in one table, read from what they left."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from evidence.experiments import MAIN
from srlm_kedro.datasets.values import TimingsDataset
from srlm_kedro.engines.training.pretraining.tokenizer import make_tokenizer
from srlm_kedro.microworld.answers import PERFECT, answer, write
from srlm_kedro.microworld.instructions import parse
from srlm_kedro.referee import base

COLUMNS = ["experiment", "seed", "model", "figure", "value"]
FIRST = ("sft", "m1", "m2", "m3")
"""What the paper has."""
KINDS = ("all", *base.KINDS)
"""Of pairs of responses: what alone differs within them."""
_SHARED = ("sft", "m1")
"""Models that a control may take from the main run."""
_DRAWS = 20
"""Right answers to a prompt whose length is taken."""
_METRICS = {"eval_metrics": "eval/mean_characters", "rubric_metrics": "study/rubric"}
"""Files, and which of their figures are no column of a table."""
_ACCURACIES = {"own": "own_accuracy", "judged": "judge_accuracy"}

Row = tuple[str, float]


@dataclass(frozen=True)
class Run:
    """What one `kedro run` left: below `folder`, and what it shares below `shared`."""

    experiment: str
    seed: int
    folder: Path
    shared: Path

    def find(self, model: str, place: str) -> Path | None:
        """A file of the model, its own or the one it shares; None where there is none."""
        folders = [self.folder, self.shared] if model in _SHARED else [self.folder]
        files = [folder / place for folder in folders]
        return next((file for file in files if file.exists()), None)

    def table(self, name: str) -> pd.DataFrame:
        """A table of the report; empty where there is none."""
        file = self.folder / f"08_reporting/{name}.csv"
        return pd.read_csv(file) if file.exists() else pd.DataFrame({"model": []})


class Figures:
    """The table, and what is asked of it: a figure by seed."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        keys = COLUMNS[:-1]
        self._values = table.drop_duplicates(keys, keep="last").set_index(keys)["value"].to_dict()
        self._runs = {
            name: sorted(rows["seed"].unique()) for name, rows in table.groupby("experiment")
        }

    @property
    def experiments(self) -> list[str]:
        """Those that were run with any seed."""
        return list(self._runs)

    def seeds(self, experiment: str = MAIN) -> list[int]:
        """With which it was run."""
        return [int(seed) for seed in self._runs.get(experiment, [])]

    def models(self, experiment: str = MAIN) -> list[str]:
        """In the order of the chain."""
        found = self.table.loc[self.table["experiment"] == experiment, "model"]
        return sorted({name for name in found if name}, key=_place)

    def at(self, experiment: str, seed: int, model: str, figure: str) -> float | None:
        """One figure of one run."""
        return self._values.get((experiment, seed, model, figure))

    def by_seed(
        self, model: str, figure: str, experiment: str = MAIN, seeds: Sequence[int] | None = None
    ) -> dict[int, float]:
        """It with each seed that has it."""
        asked = self.seeds(experiment) if seeds is None else seeds
        found = {seed: self.at(experiment, seed, model, figure) for seed in asked}
        return {seed: value for seed, value in found.items() if value is not None}

    def mean(
        self, model: str, figure: str, experiment: str = MAIN, seeds: Sequence[int] | None = None
    ) -> float | None:
        """Over the seeds that have it; None where none has."""
        values = list(self.by_seed(model, figure, experiment, seeds).values())
        return sum(values) / len(values) if values else None


def _place(model: str) -> int:
    return 0 if model == "sft" else int(model[1:])


def read(project: Path) -> Figures:
    """The figures of all finished runs of a project."""
    runs = finished(project)
    asked = [("", length) for length in asked_lengths(project)] if runs else []
    rows = [
        (run.experiment, run.seed, model, figure, float(value))
        for run in runs
        for model, (figure, value) in (*_figures(run), *asked)
        if pd.notna(value)
    ]
    return Figures(pd.DataFrame(rows, columns=COLUMNS))


def finished(project: Path) -> list[Run]:
    """The runs that have come to their report, the main run of a seed first."""
    runs = []
    folders = {int(path.name[4:]): path for path in project.glob("data/seed*")}
    for seed, shared in sorted(folders.items()):
        controls = sorted(folder for folder in shared.glob("controls/*") if folder.is_dir())
        places = {MAIN: shared, **{folder.name: folder for folder in controls}}
        runs += [
            Run(name, seed, folder, shared)
            for name, folder in places.items()
            if (folder / "08_reporting/report.html").exists()
        ]
    return runs


def asked_lengths(project: Path) -> list[Row]:
    """Mean lengths of right answers to the held-out prompts: what they ask for, and no more.

    In tokens, the end token included as in a model's responses, and in characters. A word is a
    token here, so that the first do not hang on which of the right words somebody prefers.
    """
    rng = random.Random(0)
    lines = (project / "data/01_raw/eval_prompts.jsonl").read_text("utf-8").splitlines()
    asked = [parse(json.loads(line)["prompt"]) for line in lines]
    answers = [write(answer(one, PERFECT, rng)) for one in asked if one for _ in range(_DRAWS)]
    ids = make_tokenizer(answers)(answers)["input_ids"]
    return [
        ("asked tokens", sum(map(len, ids)) / len(answers) + 1),
        ("asked characters", sum(map(len, answers)) / len(answers)),
    ]


def _figures(run: Run) -> Iterator[tuple[str, Row]]:
    """Pairs of a model and its figure."""
    for row in run.table("head_to_head").itertuples():
        yield row.model, (f"win_minus_loss vs {row.opponent}", row.win - row.loss)
        for name in ("win", "tie", "loss", "low", "high"):
            yield row.model, (f"{name} vs {row.opponent}", getattr(row, name))
    for name in ("errors", "reward_modelling", "iterations"):
        yield from _columns(run.table(name))
    for model in run.table("errors")["model"]:
        yield from ((model, row) for row in _metrics(run, model))
        yield from ((model, row) for row in _accuracies(run, model))
    yield "", ("hours", TimingsDataset([str(run.folder)]).load()["seconds"].sum() / 3600)


def _columns(table: pd.DataFrame) -> Iterator[tuple[str, Row]]:
    numbers = table.select_dtypes("number").columns.drop("n", errors="ignore")
    for name in numbers:
        yield from ((m, (name, v)) for m, v in zip(table["model"], table[name], strict=True))


def _metrics(run: Run, model: str) -> Iterator[Row]:
    for name, prefix in _METRICS.items():
        file = run.find(model, f"08_reporting/{model}/{name}.json")
        metrics = json.loads(file.read_text("utf-8")) if file else {}
        for key, value in metrics.items():
            if key.startswith(prefix):
                yield key.partition("/")[2], value


def _accuracies(run: Run, model: str) -> Iterator[Row]:
    """How the judge orders pairs of responses that truly differ, by kind of difference."""
    for prefix, name in _ACCURACIES.items():
        file = run.find(model, f"07_model_output/{model}/{name}.parquet")
        for row in pd.read_parquet(file).itertuples() if file else ():
            for figure in ("pairs", "right", "tied", "wrong"):
                yield f"{prefix} {figure} {row.kind}", getattr(row, figure)
