"""An OASST export of human conversations into seed data. Paper: section 3.1, seed data."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.oasst.nodes import select_oasst


def create_pipeline() -> Pipeline:
    """`oasst_messages` -> `ift_seed`, `eft_seed`, `eval_prompts`, `seed_drops`, `oasst_metrics`."""
    return Pipeline(
        [
            Node(
                select_oasst,
                ["oasst_messages", "params:oasst", "params:seed"],
                ["ift_seed", "eft_seed", "eval_prompts", "seed_drops", "oasst_metrics"],
                name="select_oasst",
            )
        ]
    )
