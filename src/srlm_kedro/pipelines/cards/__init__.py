"""Model cards: what a model is, beside its weights."""

from srlm_kedro.pipelines.cards.pipeline import create_elder_pipeline, create_iteration_pipeline

__all__ = ["create_elder_pipeline", "create_iteration_pipeline"]
