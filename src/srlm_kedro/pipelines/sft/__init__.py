"""Supervised fine-tuning."""

from srlm_kedro.pipelines.sft.pipeline import (
    create_baseline_pipeline,
    create_m1_pipeline,
    create_positives_pipeline,
)

__all__ = ["create_baseline_pipeline", "create_m1_pipeline", "create_positives_pipeline"]
