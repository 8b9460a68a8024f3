"""Judgements and rewards of the candidates. Paper: section 2.2, evaluate candidate responses."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.judging.consistency import measure_consistency
from srlm_kedro.pipelines.judging.nodes import judge_candidates
from srlm_kedro.pipelines.judging.rewards import reward_responses

_INPUTS = ["responses", "judge_prompt", "judge_engine", "params:judging", "params:seed"]


def create_pipeline() -> Pipeline:
    """`judge`, `responses`, `judge_prompt` -> `judgements`, `judged_responses`, `judge_metrics`."""
    return Pipeline(
        [
            Node(judge_candidates, ["judge", *_INPUTS], "judgements", name="judge_candidates"),
            Node(
                reward_responses,
                ["responses", "judgements", "judge_prompt", "params:judging"],
                ["judged_responses", "judge_metrics"],
                name="reward_responses",
            ),
        ]
    )


def create_consistency_pipeline() -> Pipeline:
    """`elder_judge`, `responses`, `judgements` -> `elder_judgements`, `consistency_metrics`."""
    return Pipeline(
        [
            Node(
                judge_candidates, ["elder_judge", *_INPUTS], "elder_judgements", name="judge_again"
            ),
            Node(
                measure_consistency,
                ["responses", "judgements", "elder_judgements", "params:judging"],
                "consistency_metrics",
                name="measure_consistency",
            ),
        ]
    )
