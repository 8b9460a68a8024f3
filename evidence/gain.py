"""`python -m evidence.gain`: what a judge's accuracy says about the gain of the next model.

It fits M2's gain over M1, in points of win minus loss, to the accuracy of the judge that ordered
M2's pairs, over the committed figures of all seeds and of those controls in which only the judge
differs from the main run. `srlm_kedro.pipelines.readiness.prediction` holds the result.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from evidence.experiments import MAIN
from srlm_kedro.pipelines.readiness.prediction import GainFit

FIGURES = ("docs/evidence/figures.csv", "docs/earlier_evidence/evidence/figures.csv")
KNOWN_ORDERS = {"shuffled_rewards": 0.0, "oracle_judge": 1.0}
"""Controls whose judge is a coin or the truth: 2 x accuracy - 1 by construction."""
JUDGES = (MAIN, "no_eft", "multiple_choice", *KNOWN_ORDERS)
"""Experiments in which M2 is trained as in the main run, and only the judge differs. The others
write other prompts, train otherwise, or share M2 with the main run."""
COLUMNS = ["experiment", "seed", "order", "yield", "gain"]


def points(root: Path = Path()) -> pd.DataFrame:
    """One row for each M2: how far its pairs were in people's order, pairs a prompt, and its gain.

    `order` is twice the judge's accuracy on held-out human rankings less 1: 0 is chance.
    """
    figures = pd.concat([pd.read_csv(root / name) for name in FIGURES])
    names = ["experiment", "seed", "model", "figure"]
    at = figures[figures["experiment"].isin(JUDGES)].set_index(names)["value"].sort_index()
    rows = []
    for experiment, seed in dict.fromkeys(at.index.droplevel(["model", "figure"])):
        own = at[experiment, seed]
        if ("m2", "win_minus_loss vs m1") not in own.index:
            continue
        order = KNOWN_ORDERS.get(experiment)
        if order is None:
            order = 2 * own["m1", "pairwise_accuracy"] / 100 - 1
        pair_yield = own["m2", "pairs"] / own["m2", "prompts"]
        rows.append((experiment, seed, order, pair_yield, own["m2", "win_minus_loss vs m1"]))
    return pd.DataFrame(rows, columns=COLUMNS)


def fit(table: pd.DataFrame, by: str = "order") -> GainFit:
    """A line through zero, by least squares, and how far the seeds are from it.

    Args:
        table: The `points`.
        by: The column that predicts the gain.
    """
    x, gain = table[by].to_numpy(), table["gain"].to_numpy()
    slope = _slope(x, gain)
    left = gain - slope * x
    ordered = x > 0
    places = np.arange(len(x))
    missed = [
        gain[i] - _slope(x[places != i], gain[places != i]) * x[i] for i in np.flatnonzero(ordered)
    ]
    main = (table["experiment"] == MAIN).to_numpy()
    return GainFit(
        slope=round(slope, 1),
        scatter=round(float(np.sqrt((left[ordered] ** 2).sum() / (ordered.sum() - 1))), 1),
        left_out=round(float(np.sqrt(np.mean(np.square(missed)))), 1),
        chance_scatter=round(float(np.sqrt(np.mean(left[~ordered] ** 2))), 1),
        r2=round(_r2(gain, left), 2),
        r2_main=round(_r2(gain[main], left[main]), 2),
        seeds=int(table["seed"].nunique()),
        models=len(table),
        lowest=round(float(x[ordered].min()), 2),
        yields=(round(float(table["yield"].min()), 2), round(float(table["yield"].max()), 2)),
    )


def report(table: pd.DataFrame) -> str:
    """The fit as used, and the one that counts the pairs too, which does not hold better."""
    lines = [f"{len(table)} models M2 of {table['seed'].nunique()} seeds"]
    with_yield = table.assign(both=table["order"] * table["yield"])
    for said, by in (("slope x order", "order"), ("slope x order x yield", "both")):
        lines.append(f"{said}: {fit(with_yield, by)}")
    main = table[table["experiment"] == MAIN]
    for name in ("order", "yield"):
        lines.append(f"within {MAIN}: r of {name} and gain {main[name].corr(main['gain']):+.2f}")
    return "\n".join(lines)


def _slope(x: np.ndarray, gain: np.ndarray) -> float:
    return float((x * gain).sum() / (x * x).sum())


def _r2(gain: np.ndarray, left: np.ndarray) -> float:
    return float(1 - (left**2).sum() / ((gain - gain.mean()) ** 2).sum())


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the fit."""
    print(report(points()))


if __name__ == "__main__":
    main()
