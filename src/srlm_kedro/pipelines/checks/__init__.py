"""Validation of tables between the stages, and the gate before training."""

from srlm_kedro.pipelines.checks.pipeline import create_pipeline, create_seed_pipeline

__all__ = ["create_pipeline", "create_seed_pipeline"]
