"""MT-Bench's scores, apart from the judging: a change here asks no judge again."""

import pandas as pd
from kedro.pipeline import Node, Pipeline

from srlm_kedro.display.safe_text import quoted_end
from srlm_kedro.errors import GateError
from srlm_kedro.pipelines.published.mt_bench import MtBenchParams, reparse


def measure_mt_bench(
    mt_bench_judgements: pd.DataFrame, mt_bench: MtBenchParams
) -> dict[str, float]:
    """Mean ratings from 1 to 10, and counts.

    `mt_bench/score` is the mean over all turns; `mt_bench/turn_1`, `mt_bench/turn_2` and
    `mt_bench/<category>` are means over their turns, and left out if there are none.
    `mt_bench/n` counts the ratings, and `mt_bench/unparsed` the judgements without a rating, which
    enter no mean.

    Raises:
        GateError: A larger share than `max_unparsed` of the judgements has no rating.
    """
    read = reparse(mt_bench_judgements)
    _refuse_unparsed(read, mt_bench)
    rated = read.dropna(subset="score")
    figures = {
        **rated.groupby("category")["score"].mean().to_dict(),
        **{f"turn_{turn}": mean for turn, mean in rated.groupby("turn")["score"].mean().items()},
        "score": rated["score"].mean(),
        "n": len(rated),
        "unparsed": len(read) - len(rated),
    }
    return {f"mt_bench/{name}": float(value) for name, value in figures.items()}


def _refuse_unparsed(read: pd.DataFrame, mt_bench: MtBenchParams) -> None:
    unparsed = read[read["score"].isna()]
    if len(unparsed) <= mt_bench.max_unparsed * len(read) and len(unparsed) < len(read):
        return
    first = unparsed.iloc[0]
    raise GateError(
        f"{first.model}.mt_bench_judgements: {len(unparsed) / len(read):.0%} of {len(read)} "
        f"judgements have no rating (limit `mt_bench.max_unparsed` = {mt_bench.max_unparsed:g}); "
        f"most often: {unparsed['reason'].value_counts().index[0]}. First: question "
        f"{first.question_id}, turn {first.turn}, {quoted_end(first.text)}. Give the judge more "
        "room (`max_new_tokens` of `mt_bench_judge` in the catalog), change the prompt, or raise "
        "the limit: all judgements are kept."
    )


def create_pipeline() -> Pipeline:
    """`mt_bench_judgements` -> `mt_bench_metrics`."""
    return Pipeline(
        [
            Node(
                measure_mt_bench,
                ["mt_bench_judgements", "params:mt_bench"],
                "mt_bench_metrics",
                name="measure_mt_bench",
            ),
        ]
    )
