"""Instruments between the stages: what each of them did, told apart."""

from srlm_kedro.pipelines.study.pipeline import (
    create_iteration_pipeline,
    create_own_pipeline,
    create_rubric_pipeline,
)

__all__ = ["create_iteration_pipeline", "create_own_pipeline", "create_rubric_pipeline"]
