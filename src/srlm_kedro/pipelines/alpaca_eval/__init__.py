"""AlpacaEval 2.0: win rates against the reference outputs of a stronger model."""

from srlm_kedro.pipelines.alpaca_eval.pipeline import (
    create_leaderboard_pipeline,
    create_pipeline,
)

__all__ = ["create_leaderboard_pipeline", "create_pipeline"]
