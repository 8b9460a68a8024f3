"""The embedded default: M0, ready or out of a corpus, and the seed data, all of the microworld."""

from srlm_kedro.pipelines.microworld.pipeline import (
    create_card_pipeline,
    create_pipeline,
    create_ready_pipeline,
    create_seed_data_pipeline,
)

__all__ = [
    "create_card_pipeline",
    "create_pipeline",
    "create_ready_pipeline",
    "create_seed_data_pipeline",
]
