"""The report on a run."""

from srlm_kedro.pipelines.reporting.pipeline import (
    create_elder_pipeline,
    create_iteration_pipeline,
    create_pipeline,
    create_study_pipeline,
)

__all__ = [
    "create_elder_pipeline",
    "create_iteration_pipeline",
    "create_pipeline",
    "create_study_pipeline",
]
