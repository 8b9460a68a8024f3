"""Evaluation prompts that training has seen."""

from srlm_kedro.pipelines.contamination.pipeline import create_pipeline, create_seed_pipeline

__all__ = ["create_pipeline", "create_seed_pipeline"]
