"""`python -m evidence` runs controls beside the main run and comes to its page."""

import json
import shutil

from benchmarks.project import copy_project
from evidence.__main__ import main


def test_runs_become_a_page_and_the_same_again_makes_nothing(tmp_path, whole, empty_database):
    """From the command line to the page, with engines that have no model; what lies there stays."""
    folder = tmp_path / "project"
    copy_project(folder)
    shutil.copytree(whole, folder / "data/seed0")
    shutil.copy(empty_database, folder / "mlruns/mlflow.db")
    ran = stamps(folder)
    asked = ["--folder", str(folder), "--seeds", "0", "--experiments", "oracle_judge", "--quick"]
    main(asked)
    assert ran.items() <= stamps(folder).items()
    shown = (folder / "docs/evidence.md").read_text("utf-8")
    assert "**Scripted engines: these figures say nothing.**" in shown
    assert "seeds: main: 0; oracle_judge: 0" in shown
    assert "`python -m evidence --folder FOLDER --seeds 0" in shown
    assert "## Criteria" in shown
    assert str(tmp_path) not in shown
    made = stamps(folder)
    main(asked)
    assert stamps(folder) == made
    assert len(json.loads((folder / "evidence.json").read_text("utf-8"))["commands"]) == 1
    assert (folder / "docs/evidence.md").read_text("utf-8") == shown


def stamps(folder):
    """When each table of the runs was written."""
    return {path: path.stat().st_mtime_ns for path in (folder / "data").rglob("*.parquet")}
