"""The embedded default: a corpus, M0, and the seed data, all out of the microworld."""

from srlm_kedro.pipelines.microworld.pipeline import create_pipeline, create_seed_data_pipeline

__all__ = ["create_pipeline", "create_seed_data_pipeline"]
