"""New prompts: a model writes them, and filters refuse some. Paper: section 2.2."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.prompts.nodes import accept_prompts, write_prompts


def create_pipeline(by_criteria: bool = False) -> Pipeline:
    """`writer`, `policy`, `ift`, `eft_ranked`, `earlier_prompts` -> `prompts`, `known_prompts`, ...

    On the way: `written_prompts`, all that the model wrote.

    Args:
        by_criteria: Whether the judge is asked by `criteria_prompt`: prompts without criteria are
            refused.
    """
    asked = ["criteria_prompt"] if by_criteria else []
    return Pipeline(
        [
            Node(
                write_prompts,
                [
                    "writer",
                    "policy",
                    "ift",
                    "eft_ranked",
                    "earlier_prompts",
                    "few_shot_prompt",
                    "generation_engine",
                    "params:prompts",
                    "params:seed",
                    "policy_checked",
                    *asked,
                ],
                "written_prompts",
                name="write_prompts",
            ),
            Node(
                accept_prompts,
                ["written_prompts", "earlier_prompts", "policy", "params:prompts"],
                ["prompts", "known_prompts", "prompt_drops", "prompt_metrics"],
                name="accept_prompts",
            ),
        ]
    )
