"""Candidate responses to the new prompts."""

from srlm_kedro.pipelines.responses.pipeline import create_pipeline

__all__ = ["create_pipeline"]
