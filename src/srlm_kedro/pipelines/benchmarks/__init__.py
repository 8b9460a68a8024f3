"""NLP benchmarks, and the guard against the alignment tax."""

from srlm_kedro.pipelines.benchmarks.pipeline import create_guard_pipeline, create_pipeline

__all__ = ["create_guard_pipeline", "create_pipeline"]
