"""What a pipeline run writes into a real MLflow database."""

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from kedro.config import OmegaConfigLoader
from kedro.framework.context import KedroContext
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner
from mlflow import MlflowClient
from mlflow.entities import Run
from pydantic import Field

from srlm_kedro.params import Params, Schedule
from srlm_kedro.records import Checkpoint
from srlm_kedro.tracking import model_runs, run_owner
from srlm_kedro.tracking.model_runs import TrackingHooks
from srlm_kedro.tracking.parent_run import ParentRunHooks

SHIPPED = Path(__file__).parents[2] / "conf" / "base" / "mlflow.yml"
RUN = {
    "env": None,
    "tags": None,
    "node_names": None,
    "from_nodes": None,
    "to_nodes": None,
    "from_inputs": None,
    "load_versions": None,
    "pipeline_names": None,
}
JUDGED = pd.DataFrame(
    {
        "prompt_id": ["p0", "p0"],
        "response_id": ["p0-r0", "p0-r1"],
        "prompt": ["list 2 animals", "list 2 animals"],
        "response": ["<b>cat</b> dog .", "cat ."],
        "tokens": [3, 2],
        "reward": [4.5, None],
        "scores": [3, 0],
    }
)
JUDGEMENTS = pd.DataFrame(
    {"response_id": ["p0-r0", "p0-r1"], "k": 0, "text": ["fine . score : 5", "well ."]}
)
PAIRS = pd.DataFrame({"prompt_id": ["p0"], "chosen": ["cat dog ."], "rejected": ["cat ."]})
LOG = pd.DataFrame({"step": [1, 2], "loss": [0.7, 0.5], "rewards/margins": [0.1, None]})


class KnobParams(Params):
    """A group of parameters with a schedule."""

    beta: Schedule[float] = (0.5, 1.0)
    """One value per iteration."""
    rubric: str = "r" * 900
    """Longer than a table can show."""
    seeds: tuple[int, ...] = Field((1, 2))
    """A tuple that is no schedule."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, made once: its tables take seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with the shipped mlflow.yml, run from another working directory."""
    (tmp_path / "conf" / "base").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mlruns").mkdir()
    shutil.copy(SHIPPED, tmp_path / "conf" / "base")
    shutil.copy(database, tmp_path / "mlruns")
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(model_runs, "pipelines", {})
    yield tmp_path
    while mlflow.active_run():
        mlflow.end_run()


@pytest.fixture
def client(project: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")


def checkpoint(folder: Path, name: str, made: int = 1) -> Checkpoint:
    path = folder / "models" / name
    path.mkdir(parents=True, exist_ok=True)
    (path / "model.json").unlink(missing_ok=True)  # a remade model is another file
    (path / "model.json").write_text(json.dumps({"name": name, "made": made}), "utf-8")
    return Checkpoint(path, name)


def outputs_of(folder: Path, model: str) -> dict[str, Any]:
    """One of each kind of dataset that a model leaves."""
    t = int(model[1:])
    return {
        f"{model}.model": checkpoint(folder, model),
        f"{model}.train_log": LOG,
        f"{model}.train_metrics": {"train/loss": 0.4, "train/pairs": 12.0},
        f"{model}.judgements": JUDGEMENTS,
        f"{model}.judged_responses": JUDGED,
        f"{model}.judge_metrics": {"judge/mean_reward": 3.0 + t, "judge/none": None},
        f"{model}.pairs": PAIRS,
        f"{model}.judged_validation": {"name": "judged", "success": True},
        f"{model}.data_docs": "<p>passed</p>",
        f"{model}.eval_metrics": {"eval/mean_score": 2.0 + t},
    }


def made_by(outputs: dict[str, Any], fails: str | None = None) -> Pipeline:
    """A pipeline with one node per dataset; the node that makes `fails` raises."""

    def maker(name: str) -> Any:
        def make(knobs: KnobParams) -> Any:
            if name == fails:
                raise RuntimeError("no more")
            return outputs[name]

        return make

    return Pipeline(
        [
            Node(maker(name), "params:knobs", name, name=f"make_{i}")
            for i, name in enumerate(outputs)
        ]
    )


def run(project: Path, pipeline: Pipeline, catalog: DataCatalog | None = None) -> DataCatalog:
    """Runs the pipeline like a Kedro session, with both hooks."""
    manager = _create_hook_manager()
    # The plugin's hooks are registered after a project's own, and so run before them.
    manager.register(TrackingHooks())
    manager.register(ParentRunHooks())
    loader = OmegaConfigLoader(str(project / "conf"), base_env="base", default_run_env="base")
    context = KedroContext(project, loader, None, "srlm_kedro", manager)
    manager.hook.after_context_created(context=context)
    catalog = DataCatalog({}) if catalog is None else catalog
    catalog["params:knobs"] = MemoryDataset(KnobParams())
    for name in pipeline.all_outputs():
        catalog[name] = MemoryDataset(copy_mode="assign")
    events = {"run_params": dict(RUN), "pipeline": pipeline, "catalog": catalog}
    manager.hook.before_pipeline_run(**events)
    try:
        result = SequentialRunner().run(pipeline, catalog, manager)
    except (Exception, KeyboardInterrupt) as error:
        manager.hook.on_pipeline_error(error=error, **events)
        raise
    manager.hook.after_pipeline_run(run_result=result, **events)
    return catalog


def runs(client: MlflowClient) -> dict[str, Run]:
    """The newest run of each model, and the parent under its own name."""
    experiment = client.get_experiment_by_name("srlm_kedro")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])
    return {item.data.tags.get("model", "parent"): item for item in found}


def names_of(client: MlflowClient, run_id: str, folder: str | None = None) -> set[str]:
    return {item.path for item in client.list_artifacts(run_id, folder)}


def test_a_run_is_a_parent_with_a_child_for_each_model(project: Path, client: MlflowClient) -> None:
    """Children are below the parent, are finished, and say what they are."""
    run(project, made_by(outputs_of(project, "m2") | outputs_of(project, "m3")))
    found = runs(client)
    assert set(found) == {"parent", "m2", "m3"}
    assert {item.info.status for item in found.values()} == {"FINISHED"}
    assert found["m3"].data.tags["mlflow.parentRunId"] == found["parent"].info.run_id
    assert found["m3"].info.run_name == "M3"
    assert found["parent"].info.run_name == "kedro run: M2 M3"
    assert found["m3"].data.tags["mlflow.note.content"] == "M3: M2 + preferences of its own"
    assert not list(project.glob("elsewhere/*"))


def test_parameters_are_flat_and_schedules_show_the_value_that_counted(
    project: Path, client: MlflowClient
) -> None:
    """Each child holds its iteration's value, the parent the whole schedule; texts are cut."""
    run(project, made_by(outputs_of(project, "m2") | outputs_of(project, "m3")))
    found = {name: item.data.params for name, item in runs(client).items()}
    assert {name: params["knobs.beta"] for name, params in found.items()} == {
        "parent": "0.5, 1.0",
        "m2": "0.5",
        "m3": "1.0",
    }
    assert set(found["m2"]) == {"chain", "knobs.beta", "knobs.rubric", "knobs.seeds"}
    assert found["m2"]["chain"] == "M1 + preferences of its own"
    assert found["m2"]["knobs.seeds"] == "1, 2"
    assert len(found["m2"]["knobs.rubric"]) == 500


def test_metrics_go_to_the_child_and_eval_to_the_curve_over_iterations(
    project: Path, client: MlflowClient
) -> None:
    """Training logs keep their steps; None is left out; the parent's eval step is the iteration."""
    run(project, made_by(outputs_of(project, "m2") | outputs_of(project, "m3")))
    found = runs(client)
    child, parent = found["m2"].info.run_id, found["parent"].info.run_id
    loss = client.get_metric_history(child, "train/loss")
    assert [(m.step, m.value) for m in loss] == [(1, 0.7), (2, 0.5)]
    assert found["m2"].data.metrics["train/pairs"] == 12
    assert found["m2"].data.metrics["judge/mean_reward"] == 5
    assert "judge/none" not in found["m2"].data.metrics
    assert len(client.get_metric_history(child, "train/rewards_margins")) == 1
    curve = client.get_metric_history(parent, "eval/mean_score")
    assert {(m.step, m.value) for m in curve} == {(2, 4.0), (3, 5.0)}
    assert set(found["parent"].data.metrics) == {
        "eval/mean_score",
        "compare/score",
        "compare/reward",
    }
    [point] = client.get_metric_history(child, "eval/mean_score")
    assert (point.step, point.value) == (2, 4.0)


def test_artifacts_show_pairs_samples_scores_and_validation(
    project: Path, client: MlflowClient
) -> None:
    """A child has what a person reads before trusting its numbers."""
    run(project, made_by(outputs_of(project, "m2")))
    child = runs(client)["m2"]
    [used] = child.inputs.dataset_inputs
    assert used.dataset.name == "m2.pairs"
    assert used.tags[0].value == "training"
    run_id = child.info.run_id
    assert {"judged_responses.json", "rewards.svg", "model", "validation"} <= names_of(
        client, run_id
    )
    assert names_of(client, run_id, "validation") == {
        "validation/data_docs.html",
        "validation/judged_validation.json",
    }
    kept = project / "mlruns" / "artifacts" / run_id / "artifacts"
    table = json.loads((kept / "judged_responses.json").read_text("utf-8"))
    assert table["columns"][:3] == ["prompt", "response", "judgement"]
    assert table["data"][0][2] == "fine . score : 5"


def test_the_alias_of_a_model_names_its_newest_version(project: Path, client: MlflowClient) -> None:
    """Another M2 is version 2, the same M2 is not; `models:/srlm_kedro@m2` is its folder."""
    run(project, made_by(outputs_of(project, "m2")))
    run(project, made_by(outputs_of(project, "m2")))
    first = client.get_model_version_by_alias("srlm_kedro", "m2")
    run(project, made_by({"m2.model": checkpoint(project, "m2", made=2)}))
    newest = client.get_model_version_by_alias("srlm_kedro", "m2")
    assert (int(first.version), int(newest.version)) == (1, 2)
    folder = Path(mlflow.artifacts.download_artifacts("models:/srlm_kedro@m2"))
    assert json.loads((folder / "model.json").read_text("utf-8")) == {"name": "m2", "made": 2}


def test_a_worse_model_is_marked_on_its_run_and_its_version(
    project: Path, client: MlflowClient
) -> None:
    """The mark is removed if the model is not worse by another margin."""
    for worse, said in ((1.0, "true"), (0.0, "false")):
        left = outputs_of(project, "m2") if worse else {}
        run(project, made_by(left | {"m2.selection_metrics": {"selection/worse": worse}}))
        assert runs(client)["m2"].data.tags["srlm.worse"] == said
        version = client.get_model_version_by_alias("srlm_kedro", "m2")
        assert version.tags["srlm.worse"] == said


def test_a_model_is_marked_before_it_has_a_version_too(project: Path, client: MlflowClient) -> None:
    """Without a registered model, as after the loss of a database, the run is marked."""
    run(project, made_by({"m2.selection_metrics": {"selection/worse": 1.0}}))
    assert runs(client)["m2"].data.tags["srlm.worse"] == "true"


def test_the_best_so_far_is_named_on_the_models_run(project: Path, client: MlflowClient) -> None:
    """A tag names the chosen folder."""
    run(project, made_by({"m2.best": checkpoint(project, "m1")}))
    assert runs(client)["m2"].data.tags["srlm.best"] == "m1"


def test_a_failure_leaves_failed_runs_with_what_they_held(
    project: Path, client: MlflowClient
) -> None:
    """The parent and the child at work are FAILED; a child that was done stays FINISHED."""
    pipeline = made_by(
        {"m2.eval_metrics": {"eval/a": 1.0}, "m3.judge_metrics": {"judge/a": 1.0}, "m3.pairs": 0},
        fails="m3.pairs",
    )
    with pytest.raises(RuntimeError, match="no more"):
        run(project, pipeline)
    found = runs(client)
    assert {name: item.info.status for name, item in found.items()} == {
        "parent": "FAILED",
        "m2": "FINISHED",
        "m3": "FAILED",
    }
    assert found["m3"].data.metrics == {"judge/a": 1.0}


def test_what_is_fresh_and_skipped_still_belongs_to_its_model(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only M2's training is remade: its new run holds the old judge's numbers, and M1's point."""
    early = {"m1.eval_metrics": {"eval/mean_score": 3.0}}
    whole = made_by(early | outputs_of(project, "m2"))
    catalog = run(project, whole)
    first = runs(client)["m2"].info.run_id
    monkeypatch.setattr(model_runs, "pipelines", {"__default__": whole})
    remade = whole.filter(to_outputs=["m2.train_metrics"])
    run(project, remade, catalog)
    found = runs(client)
    assert found["m2"].info.run_id != first
    assert found["m2"].data.metrics["judge/mean_reward"] == 5
    assert found["m2"].data.metrics["train/pairs"] == 12
    curve = client.get_metric_history(found["parent"].info.run_id, "eval/mean_score")
    assert {(m.step, m.value) for m in curve} == {(1, 3.0), (2, 4.0)}
    assert client.get_model_version_by_alias("srlm_kedro", "m2").run_id == first


def test_a_killed_process_leaves_runs_that_the_next_one_marks(
    project: Path, client: MlflowClient
) -> None:
    """Runs that a dead process of this host left RUNNING become KILLED; others stay as they are."""
    run(project, made_by({"m2.eval_metrics": {"eval/a": 1.0}}))
    parent = runs(client)["parent"]
    host = parent.data.tags["srlm.process"].split(":")[0]
    experiment = parent.info.experiment_id
    processes = [f"{host}:4194305:1", "other-host:1:1", parent.data.tags["srlm.process"]]
    left = [
        client.create_run(experiment, tags={"srlm.process": name}).info.run_id for name in processes
    ]
    run(project, made_by({"m3.eval_metrics": {"eval/a": 1.0}}))
    assert [client.get_run(item).info.status for item in left] == ["KILLED", "RUNNING", "RUNNING"]


def test_the_report_is_on_the_parent(project: Path, client: MlflowClient) -> None:
    """The page is an artifact; the description has the summary, and a link that compares."""
    made = {"report": "<p>all</p>", "summary": "M3 beats M2", "m2.eval_metrics": {"eval/a": 1.0}}
    run(project, made_by(made))
    parent = runs(client)["parent"]
    assert names_of(client, parent.info.run_id) == {"report.html"}
    note = parent.data.tags["mlflow.note.content"]
    assert "M3 beats M2" in note
    assert note.startswith("[Compare M2](#/compare-runs?runs=")
    assert "&workflowType=machine_learning)" in note
    assert runs(client)["m2"].info.run_id in note


def test_without_a_parent_run_nothing_is_written(project: Path) -> None:
    """A worker process, or a pipeline whose tracking is off, records nothing."""
    hooks = TrackingHooks()
    pipeline = made_by({"m2.pairs": PAIRS})
    hooks.before_pipeline_run(dict(RUN), pipeline, DataCatalog({}))
    hooks.before_node_run(pipeline.nodes[0])
    hooks.after_dataset_saved("m2.pairs", PAIRS)
    hooks.after_pipeline_run()
    assert not (project / "mlruns" / "artifacts").exists()


WRITES = (
    *("create_run", "log_batch", "log_text", "log_dict", "log_inputs", "set_terminated"),
    *("update_run", "set_tag", "create_model_version", "set_registered_model_alias"),
)


class Kill(BaseException):
    """Ends a run like `kill -9`, without cleaning up."""


def whole_of(folder: Path) -> Pipeline:
    """All datasets of a run of two models."""
    made = outputs_of(folder, "m2") | outputs_of(folder, "m3")
    return made_by({**made, "report": "<p>all</p>", "summary": "M3 beats M2"})


def run_until(at: int, project: Path, pipeline: Pipeline, catalog: DataCatalog) -> bool:
    """Runs what is not saved yet, up to the write to MLflow number `at`; whether that was reached.

    What follows a kill is what a dead process leaves: no run active, none closed.
    """
    writes = itertools.count(1)

    def counted(write: Any) -> Any:
        def or_kill(*arguments: Any, **options: Any) -> Any:
            if next(writes) == at:
                raise Kill
            return write(*arguments, **options)

        return or_kill

    left = [node.name for node in pipeline.nodes if not catalog.exists(node.outputs[0])]
    todo = pipeline.filter(node_names=left) if left else Pipeline([])
    said = run_owner.current_command.set("c0ffee")
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in WRITES:
                patch.setattr(MlflowClient, name, counted(getattr(MlflowClient, name)))
            run(project, todo, catalog)
    except Kill:
        mlflow.tracking.fluent._active_run_stack.get().clear()
        die(MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db"))
        return True
    finally:
        run_owner.current_command.reset(said)
    return False


def die(client: MlflowClient) -> None:
    """Makes open runs belong to a process that has ended."""
    for item in all_runs(client):
        if item.info.status == "RUNNING":
            host = item.data.tags["srlm.process"].split(":")[0]
            client.set_tag(item.info.run_id, "srlm.process", f"{host}:4194305:1")


def all_runs(client: MlflowClient) -> list[Run]:
    experiment = client.get_experiment_by_name("srlm_kedro")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def left_in(client: MlflowClient) -> dict[str, Any]:
    """What users see of all runs, by model: status, parameters, metrics and files."""
    found = {}
    for item in all_runs(client):
        run_id, data = item.info.run_id, item.data
        points = {
            key: sorted((p.step, p.value) for p in client.get_metric_history(run_id, key))
            for key in data.metrics
        }
        model = data.tags.get("model", "parent")
        assert model not in found, f"two runs of {model}"
        inputs = sorted(used.dataset.name for used in item.inputs.dataset_inputs)
        files = names_of(client, run_id)
        found[model] = (item.info.status, item.info.run_name, data.params, points, inputs, files)
    versions = client.search_model_versions("name = 'srlm_kedro'")
    found["versions"] = sorted(version.tags["model"] for version in versions)
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, database: Path) -> dict[str, Any]:
    """What a run writes that was not killed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for part in ("conf/base", "mlruns"):
        (folder / part).mkdir(parents=True)
    shutil.copy(SHIPPED, folder / "conf" / "base")
    shutil.copy(database, folder / "mlruns")
    with pytest.MonkeyPatch.context() as patch:
        whole = whole_of(folder)
        patch.setattr(model_runs, "pipelines", {"__default__": whole})
        run_until(0, folder, whole, DataCatalog({}))
    return left_in(MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db"))


@pytest.mark.parametrize("at", [2, 5, 8, 11, 14, 17, 20, 24, 28, 32, 36, 41])
def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been_killed(
    project: Path,
    client: MlflowClient,
    undisturbed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    at: int,
) -> None:
    """Whenever it is killed, even twice: each value once, one run per model, all FINISHED."""
    whole, catalog = whole_of(project), DataCatalog({})
    monkeypatch.setattr(model_runs, "pipelines", {"__default__": whole})
    assert run_until(at, project, whole, catalog)
    if run_until(at, project, whole, catalog):
        assert not run_until(0, project, whole, catalog)
    assert left_in(client) == undisturbed
    kept = project / "mlruns" / "artifacts"
    [table, _] = kept.glob("*/artifacts/judged_responses.json")
    assert len(json.loads(table.read_text("utf-8"))["data"]) == len(JUDGED)


def test_another_command_does_not_go_on_with_a_killed_run(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It marks the runs of the dead process, and the killed command continues them later."""
    whole, catalog = whole_of(project), DataCatalog({})
    monkeypatch.setattr(model_runs, "pipelines", {"__default__": whole})
    assert run_until(20, project, whole, catalog)
    killed = {item.info.run_id for item in all_runs(client)}
    m4 = Node(lambda knobs: {"eval/a": 1.0}, "params:knobs", "m4.eval_metrics", name="make_m4")
    run(project, Pipeline([m4]))
    assert {client.get_run(run_id).info.status for run_id in killed} <= {"KILLED", "FINISHED"}
    run_until(0, project, whole, catalog)
    assert {client.get_run(run_id).info.status for run_id in killed} == {"FINISHED"}
    assert sum("mlflow.parentRunId" not in item.data.tags for item in all_runs(client)) == 2


def test_a_number_that_came_out_otherwise_is_written_beside_the_old_one(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run shows the value that is on disk now."""
    monkeypatch.setattr(model_runs, "pipelines", {})
    for value, at in ((1.0, 10), (2.0, 0)):
        pipeline = made_by({"m2.eval_metrics": {"eval/a": value}})
        run_until(at, project, pipeline, DataCatalog({}))
    [child] = [item for item in all_runs(client) if "model" in item.data.tags]
    assert child.data.metrics["eval/a"] == 2.0
    written = client.get_metric_history(child.info.run_id, "eval/a")
    assert [point.value for point in written] == [1.0, 2.0]


def test_a_stopped_run_is_killed_not_failed(project: Path, client: MlflowClient) -> None:
    """Ctrl-C and SIGTERM kill the parent and open children; a finished child stays FINISHED."""

    def stop(knobs: KnobParams) -> None:
        raise KeyboardInterrupt

    done = made_by({"m2.eval_metrics": {"eval/a": 1.0}})
    stopped = Pipeline([Node(stop, "params:knobs", "m3.pairs", name="make_9")])
    with pytest.raises(KeyboardInterrupt):
        run(project, done + stopped)
    statuses = {name: item.info.status for name, item in runs(client).items()}
    assert statuses == {"parent": "KILLED", "m2": "FINISHED", "m3": "KILLED"}


def test_a_command_is_told_from_another_by_what_was_asked_for() -> None:
    """It does not matter how a missing filter is written."""
    asked = {"pipelines": ["iteration"], "parameters": {"seed": 1}}
    name = run_owner.command_identity(**asked, tags=None, namespaces=[])
    assert name == run_owner.command_identity(**asked, tags=())
    assert name != run_owner.command_identity(**asked, tags=("slow",))
    assert name != run_owner.command_identity(**asked | {"parameters": {"seed": 2}})
