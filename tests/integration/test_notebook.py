"""The notebook tells its story of any run, and makes a small one where there is none."""

import json
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from tests.integration.conftest import ROOT

NOTEBOOK = ROOT / "notebooks/self_rewarding.ipynb"
CELLS = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


@pytest.fixture
def told(monkeypatch, capsys):
    """Executes the code cells, in the folder of the notebook; gives what stands after them."""
    plt.switch_backend("agg")

    def execute(project: Path) -> dict:
        shutil.copytree(ROOT / "notebooks", project / "notebooks")
        monkeypatch.chdir(project / "notebooks")
        names = {"__name__": "__main__"}
        for number, cell in enumerate(CODE):
            exec(compile(cell, f"cell {number}", "exec"), names)
        return names | {"printed": capsys.readouterr().out}

    yield execute
    plt.close("all")


def test_outputs_are_cleared():
    """What a run gave is no part of the source, and the file stays light."""
    assert all(
        not cell["outputs"] and cell["execution_count"] is None
        for cell in CELLS
        if cell["cell_type"] == "code"
    )
    assert NOTEBOOK.stat().st_size < 20_000


def test_a_finished_run_is_read_and_not_touched(done, told):
    """Pictures of M0, rewards, DPO, comparisons and errors; nothing is made anew."""
    before = {p: p.stat().st_mtime_ns for p in (done.path / "data").rglob("*") if p.is_file()}
    names = told(done.path)
    assert names["models"] == ["sft", "m1", "m2", "m3"]
    assert "No finished run" not in names["printed"]
    assert len(plt.get_fignums()) == 5
    assert f"chosen:   {names['pair']['chosen']}" in names["printed"]
    after = {p: p.stat().st_mtime_ns for p in (done.path / "data").rglob("*") if p.is_file()}
    assert before == after


def test_without_a_run_a_small_one_is_made(project, told):
    """In a folder of its own."""
    names = told(project.path)
    assert "No finished run" in names["printed"]
    assert (project.path / "data/notebook/08_reporting/report.html").exists()
    assert not (project.path / "data/08_reporting/report.html").exists()
    assert len(plt.get_fignums()) == 5
