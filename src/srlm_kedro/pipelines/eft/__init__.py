"""Evaluation fine-tuning examples: what teaches a model to judge."""

from srlm_kedro.pipelines.eft.pipeline import create_pipeline, create_ranking_pipeline

__all__ = ["create_pipeline", "create_ranking_pipeline"]
