"""What a model can do, on prompts it was never trained on."""

from srlm_kedro.pipelines.evaluation.pipeline import (
    create_head_to_head_pipeline,
    create_pipeline,
)

__all__ = ["create_head_to_head_pipeline", "create_pipeline"]
