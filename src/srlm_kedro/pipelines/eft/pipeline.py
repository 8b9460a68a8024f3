"""From human rankings to evaluation fine-tuning examples."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.eft.nodes import judge_ranked, split_eft
from srlm_kedro.pipelines.eft.selection import select_eft


def create_pipeline() -> Pipeline:
    """`eft_ranked`, `ift`, `baseline`, `judge_prompt` -> `eft_train`, `eft_eval`, `eft_metrics`.

    On the way: `eft_pool` (what may be trained on) and `judgements`.
    """
    return Pipeline(
        [
            Node(
                split_eft,
                ["eft_ranked", "ift", "params:eft", "params:seed"],
                ["eft_pool", "eft_eval"],
                name="split_eft",
            ),
            Node(
                judge_ranked,
                [
                    "baseline",
                    "eft_pool",
                    "judge_prompt",
                    "generation_engine",
                    "params:eft",
                    "params:seed",
                ],
                "judgements",
                name="judge_ranked",
            ),
            Node(
                select_eft,
                ["eft_pool", "judgements", "judge_prompt", "params:eft", "params:seed"],
                ["eft_train", "eft_metrics"],
                name="select_eft",
            ),
        ]
    )
