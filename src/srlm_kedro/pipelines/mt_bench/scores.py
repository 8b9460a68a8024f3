"""Ratings into the benchmark's figures; apart from the judging, which need not be done again."""

import pandas as pd

from srlm_kedro.errors import GateError
from srlm_kedro.pipelines.mt_bench.nodes import read_again
from srlm_kedro.pipelines.mt_bench.params import MtBenchParams
from srlm_kedro.shown import ending


def measure_mt_bench(
    mt_bench_judgements: pd.DataFrame, mt_bench: MtBenchParams
) -> dict[str, float]:
    """`mt_bench/score` is the mean rating of all turns, 1 to 10, `mt_bench/turn_1`, `turn_2` and
    `mt_bench/<category>` are means of theirs; a mean of nothing is left out.

    `mt_bench/n` counts ratings, `mt_bench/unparsed` judgements without one: those enter no mean.

    Raises:
        GateError: Too large a share of the judgements carries no rating.
    """
    read = read_again(mt_bench_judgements)
    _refuse_unread(read, mt_bench)
    rated = read.dropna(subset="score")
    figures = {
        **rated.groupby("category")["score"].mean().to_dict(),
        **{f"turn_{turn}": mean for turn, mean in rated.groupby("turn")["score"].mean().items()},
        "score": rated["score"].mean(),
        "n": len(rated),
        "unparsed": len(read) - len(rated),
    }
    return {f"mt_bench/{name}": float(value) for name, value in figures.items()}


def _refuse_unread(read: pd.DataFrame, mt_bench: MtBenchParams) -> None:
    unread = read[read["score"].isna()]
    if len(unread) <= mt_bench.max_unparsed * len(read) and len(unread) < len(read):
        return
    first = unread.iloc[0]
    raise GateError(
        f"{first.model}.mt_bench_judgements: {len(unread) / len(read):.0%} of {len(read)} "
        f"judgements carry no rating (limit `mt_bench.max_unparsed` = {mt_bench.max_unparsed:g}); "
        f"most often: {unread['reason'].value_counts().index[0]}. First: question "
        f"{first.question_id}, turn {first.turn}, {ending(first.text)}. Give the judge more room "
        "(`max_new_tokens` of `mt_bench_judge` in the catalog), change the prompt, or raise the "
        "limit: all judgements are kept."
    )
