"""The pipelines by name."""

from kedro.pipeline import Pipeline

from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.self_rewarding import compose, shipped_m0


def register_pipelines() -> dict[str, Pipeline]:
    """The pipelines of the paper's loop; a session composes them again from its parameters.

    `status` and `accept` have no nodes, because a session handles them itself.
    """
    made_once = {"m0": shipped_m0()}
    return {**compose(LoopParams()), **made_once, "status": Pipeline([]), "accept": Pipeline([])}
