"""Preference training."""

from srlm_kedro.pipelines.dpo.pipeline import create_pipeline, create_soft_pipeline

__all__ = ["create_pipeline", "create_soft_pipeline"]
