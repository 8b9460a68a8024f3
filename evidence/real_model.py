"""`python -m evidence.real_model`: SmolLM2 through the loop, with seeds and controls, and its page.

The same command again goes on where it was. A seed takes about two hours on two cores, and a
control, which shares M0 to M1 with its seed, about half of that.
"""

import argparse
import json
import os
import platform
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from evidence.cells import NONE, table

ENV = "smollm"
CONTROLS = {
    "main": "M2 and M3 by its own judge",
    "shuffled_rewards": "the same pairs in random order",
    "checked": "rewarded by the programs: the ceiling",
}
"""By the environment that is added to `smollm`."""
COLUMNS = ["experiment", "seed", "model", "figure", "value"]
_METRICS = ("gain", "constraint", "fluency", "eval", "pair", "judge", "study", "own", "prompt")
_MODELS = ("m0", "sft", "m1", "m2", "m3")
_SHARED = ("m0", "sft", "m1")
_FULL = 5
_TEXTS = 8
"""Prompts whose answers are shown."""
_PARTS = {
    "all": "all",
    "seen": "seen",
    "unseen_topic": "unseen topics",
    "unseen_kind": "unseen kinds",
}

_COSTS = {
    "words": ("met/words", "{:.0f}"),
    "cut off": ("eval/cut_off", "{:.2f}"),
    "different pairs of words": ("met/distinct_pairs", "{:.3f}"),
    "log-probability under M0": ("fluency/log_prob", "{:.3f}"),
    "right as judge of its own answers": ("study/own_right", "{:.1f}%"),
    "its judge was right on candidates": ("study/judge_right", "{:.1f}%"),
    "pairs true": ("study/pairs_true", "{:.0f}%"),
    "pairs false": ("study/pairs_false", "{:.0f}%"),
}
"""Columns of the last table: the figure and its form."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what the command line names, and writes the page from what is finished."""
    options = _parser().parse_args(arguments)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_OFFLINE"] = "1"
    folder = options.folder.resolve()
    if not options.page_only:
        run_all(folder, options.seeds, options.controls, options.model)
    figures = read(folder)
    options.out.mkdir(parents=True, exist_ok=True)
    figures.to_csv(options.out / "smollm.csv", index=False, float_format="%.6g")
    page = options.out / "smollm.md"
    written = [*lines(figures), *texts(folder)]
    page.write_text("\n".join(written).rstrip() + "\n", "utf-8")
    print(f"Written: {page}")


def run_all(folder: Path, seeds: Sequence[int], controls: Sequence[str], model: str | None) -> None:
    """Each seed and its controls, seed by seed.

    Args:
        folder: The project of the runs; made, or continued.
        seeds: Of the loop.
        controls: Keys of `CONTROLS` besides `main`.
        model: M0, if it is not the one that `conf/smollm` names.
    """
    # Torch and Kedro are loaded late, so that `--help` is quick.
    from benchmarks.project import inside, open_project, run_project
    from srlm_kedro.errors import GateError

    open_project(folder)
    with inside(folder):
        for seed in seeds:
            for control in dict.fromkeys(["main", *controls]):
                print(f"seed {seed}: {CONTROLS[control]}", flush=True)
                env = ENV if control == "main" else f"{ENV}+{control}"
                given = {"seed": seed, "data": f"data/seed{seed}"}
                try:
                    run_project(folder, env, given | ({"model": model} if model else {}))
                except GateError as error:
                    print(f"stopped: {error}", flush=True)


def read(folder: Path) -> pd.DataFrame:
    """All figures of finished runs, columns `COLUMNS`."""
    rows = [
        (control, int(seed.name.removeprefix("seed")), model, figure, value)
        for seed in sorted((folder / "data").glob("seed*"))
        for control in CONTROLS
        for model in _MODELS
        for figure, value in _figures(_place(seed, control, model), model)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


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
        f"- seeds: {', '.join(map(str, seeds)) or 'none is finished'}",
        f"- machine: {platform.machine()}, {os.cpu_count()} cores; Python "
        f"{sys.version.partition(' ')[0]}",
        "",
        "## Gains over M1",
        "",
        *table(["seed", "rewards", "M2 - M1", "M3 - M1", "pairs"], _gains(found, seeds)),
        "",
        "## Shares of constraints met",
        "",
        *table(
            ["seed", "model", *_PARTS.values(), "all of a prompt's"],
            [
                (str(seed), model.upper(), *_shares(found, seed, model))
                for seed in seeds
                for model in _MODELS
            ],
        ),
        "",
        "## By kind of constraint",
        "",
        *_kinds(found, seeds),
        "",
        "## What it paid, and how it judged",
        "",
        *table(
            ["seed", "model", *_COSTS],
            [
                (str(seed), model.upper(), *_costs(found, seed, model))
                for seed in seeds
                for model in _MODELS
            ],
        ),
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


def _place(seed: Path, control: str, model: str) -> Path:
    own = control == "main" or model in _SHARED
    return seed if own else seed / "controls" / control


def _figures(folder: Path, model: str) -> Iterator[tuple[str, float]]:
    for kind in _METRICS:
        file = folder / f"08_reporting/{model}/{kind}_metrics.json"
        if file.exists():
            yield from json.loads(file.read_text("utf-8")).items()


def _gains(found: Found, seeds: Sequence[int]) -> Iterator[tuple[str, ...]]:
    for seed in seeds:
        for control, title in CONTROLS.items():
            cells = [_gain(found, seed, model, control) for model in ("m2", "m3")]
            if set(cells) == {NONE}:
                continue
            yield str(seed), title, *cells, found.cell("{:.0f}", seed, "m2", "pairs/count", control)


def _gain(found: Found, seed: int, model: str, control: str) -> str:
    values = [found.at(seed, model, f"gain/vs_m1{part}", control) for part in ("", "_low", "_high")]
    if None in values:
        return NONE
    return "{:+.3f} ({:+.3f} to {:+.3f})".format(*values)


def _shares(found: Found, seed: int, model: str) -> list[str]:
    cells = [found.cell("{:.3f}", seed, model, f"met/{part}/all") for part in _PARTS]
    return [*cells, found.cell("{:.3f}", seed, model, "met/every_constraint")]


def _kinds(found: Found, seeds: Sequence[int]) -> list[str]:
    """The means over seeds, of all parts."""
    rows = found.figures[found.figures["figure"].str.fullmatch(r"met/all/(?!all$)\w+")]
    rows = rows[rows["experiment"] == "main"]
    means: Mapping = rows.groupby(["figure", "model"])["value"].mean().to_dict()
    kinds = sorted({figure for figure, _ in means})
    return table(
        ["kind", *map(str.upper, _MODELS)],
        [
            (
                kind.rpartition("/")[2],
                *(
                    f"{means[kind, model]:.3f}" if (kind, model) in means else "-"
                    for model in _MODELS
                ),
            )
            for kind in kinds
        ],
    )


def _costs(found: Found, seed: int, model: str) -> list[str]:
    return [found.cell(form, seed, model, name) for name, form in _COSTS.values()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evidence.real_model", description=__doc__)
    folder = Path("build/evidence_smollm")
    parser.add_argument("--folder", type=Path, default=folder, help=f"of the runs ({folder})")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(0 1 2)")
    parser.add_argument(
        "--controls",
        nargs="*",
        default=["shuffled_rewards", "checked"],
        choices=[name for name in CONTROLS if name != "main"],
        help="(both)",
    )
    parser.add_argument("--model", help="M0, if not the one of conf/smollm")
    parser.add_argument("--out", type=Path, default=Path("docs/evidence"), help="(docs/evidence)")
    parser.add_argument("--page-only", action="store_true", help="runs nothing")
    return parser


if __name__ == "__main__":
    main()
