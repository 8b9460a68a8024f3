"""From prompts to candidate responses."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.responses.nodes import draw_responses


def create_pipeline() -> Pipeline:
    """`policy`, `prompts` -> `responses`."""
    return Pipeline(
        [
            Node(
                draw_responses,
                ["policy", "prompts", "generation_engine", "params:responses", "params:seed"],
                "responses",
                name="draw_responses",
            )
        ]
    )
