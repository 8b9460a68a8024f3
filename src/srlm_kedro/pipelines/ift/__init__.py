"""Seed data."""

from srlm_kedro.pipelines.ift.pipeline import create_pipeline

__all__ = ["create_pipeline"]
