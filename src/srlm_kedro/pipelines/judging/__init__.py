"""Judgements and rewards of the candidates."""

from srlm_kedro.pipelines.judging.pipeline import create_pipeline

__all__ = ["create_pipeline"]
