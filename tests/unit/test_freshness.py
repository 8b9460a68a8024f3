"""What is skipped and what is remade."""

import pandas as pd
import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner, ThreadRunner

import tests.unit.test_freshness as here
from srlm_kedro.datasets.constant import ConstantDataset
from srlm_kedro.datasets.gate import GateDataset
from srlm_kedro.freshness import make_plan
from srlm_kedro.hooks.freshness import FreshnessHooks
from srlm_kedro.params import Params

VERSION = 1
CALLS: list[str] = []


class Knobs(Params):
    factor: int = 2


def scale(table: pd.DataFrame, knobs: Knobs) -> pd.DataFrame:
    CALLS.append("scale")
    return table * knobs.factor


def total(table: pd.DataFrame) -> dict[str, int]:
    CALLS.append("total")
    return {"total": int(table["x"].sum())}


def fail(table: pd.DataFrame) -> dict[str, int]:
    raise RuntimeError("killed")


PIPELINE = Pipeline(
    [
        Node(scale, ["raw", "params:knobs"], "scaled", name="scale"),
        Node(total, "scaled", "totals", name="total"),
        Node(total, "raw", "raw_totals", name="total_raw"),
    ]
)


@pytest.fixture
def project(tmp_path):
    CALLS.clear()
    pd.DataFrame({"x": [1, 2]}).to_parquet(tmp_path / "raw.parquet")
    return tmp_path


def catalog(folder, **knobs):
    kinds = {"raw": "pandas.Parquet", "scaled": "pandas.Parquet"}
    kinds |= {"totals": "json.JSON", "raw_totals": "json.JSON"}
    config = {
        name: {"type": f"{kind}Dataset", "filepath": str(folder / f"{name}.parquet")}
        for name, kind in kinds.items()
    }
    made = DataCatalog.from_config(config)
    made["params:knobs"] = Knobs(**knobs)
    return made


def run(folder, pipeline=PIPELINE, runner=SequentialRunner, **knobs):
    """Runs what is stale; gives the names of the nodes that ran, with the reasons."""
    data = catalog(folder, **knobs)
    plan = make_plan(pipeline, data)
    hooks = _create_hook_manager()
    hooks.register(FreshnessHooks())
    if plan.stale:
        runner().run(pipeline.filter(node_names=list(plan.stale)), data, hooks)
    return plan.stale


@pytest.mark.parametrize("runner", [SequentialRunner, ThreadRunner])
def test_all_runs_once_and_nothing_the_second_time(project, runner):
    """Fresh outputs are skipped, whatever the runner."""
    assert set(run(project, runner=runner)) == {"scale", "total", "total_raw"}
    assert run(project, runner=runner) == {}
    assert len(CALLS) == 3


def test_a_changed_parameter_remakes_what_hangs_on_it_and_nothing_else(project):
    """The other branch stays as it is."""
    run(project)
    assert run(project, factor=3) == {
        "scale": "params:knobs changed",
        "total": "scaled is remade",
    }


def test_a_changed_input_file_is_noticed_by_its_bytes(project):
    """A file that is there is not enough."""
    run(project)
    pd.DataFrame({"x": [5]}).to_parquet(project / "raw.parquet")
    assert set(run(project)) == {"scale", "total", "total_raw"}


def test_an_input_remade_with_the_same_bytes_leaves_the_rest_fresh(project):
    """Freshness is of content: a lost table that comes out the same changes nothing below it."""
    run(project)
    (project / "scaled.parquet").unlink()
    scale_alone = PIPELINE.filter(node_names=["scale"])
    assert run(project, scale_alone) == {"scale": "scaled is missing"}
    assert run(project) == {}


def test_a_new_version_of_a_stage_remakes_its_outputs(project, monkeypatch):
    """VERSION is part of what an output is made from."""
    run(project)
    monkeypatch.setattr(here, "VERSION", 2)
    assert set(run(project).values()) == {"version changed", "scaled is remade"}


def test_a_gate_that_comes_or_goes_makes_nothing_stale(project):
    """Its word orders nodes and is no part of a recipe; a table in its place would be."""

    def after(table: pd.DataFrame, word: dict[str, bool]) -> dict[str, int]:
        return total(table)

    def remade(pipeline, **extra):
        data = catalog(project)
        for name, dataset in extra.items():
            data[name] = dataset
        plan = make_plan(pipeline, data)
        hooks = _create_hook_manager()
        hooks.register(FreshnessHooks())
        if plan.stale:
            SequentialRunner().run(pipeline.filter(node_names=list(plan.stale)), data, hooks)
        return plan.stale

    after.__qualname__ = total.__qualname__
    (project / "word.json").write_text('{"checked": true}')
    word = GateDataset(filepath=str(project / "word.json"))
    gated = Pipeline([Node(after, ["raw", "word"], "totals", name="total")])
    free = Pipeline([Node(total, "raw", "totals", name="total")])
    assert remade(free) == {"total": "totals is missing"}
    assert remade(gated, word=word) == {}
    assert remade(gated, word=ConstantDataset(value={"a": 1})) == {"total": "word changed"}


def test_an_output_without_its_manifest_is_not_whole(project):
    """The manifest is written last: without it the file may be half."""
    run(project)
    (project / "totals.parquet.manifest.json").unlink()
    assert run(project) == {"total": "totals is missing"}


def test_an_unreadable_manifest_counts_as_none(project):
    """Half a manifest is no manifest."""
    run(project)
    (project / "totals.parquet.manifest.json").write_text('{"parts": {')
    assert run(project) == {"total": "totals is missing"}


def test_a_node_that_fails_leaves_its_old_outputs_not_whole(project):
    """Nothing half-made is taken for fresh after an error."""
    run(project)
    broken = Pipeline([Node(fail, "scaled", "totals", name="total")])
    with pytest.raises(RuntimeError, match="killed"):
        run(project, broken)
    assert run(project) == {"total": "totals is missing"}
