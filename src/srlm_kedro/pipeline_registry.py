"""The pipelines by name."""

from kedro.pipeline import Pipeline

from srlm_kedro.pipelines import microworld
from srlm_kedro.pipelines.self_rewarding import (
    LoopParams,
    foundation,
    iteration,
    measure,
    self_rewarding,
)


def register_pipelines() -> dict[str, Pipeline]:
    """Pipelines of the paper's loop; a session composes them anew from its own parameters."""
    loop = LoopParams()
    return {
        "__default__": self_rewarding(loop),
        "foundation": foundation(loop),
        "iteration": iteration(2, 0, loop),
        "evaluation": measure(loop.iterations),
        "seed_data": microworld.create_seed_data_pipeline(),
    }
