"""From responses to judged responses."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.judging.nodes import judge_candidates
from srlm_kedro.pipelines.judging.rewards import reward_responses


def create_pipeline() -> Pipeline:
    """`judge`, `responses`, `judge_prompt` -> `judgements`, `judged_responses`, `judge_metrics`."""
    return Pipeline(
        [
            Node(
                judge_candidates,
                [
                    "judge",
                    "responses",
                    "judge_prompt",
                    "generation_engine",
                    "params:judging",
                    "params:seed",
                ],
                "judgements",
                name="judge_candidates",
            ),
            Node(
                reward_responses,
                ["responses", "judgements", "params:judging"],
                ["judged_responses", "judge_metrics"],
                name="reward_responses",
            ),
        ]
    )
