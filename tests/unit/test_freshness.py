"""What is skipped and what is remade."""

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
    """Runs what is stale; gives the names of the nodes that ran, with the reasons."""
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
    """Deletes a file as the policy does: emptied, for a file's own path must stay."""
    mark_thinned(file)
    file.write_bytes(b"")


def by_more(monkeypatch, part):
    """From now on everything is made by something more."""
    found = recipe.made_by
    monkeypatch.setattr(recipe, "made_by", lambda *asked: found(*asked) | {part: "another"})


def flip(file, at=-3):
    """Turns one bit of one byte."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


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


def test_changed_code_remakes_what_it_makes_and_is_named(project, monkeypatch):
    """Wherever a node's function can reach it."""
    run(project)
    by_more(monkeypatch, "code of a.module")
    assert set(run(project).values()) == {"code of a.module changed", "scaled is remade"}
    assert run(project) == {}


def test_changed_code_can_be_accepted_and_nothing_else(project, monkeypatch):
    """A parameter that changed too is no matter of code."""
    run(project)
    by_more(monkeypatch, "library torch")
    data = catalog(project, factor=3)
    assert accept(PIPELINE, data).keys() == {"total", "total_raw"}
    assert accept(PIPELINE, data) == {}
    assert run(project, factor=3) == {"scale": "params:knobs changed", "total": "scaled is remade"}


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
    assert run(project) == {"total": "totals is not whole"}


@pytest.mark.parametrize("content", ["", '{"parts": {', "[]", "null", '{"parts": {}, "files": {}}'])
def test_a_manifest_that_was_not_written_so_counts_as_none(project, content):
    """Half a manifest is no manifest."""
    run(project)
    (project / "totals.parquet.manifest.json").write_text(content)
    assert run(project) == {"total": "totals has a damaged manifest"}


def test_every_flipped_byte_of_a_manifest_is_seen_or_harmless(project):
    """What a manifest says is either as it was written, or not believed."""
    run(project)
    file = project / "totals.parquet.manifest.json"
    before, said = file.read_bytes(), read_manifest(project / "totals.parquet")
    for at in range(len(before)):
        flip(file, at)
        assert read_manifest(project / "totals.parquet") in (None, said)
        file.write_bytes(before)


@pytest.mark.parametrize("name", ["scaled", "totals"])
def test_a_flipped_byte_of_an_output_is_seen(project, name):
    """The file is named, and remade rather than used."""
    run(project)
    file = project / f"{name}.parquet"
    whole = file.read_bytes()
    flip(file)
    node = {"scaled": "scale", "totals": "total"}[name]
    assert run(project) == {node: f"{name} is damaged ({file.name})"}
    assert file.read_bytes() == whole


def test_a_cut_off_output_is_seen(project):
    """A write that a full disk or a kill has torn, and a manifest of the one before."""
    run(project)
    file = project / "totals.parquet"
    file.write_bytes(file.read_bytes()[:5])
    assert run(project) == {"total": "totals is damaged (totals.parquet)"}


def test_what_was_lost_comes_back_and_what_was_made_from_it_stays(project):
    """The same bytes come out: nothing below is remade."""
    run(project)
    (project / "scaled.parquet").unlink()
    assert run(project) == {"scale": "scaled is missing"}


def test_what_comes_out_otherwise_remakes_the_rest(project, monkeypatch):
    """Where the same recipe gives other bytes, as on a GPU, what hangs on them is stale."""
    run(project)
    (project / "scaled.parquet").unlink()
    monkeypatch.setattr(pd.DataFrame, "__mul__", lambda table, factor: table + 40)
    assert run(project) == {"scale": "scaled is missing", "total": "scaled changed"}


def test_the_lost_below_the_changed_waits_for_it(project):
    """Nothing is remade from what is itself stale."""
    run(project)
    (project / "totals.parquet").unlink()
    assert make_plan(PIPELINE, catalog(project, factor=3)).first == ()
    assert run(project, factor=3) == {"scale": "params:knobs changed", "total": "scaled is remade"}


def test_two_lost_in_a_row_are_remade_once(project):
    """A lost output of a lost one is remade in its turn."""
    run(project)
    for name in ("scaled", "totals"):
        (project / f"{name}.parquet").unlink()
    assert run(project) == {"scale": "scaled is missing", "total": "scaled is remade"}


def test_what_was_thinned_out_counts_as_made(project):
    """Its files are gone and nothing asks for them."""
    run(project)
    thin(project / "scaled.parquet")
    assert run(project) == {}


def test_what_was_thinned_out_is_made_again_when_it_is_needed(project):
    """First of all, so that what was made from it stays fresh."""
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
    """A part of the pipeline cannot repair what it starts from; it says so before work."""
    run(project)
    part = PIPELINE.filter(node_names=["total"])
    assert input_faults(part, catalog(project)) == []
    flip(project / "scaled.parquet")
    (fault,) = input_faults(part, catalog(project))
    assert fault.startswith("scaled is damaged (scaled.parquet): ")
    thin(project / "scaled.parquet")
    (fault,) = input_faults(part, catalog(project))
    assert fault.startswith("scaled was thinned out: ")


def test_a_node_that_fails_leaves_its_old_outputs_not_whole(project):
    """Nothing half-made is taken for fresh after an error."""
    run(project)
    broken = Pipeline([Node(fail, "scaled", "totals", name="total")])
    with pytest.raises(RuntimeError, match="killed"):
        run(project, broken)
    assert run(project) == {"total": "totals is not whole"}
