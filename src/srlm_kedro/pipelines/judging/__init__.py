"""Judgements and rewards of the candidates."""

from srlm_kedro.pipelines.judging.pipeline import create_consistency_pipeline, create_pipeline

__all__ = ["create_consistency_pipeline", "create_pipeline"]
