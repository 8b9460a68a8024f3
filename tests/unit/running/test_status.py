"""The table of what a run would make, and why."""

import pandas as pd
import pytest

from srlm_kedro.freshness.plan import make_plan
from srlm_kedro.running.status import status_table
from tests.unit.test_freshness import PIPELINE, catalog, flip, run


@pytest.fixture
def project(tmp_path):
    pd.DataFrame({"x": [1, 2]}).to_parquet(tmp_path / "raw.parquet")
    return tmp_path


def table(folder, pipeline=PIPELINE, **knobs):
    """The table's lines by node: state and reason."""
    data = catalog(folder, **knobs)
    return status_table(pipeline, data, make_plan(pipeline, data))


def states(text):
    rows = (line.split(maxsplit=2) for line in text.splitlines() if line.startswith("  "))
    return {name: (state, *reason) for name, state, *reason in rows}


def test_each_node_has_its_state_and_the_reason(project):
    """A node is missing before a run, fresh after it, and stale if a parameter or input changed."""
    before = table(project)
    assert {state for state, *_ in states(before).values()} == {"missing"}
    assert before.endswith(
        "3 nodes: 0 fresh, 0 stale, 3 missing. A run makes the 3 that are not fresh."
    )
    run(project)
    assert table(project).endswith("A run has nothing to do.")
    after = table(project, factor=3)
    assert "A run makes the 2 that are not fresh." in after  # no engine's work depends on them
    changed = states(after)
    assert changed == {
        "scale": ("stale", "params:knobs changed"),
        "total": ("stale", "scaled is remade"),
        "total_raw": ("fresh",),
    }


def test_what_is_missing_is_not_called_stale(project):
    """Of two nodes with a stale input, the one without an output is missing."""
    run(project)
    (project / "totals.parquet").unlink()
    reason = "totals is missing; scaled is remade"
    assert states(table(project, factor=3))["total"] == ("missing", reason)


def test_the_fault_of_an_own_output_comes_before_a_remade_input(project):
    """Otherwise a damaged file would look like one that is only out of date."""
    run(project)
    flip(project / "totals.parquet")
    _, reason = states(table(project, factor=3))["total"]
    assert reason.startswith("totals is damaged (")
    assert reason.endswith("; scaled is remade")


def test_nodes_stand_by_model_and_shared_ones_close_the_table(project):
    """Each model has a heading."""
    from kedro.pipeline import Node, Pipeline

    from tests.unit.test_freshness import scale, total

    both = Pipeline(
        [
            Node(total, "scaled", "totals", name="report"),
            Node(scale, ["raw", "params:knobs"], "scaled", name="m2.scale"),
        ]
    )
    lines = table(project, both).splitlines()
    assert [line for line in lines if line and not line.startswith("  ")][:2] == [
        "m2",
        "of all models",
    ]
    assert lines[1].split() == ["m2.scale", "missing", "scaled", "is", "missing"]
