"""New prompts, written by a model and sieved."""

from srlm_kedro.pipelines.prompts.pipeline import create_pipeline

__all__ = ["create_pipeline"]
