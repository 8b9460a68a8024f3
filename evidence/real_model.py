"""`python -m evidence.real_model`: SmolLM2 through the loop, with seeds and controls, and its page.

The same command again goes on where it was. A seed takes less than two hours on two cores, and a
control to M2, which shares M0 to M1 and what M1 drew with its seed, 20 minutes. Figures that the
page's folder has of other seeds stay.
"""

import argparse
import json
import os
import resource
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evidence.real_model_page import COLUMNS, EXPERIMENTS, MODELS, RANDOM, lines, texts
from srlm_kedro.datasets.values import TimingsDataset
from srlm_kedro.pipelines.verifiable.measures import measure_gains
from srlm_kedro.pipelines.verifiable.params import VerifiableParams
from srlm_kedro.verifiable.referee import Checker

ENV = "smollm"
_METRICS = (
    *("gain", "constraint", "criteria", "fluency", "eval", "pair", "judge", "study", "own"),
    *("prompt", "head_to_head", "benchmark"),
)
_SHARED = ("m0", "sft", "m1")
_PEAK = "peak_gib.json"
_DRAWN = {
    "written_prompts": "write_prompts",
    "responses": "draw_responses",
    "judgements": "judge_candidates",
}
"""What M1 draws for M2, and by which node: a control takes it from its seed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what the command line names, and writes the page from what is finished."""
    options = _parser().parse_args(arguments)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_OFFLINE"] = "1"
    folder = options.folder.resolve()
    if not options.page_only:
        shorter = options.control_iterations
        run_all(folder, options.seeds, options.controls, options.model, shorter)
    figures, file = read(folder), options.out / "smollm.csv"
    if file.exists():
        figures = joined(figures, pd.read_csv(file))
    options.out.mkdir(parents=True, exist_ok=True)
    figures.to_csv(file, index=False, float_format="%.6g")
    page = options.out / "smollm.md"
    written = [*lines(figures), *texts(folder)]
    page.write_text("\n".join(written).rstrip() + "\n", "utf-8")
    print(f"Written: {page}")


def run_all(
    folder: Path,
    seeds: Sequence[int],
    controls: Sequence[str],
    model: str | None,
    control_iterations: int | None = None,
) -> None:
    """Each seed and its controls, seed by seed.

    Args:
        folder: The project of the runs; made, or continued.
        seeds: Of the loop.
        controls: Keys of `EXPERIMENTS` besides `main`.
        model: M0, if it is not the one that `conf/smollm` names.
        control_iterations: 2 ends the controls at M2; None: as `conf/smollm` says.
    """
    # Torch and Kedro are loaded late, so that `--help` is quick.
    from benchmarks.project import inside, open_project, run_project, stopped_in_words
    from srlm_kedro.errors import GateError

    open_project(folder)
    with stopped_in_words(), inside(folder):
        for seed in seeds:
            for control in dict.fromkeys(["main", *controls]):
                print(f"seed {seed}: {EXPERIMENTS[control]}", flush=True)
                env = ENV if control == "main" else f"{ENV}+{control}"
                given: dict[str, Any] = {"seed": seed, "data": f"data/seed{seed}"}
                if model:
                    given["model"] = model
                if control != "main":
                    _lend(folder / given["data"], control)
                    if control_iterations:
                        given["loop"] = {"iterations": control_iterations}
                try:
                    run_project(folder, env, given)
                except GateError as error:
                    print(f"stopped: {error}", flush=True)
                finally:
                    # The peak of a process is that of all its runs, so only its first one has it.
                    if (seed, control) == (seeds[0], "main"):
                        _keep_peak(folder / given["data"] / _PEAK)


def read(folder: Path) -> pd.DataFrame:
    """All figures of finished runs, columns `COLUMNS`."""
    rows = [
        (control, int(seed.name.removeprefix("seed")), model, figure, value)
        for seed in sorted((folder / "data").glob("seed*"))
        for control in EXPERIMENTS
        for model, figure, value in _of_experiment(seed, control)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def joined(figures: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """The figures, and those of runs elsewhere, columns `COLUMNS`.

    Args:
        figures: Of the runs in a folder. A run is an experiment with a seed. One that has come to
            M2 replaces that of elsewhere, and another gives way to it.
        others: Of runs elsewhere.
    """

    def runs(table: pd.DataFrame) -> pd.MultiIndex:
        return pd.MultiIndex.from_frame(table[["experiment", "seed"]])

    done = runs(figures[figures["model"] == "m2"])
    kept = others[~runs(others).isin(done)]
    own = figures[~runs(figures).isin(runs(kept))]
    both = pd.concat([kept, own]) if len(own) else kept
    order = both["experiment"].map(list(EXPERIMENTS).index)
    return both.assign(order=order).sort_values(["seed", "order"], kind="stable")[COLUMNS]


def _of_experiment(seed: Path, control: str) -> Iterator[tuple[str, str, float]]:
    """Model, figure and value; the figures of the whole run are those of the model `all`.

    A control has none of the models that it shares with its seed.
    """
    folder = seed if control == "main" else seed / "controls" / control
    for model in MODELS:
        if control == "main" or model not in _SHARED:
            for figure, value in _figures(folder, model):
                yield model, figure, value
    if minutes := _minutes(folder, () if control == "main" else tuple(_DRAWN.values())):
        yield "all", "cost/minutes", minutes
    if control == "main" and (peak := seed / _PEAK).exists():
        yield "all", "cost/peak_gib", json.loads(peak.read_text("utf-8"))
    if control == "main":
        yield from _over_random_order(seed)


def _over_random_order(seed: Path) -> Iterator[tuple[str, str, float]]:
    """What each model gained over that of the same pairs in random order, if there is one."""
    for model in ("m2", "m3"):
        file = f"07_model_output/{model}/eval_responses.parquet"
        own, other = seed / file, seed / "controls" / RANDOM / file
        if own.exists() and other.exists():
            random_order = pd.read_parquet(other).assign(model=RANDOM)
            _, gains = measure_gains(
                pd.read_parquet(own),
                *[random_order] * 3,
                Checker(),
                VerifiableParams(),
                int(seed.name.removeprefix("seed")),
            )
            for figure, value in gains.items():
                yield model, figure, value


def _minutes(folder: Path, lent: Sequence[str]) -> float:
    """What the nodes took whose results lie in a folder, without published benchmarks.

    Args:
        folder: Of a run.
        lent: Nodes that M2 did not run here.
    """
    timings = TimingsDataset([str(folder)]).load()
    elsewhere = (timings["model"] == "m2") & timings["node"].isin(lent)
    counts = (timings["node"] != "run_benchmarks") & ~elsewhere
    return float(timings.loc[counts, "seconds"].sum()) / 60


def _lend(seed: Path, control: str) -> None:
    """Copies what M1 drew to a control that has not begun; a run checks that it holds there."""
    layer = "07_model_output/m2"
    place = seed / "controls" / control / layer
    drawn = [file for name in _DRAWN for file in (seed / layer).glob(f"{name}.parquet*")]
    if place.exists() or not drawn:
        return
    scratch = place.with_name(f".{place.name}.new")
    shutil.rmtree(scratch, ignore_errors=True)  # left behind by a kill
    scratch.mkdir(parents=True)
    for file in drawn:
        shutil.copy2(file, scratch)
    scratch.rename(place)


def _keep_peak(file: Path) -> None:
    """Keeps this process's largest memory so far, if it is larger than what the file says."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    known = json.loads(file.read_text("utf-8")) if file.exists() else 0.0
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(max(peak, known)), "utf-8")


def _figures(folder: Path, model: str) -> Iterator[tuple[str, float]]:
    for kind in _METRICS:
        file = folder / f"08_reporting/{model}/{kind}_metrics.json"
        if file.exists():
            yield from json.loads(file.read_text("utf-8")).items()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evidence.real_model", description=__doc__)
    folder = Path("build/evidence_smollm")
    parser.add_argument("--folder", type=Path, default=folder, help=f"of the runs ({folder})")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[2, 3, 4], help="(2 3 4; 0 and 1 were looked at)"
    )
    parser.add_argument(
        "--controls",
        nargs="*",
        default=["shuffled_rewards", "checked"],
        choices=[name for name in EXPERIMENTS if name != "main"],
        help="(both)",
    )
    parser.add_argument(
        "--control-iterations", type=int, metavar="T", help="2 ends the controls at M2"
    )
    parser.add_argument("--model", help="M0, if not the one of conf/smollm")
    parser.add_argument("--out", type=Path, default=Path("docs/evidence"), help="(docs/evidence)")
    parser.add_argument("--page-only", action="store_true", help="runs nothing")
    return parser


if __name__ == "__main__":
    main()
