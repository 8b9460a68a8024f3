"""What a configuration will cost, before it runs."""

from srlm_kedro.pipelines.estimate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
