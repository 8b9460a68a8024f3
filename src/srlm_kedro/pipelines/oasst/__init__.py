"""Human conversations into seed data."""

from srlm_kedro.pipelines.oasst.pipeline import create_pipeline

__all__ = ["create_pipeline"]
