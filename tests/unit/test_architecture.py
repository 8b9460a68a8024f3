"""The rules between the rooms."""

import subprocess
import sys

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

LIGHT = [
    "srlm_kedro.pipeline_registry",
    "srlm_kedro.engines.generation.scripted",
    "srlm_kedro.engines.training.scripted",
    "srlm_kedro.judge.parsing",
    "srlm_kedro.microworld.oracle",
]
HEAVY = ["torch", "transformers", "trl", "mlflow", "great_expectations"]


def test_import_contracts_hold(capsys):
    """Every contract of pyproject.toml is kept."""
    status = lint_imports(no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_nothing_heavy(module):
    """The registry and the scripted engines cost no torch, no MLflow, no Great Expectations."""
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
