"""Preference pairs out of rewards."""

from srlm_kedro.pipelines.pairs.pipeline import create_pipeline

__all__ = ["create_pipeline"]
