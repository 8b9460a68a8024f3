"""Whether a model is worse than the one before it, and which is the best so far."""

from srlm_kedro.pipelines.selection.pipeline import (
    create_choice_pipeline,
    create_comparison_pipeline,
    create_guard_pipeline,
    create_validation_pipeline,
)

__all__ = [
    "create_choice_pipeline",
    "create_comparison_pipeline",
    "create_guard_pipeline",
    "create_validation_pipeline",
]
