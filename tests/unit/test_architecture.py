"""The rules between the rooms."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIGHT = [
    "srlm_kedro.pipeline_registry",
    "srlm_kedro.engines.published.scripted",
    "srlm_kedro.engines.generation.scripted",
    "srlm_kedro.engines.training.scripted",
    "srlm_kedro.judge.parsing",
    "srlm_kedro.microworld.oracle",
    "srlm_kedro.verifiable.referee",
    "srlm_kedro.verifiable.rubric",
]
HEAVY = ["torch", "transformers", "trl", "mlflow", "great_expectations", "lm_eval", "nltk"]


def test_import_contracts_hold():
    """Every contract of pyproject.toml is kept."""
    # In a process of its own: the linter switches off the loggers of the one it runs in.
    code = (
        "from importlinter.cli import lint_imports as lint; raise SystemExit(lint(no_cache=True))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_nothing_heavy(module):
    """The registry and the scripted engines cost no torch, no MLflow, no Great Expectations."""
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
