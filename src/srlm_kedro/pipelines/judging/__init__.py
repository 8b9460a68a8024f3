"""Judgements and rewards of the candidates. Paper: section 2.2, evaluate candidate responses."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.judging.checked import check_candidates, judge_and_check
from srlm_kedro.pipelines.judging.consistency import measure_consistency
from srlm_kedro.pipelines.judging.nodes import judge_candidates
from srlm_kedro.pipelines.judging.rewards import reward_responses

_INPUTS = ["responses", "judge_prompt", "judge_engine", "params:judging", "params:seed"]


def create_pipeline() -> Pipeline:
    """`judge`, `responses`, `judge_prompt` -> `judgements`, `judged_responses`, `judge_metrics`."""
    return Pipeline(
        [
            Node(judge_candidates, ["judge", *_INPUTS], "judgements", name="judge_candidates"),
            _rewards(),
        ]
    )


def create_checked_pipeline(with_judge: bool) -> Pipeline:
    """The same with the `checker`'s scores: alone, or in a mean with the judge's score.

    Args:
        with_judge: Whether the judge's scores count too.
    """
    judged = ["judge", *_INPUTS] if with_judge else ["responses", "params:judging"]
    check = judge_and_check if with_judge else check_candidates
    return Pipeline(
        [
            Node(check, ["checker", *judged], "judgements", name=check.__name__),
            _rewards(),
        ]
    )


def _rewards() -> Node:
    return Node(
        reward_responses,
        ["responses", "judgements", "judge_prompt", "params:judging"],
        ["judged_responses", "judge_metrics"],
        name="reward_responses",
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
