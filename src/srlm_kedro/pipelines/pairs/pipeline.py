"""From judged responses to preference pairs."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.pairs.nodes import make_pairs


def create_pipeline() -> Pipeline:
    """`judged_responses` -> `pairs`, `pair_metrics`."""
    return Pipeline(
        [
            Node(
                make_pairs,
                ["judged_responses", "params:pairs", "params:seed"],
                ["pairs", "pair_metrics"],
                name="make_pairs",
            )
        ]
    )
