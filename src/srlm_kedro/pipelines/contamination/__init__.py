"""Contamination: evaluation prompts that occur in training data."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.contamination.nodes import (
    check_contamination,
    check_seed_contamination,
    gate_contamination,
    gate_seed_contamination,
)

_FOUND = {"table": "contamination", "metrics": "contamination_metrics"}
_PARAMS = {"contamination": "params:contamination"}


def create_seed_pipeline(eval_sets: Sequence[str] = ("eval_prompts",)) -> Pipeline:
    """Seed data: `ift`, `eft_ranked`, evaluation sets -> `contamination`, `..._checked`, ..."""
    return Pipeline(
        [
            Node(
                check_seed_contamination,
                _same("ift", "eft_ranked", *eval_sets) | _PARAMS,
                list(_FOUND.values()),
                name="check_seed_contamination",
            ),
            Node(
                gate_seed_contamination,
                _FOUND | _PARAMS,
                "contamination_checked",
                name="gate_seed_contamination",
            ),
        ]
    )


def create_pipeline(eval_sets: Sequence[str] = ("eval_prompts",)) -> Pipeline:
    """An iteration: `prompts`, `pairs`, `policy`, evaluation sets -> the same outputs."""
    return Pipeline(
        [
            Node(
                check_contamination,
                _same("prompts", "pairs", *eval_sets) | _PARAMS,
                list(_FOUND.values()),
                name="check_contamination",
            ),
            Node(
                gate_contamination,
                _same("policy") | _FOUND | _PARAMS,
                "contamination_checked",
                name="gate_contamination",
            ),
        ]
    )


def _same(*names: str) -> dict[str, str]:
    """Datasets as inputs of the arguments with their names."""
    return {name: name for name in names}
