"""Which nodes are skipped and which run again."""

import pandas as pd
import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner, ThreadRunner

from srlm_kedro.datasets.values import ConstantDataset, GateDataset
from srlm_kedro.freshness import recipe
from srlm_kedro.freshness.hooks import FreshnessHooks
from srlm_kedro.freshness.manifest import mark_thinned, read_manifest
from srlm_kedro.freshness.plan import accept, input_faults, make_plan
from srlm_kedro.params import Params

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
    """Runs what is stale; returns the names of the nodes that ran, with the reasons."""
    data = catalog(folder, **knobs)
    hooks = _create_hook_manager()
    hooks.register(FreshnessHooks())
    plan, ran = make_plan(pipeline, data), {}
    if plan.first:
        runner().run(pipeline.filter(node_names=list(plan.first)), data, hooks)
        ran = {name: plan.stale[name] for name in plan.first}
        plan = make_plan(pipeline, data)
    if plan.stale:
        runner().run(pipeline.filter(node_names=list(plan.stale)), data, hooks)
    return ran | plan.stale


def thin(file):
    """Thins a file: it is emptied and not deleted, because the path of a file must stay."""
    mark_thinned(file)
    file.write_bytes(b"")


def with_more_provenance(monkeypatch, part):
    """Adds a part to the recipe of everything from now on."""
    found = recipe.made_by
    monkeypatch.setattr(recipe, "made_by", lambda *asked: found(*asked) | {part: "another"})


def flip(file, at=-3):
    """Flips one bit of one byte."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("runner", [SequentialRunner, ThreadRunner])
def test_all_runs_once_and_nothing_the_second_time(project, runner):
    """Every runner skips fresh outputs."""
    assert set(run(project, runner=runner)) == {"scale", "total", "total_raw"}
    assert run(project, runner=runner) == {}
    assert len(CALLS) == 3


def test_a_changed_parameter_remakes_what_depends_on_it_and_nothing_else(project):
    """The other branch stays as it is."""
    run(project)
    assert run(project, factor=3) == {
        "scale": "params:knobs changed",
        "total": "scaled is remade",
    }


def test_a_changed_input_file_is_noticed_by_its_bytes(project):
    """It is not enough that the file exists."""
    run(project)
    pd.DataFrame({"x": [5]}).to_parquet(project / "raw.parquet")
    assert set(run(project)) == {"scale", "total", "total_raw"}


def test_an_input_remade_with_the_same_bytes_leaves_the_rest_fresh(project):
    """Content decides: a lost table that is remade with the same bytes changes nothing after it."""
    run(project)
    (project / "scaled.parquet").unlink()
    scale_alone = PIPELINE.filter(node_names=["scale"])
    assert run(project, scale_alone) == {"scale": "scaled is missing"}
    assert run(project) == {}


def test_changed_code_remakes_what_it_makes_and_is_named(project, monkeypatch):
    """The code may be anywhere that the node's function reaches."""
    run(project)
    with_more_provenance(monkeypatch, "code of a.module")
    assert set(run(project).values()) == {"code of a.module changed", "scaled is remade"}
    assert run(project) == {}


def test_changed_code_can_be_accepted_and_nothing_else(project, monkeypatch):
    """A changed parameter is not accepted."""
    run(project)
    with_more_provenance(monkeypatch, "library torch")
    data = catalog(project, factor=3)
    assert accept(PIPELINE, data).keys() == {"total", "total_raw"}
    assert accept(PIPELINE, data) == {}
    assert run(project, factor=3) == {"scale": "params:knobs changed", "total": "scaled is remade"}


def test_a_gate_that_comes_or_goes_makes_nothing_stale(project):
    """A gate only orders nodes and is no part of a recipe; a table in its place would be."""

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
    """The manifest is written last: without it the file may be incomplete."""
    run(project)
    (project / "totals.parquet.manifest.json").unlink()
    assert run(project) == {"total": "totals is not whole"}


@pytest.mark.parametrize("content", ["", '{"parts": {', "[]", "null", '{"parts": {}, "files": {}}'])
def test_a_manifest_that_was_not_written_so_counts_as_none(project, content):
    """A damaged manifest counts as none."""
    run(project)
    (project / "totals.parquet.manifest.json").write_text(content)
    assert run(project) == {"total": "totals has a damaged manifest"}


def test_every_flipped_byte_of_a_manifest_is_seen_or_harmless(project):
    """A manifest is read as it was written, or not at all."""
    run(project)
    file = project / "totals.parquet.manifest.json"
    before, said = file.read_bytes(), read_manifest(project / "totals.parquet")
    for at in range(len(before)):
        flip(file, at)
        assert read_manifest(project / "totals.parquet") in (None, said)
        file.write_bytes(before)


@pytest.mark.parametrize("name", ["scaled", "totals"])
def test_a_flipped_byte_of_an_output_is_seen(project, name):
    """The reason names the file, and the file is remade."""
    run(project)
    file = project / f"{name}.parquet"
    whole = file.read_bytes()
    flip(file)
    node = {"scaled": "scale", "totals": "total"}[name]
    assert run(project) == {node: f"{name} is damaged ({file.name})"}
    assert file.read_bytes() == whole


def test_a_cut_off_output_is_seen(project):
    """A full disk or a kill cut off the write, and the manifest is from before it."""
    run(project)
    file = project / "totals.parquet"
    file.write_bytes(file.read_bytes()[:5])
    assert run(project) == {"total": "totals is damaged (totals.parquet)"}


def test_what_was_lost_comes_back_and_what_was_made_from_it_stays(project):
    """The remade file has the same bytes, so nothing after it is remade."""
    run(project)
    (project / "scaled.parquet").unlink()
    assert run(project) == {"scale": "scaled is missing"}


def test_other_bytes_remake_the_rest(project, monkeypatch):
    """If the same recipe gives other bytes, as on a GPU, what depends on them is stale."""
    run(project)
    (project / "scaled.parquet").unlink()
    monkeypatch.setattr(pd.DataFrame, "__mul__", lambda table, factor: table + 40)
    assert run(project) == {"scale": "scaled is missing", "total": "scaled changed"}


def test_a_lost_output_waits_for_a_changed_input(project):
    """Nothing is remade from a stale input."""
    run(project)
    (project / "totals.parquet").unlink()
    assert make_plan(PIPELINE, catalog(project, factor=3)).first == ()
    assert run(project, factor=3) == {
        "scale": "params:knobs changed",
        "total": "totals is missing; scaled is remade",
    }


def test_two_lost_in_a_row_are_remade_once(project):
    """A lost output that depends on another lost one is remade after it."""
    run(project)
    for name in ("scaled", "totals"):
        (project / f"{name}.parquet").unlink()
    assert run(project) == {
        "scale": "scaled is missing",
        "total": "totals is missing; scaled is remade",
    }


def test_what_was_thinned_out_counts_as_made(project):
    """Its files are deleted, and nothing needs them."""
    run(project)
    thin(project / "scaled.parquet")
    assert run(project) == {}


def test_what_was_thinned_out_is_made_again_when_it_is_needed(project):
    """It is remade first, so that what was made from it stays fresh."""
    run(project)
    whole = (project / "scaled.parquet").read_bytes()
    thin(project / "scaled.parquet")
    (project / "totals.parquet").unlink()
    assert run(project) == {
        "scale": "scaled was thinned out, and is needed",
        "total": "totals is missing",
    }
    assert (project / "scaled.parquet").read_bytes() == whole


def test_faulty_inputs_are_named(project):
    """A part of the pipeline cannot remake its inputs, so the faults are named before any work."""
    run(project)
    part = PIPELINE.filter(node_names=["total"])
    assert input_faults(part, catalog(project), "kedro run --env=x") == []
    flip(project / "scaled.parquet")
    (fault,) = input_faults(part, catalog(project), "kedro run --env=x")
    assert fault.startswith("scaled is damaged (scaled.parquet): ")
    thin(project / "scaled.parquet")
    (fault,) = input_faults(part, catalog(project), "kedro run --env=x")
    assert ("thinned out: " in fault, "`kedro run --env=x`" in fault) == (True, True)


def test_a_node_that_fails_leaves_its_old_outputs_not_whole(project):
    """An unfinished output does not count as fresh after an error."""
    run(project)
    broken = Pipeline([Node(fail, "scaled", "totals", name="total")])
    with pytest.raises(RuntimeError, match="killed"):
        run(project, broken)
    assert run(project) == {"total": "totals is not whole"}
