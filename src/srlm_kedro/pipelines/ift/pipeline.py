"""Seed data: IFT and EFT."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.ift.nodes import prepare_eft, prepare_ift


def create_pipeline() -> Pipeline:
    """`ift_seed`, `eft_seed` -> `ift`, `eft_ranked`."""
    return Pipeline(
        [
            Node(prepare_ift, "ift_seed", "ift", name="prepare_ift"),
            Node(prepare_eft, "eft_seed", "eft_ranked", name="prepare_eft"),
        ]
    )
