"""The estimate: what a configuration will cost, before it runs."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.estimate.costs import reckon
from srlm_kedro.pipelines.estimate.draws import expect_draws
from srlm_kedro.pipelines.estimate.overview import summarise_estimate
from srlm_kedro.pipelines.estimate.sizes import measure_texts, size_model
from srlm_kedro.pipelines.estimate.trainings import expect_training

_COMMON = ["params:loop", "params:prompts"]
_TABLES = ["estimate_draws", "estimate_training", "estimate_size", "params:estimate"]


def create_pipeline() -> Pipeline:
    """`ift`, `eft_ranked`, `eval_prompts`, ... -> `estimate_table`, `estimate_summary`.

    On the way: `estimate_texts`, `estimate_size`, `estimate_draws`, `estimate_training`.
    """
    tables = ["ift", "eft_ranked", "eval_prompts", "judge_prompt", "few_shot_prompt"]
    stages = ["responses", "judging", "eft", "evaluation", "selection", "study", "rubric"]
    drawing = [f"params:{stage}" for stage in stages]
    training = ["params:eft", "params:sft", "params:dpo", "params:microworld", "params:pretraining"]
    return Pipeline(
        [
            Node(
                size_model,
                ["m0_size", "params:loop", "params:pretraining", "params:estimate"],
                "estimate_size",
                name="size_model",
            ),
            Node(
                measure_texts,
                [*tables, "params:loop", "params:estimate"],
                "estimate_texts",
                name="measure_texts",
            ),
            Node(
                expect_draws,
                ["estimate_texts", *_COMMON, *drawing, "params:estimate"],
                "estimate_draws",
                name="expect_draws",
            ),
            Node(
                expect_training,
                ["estimate_texts", *_COMMON, *training, "params:estimate"],
                "estimate_training",
                name="expect_training",
            ),
            Node(reckon, [*_TABLES, "machine"], "estimate_table", name="reckon"),
            Node(
                summarise_estimate,
                ["estimate_table", *_TABLES, "machine"],
                "estimate_summary",
                name="summarise_estimate",
            ),
        ]
    )
