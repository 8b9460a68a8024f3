"""EFT, evaluation fine-tuning examples: they teach a model to judge. Paper: section 3.1."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.eft.labels import select_labelled
from srlm_kedro.pipelines.eft.nodes import judge_ranked, rank_as_judged, split_eft
from srlm_kedro.pipelines.eft.selection import select_eft


def create_pipeline() -> Pipeline:
    """`eft_ranked`, `ift`, `baseline`, `judge_prompt` -> `eft_train`, `eft_eval`, `eft_metrics`.

    On the way: `eft_pool` (the ranked responses that may be trained on) and `judgements`.
    """
    asked = ["baseline", "eft_pool", "judge_prompt", "generation_engine"]
    judged = Node(
        judge_ranked, [*asked, "params:eft", "params:seed"], "judgements", name="judge_ranked"
    )
    return _selected_from(judged)


def create_ranking_pipeline() -> Pipeline:
    """The same with judgements that are made of the human ranks, without a model."""
    return _selected_from(Node(rank_as_judged, "eft_pool", "judgements", name="rank_as_judged"))


def create_labels_pipeline() -> Pipeline:
    """`eft_ranked`, `ift`, `criteria_prompt` -> `eft_train`, `eft_eval`, `eft_metrics`.

    The seed data say which criteria each response meets, and no model judges them.
    """
    inputs = ["eft_pool", "criteria_prompt", "params:eft", "params:seed"]
    labelled = Node(select_labelled, inputs, ["eft_train", "eft_metrics"], name="select_labelled")
    return Pipeline([_split(), labelled])


def _selected_from(judged: Node) -> Pipeline:
    return Pipeline(
        [
            _split(),
            judged,
            Node(
                select_eft,
                ["eft_pool", "judgements", "judge_prompt", "params:eft", "params:seed"],
                ["eft_train", "eft_metrics"],
                name="select_eft",
            ),
        ]
    )


def _split() -> Node:
    return Node(
        split_eft,
        ["eft_ranked", "ift", "params:eft", "params:seed"],
        ["eft_pool", "eft_eval"],
        name="split_eft",
    )
