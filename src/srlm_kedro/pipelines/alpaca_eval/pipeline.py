"""AlpacaEval of one model, and the leaderboard of all."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.alpaca_eval.leaderboard import collect_leaderboard
from srlm_kedro.pipelines.alpaca_eval.nodes import (
    annotate_alpaca_outputs,
    draw_alpaca_outputs,
    measure_alpaca_outputs,
)


def create_pipeline() -> Pipeline:
    """`model`, `alpaca_eval_set`, `alpaca_difficulty` -> `alpaca_eval_metrics`, `alpaca_row`.

    On the way: `alpaca_outputs`, `alpaca_annotations`.
    """
    return Pipeline(
        [
            Node(
                draw_alpaca_outputs,
                [
                    "model",
                    "alpaca_eval_set",
                    "generation_engine",
                    "params:alpaca_eval",
                    "params:seed",
                ],
                "alpaca_outputs",
                name="draw_alpaca_outputs",
            ),
            Node(
                annotate_alpaca_outputs,
                ["alpaca_outputs", "alpaca_eval_set", "alpaca_annotator"],
                "alpaca_annotations",
                name="annotate_alpaca_outputs",
            ),
            Node(
                measure_alpaca_outputs,
                [
                    "alpaca_annotations",
                    "alpaca_difficulty",
                    "alpaca_annotator",
                    "params:alpaca_eval",
                ],
                ["alpaca_eval_metrics", "alpaca_row"],
                name="measure_alpaca_outputs",
            ),
        ]
    )


def create_leaderboard_pipeline(models: Sequence[str]) -> Pipeline:
    """`<model>.alpaca_row` of each model -> `leaderboard`."""
    rows = [f"{model}.alpaca_row" for model in models]
    return Pipeline([Node(collect_leaderboard, rows, "leaderboard", name="collect_leaderboard")])
