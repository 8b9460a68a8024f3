"""MT-Bench: two turns, each graded from 1 to 10 by a judge from outside."""

from srlm_kedro.pipelines.mt_bench.pipeline import create_pipeline

__all__ = ["create_pipeline"]
