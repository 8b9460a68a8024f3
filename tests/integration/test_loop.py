"""The whole loop with the scripted engines, run as users run it."""

import re

import pandas as pd
import pytest
from kedro.runner import ParallelRunner, SequentialRunner, ThreadRunner
from mlflow import MlflowClient

from srlm_kedro.errors import GateError, InputError
from srlm_kedro.freshness.manifest import content_digest
from srlm_kedro.running.composition import newest_model, raw_catalog


def models(project, data="data"):
    """Digest of every model on disk, by name."""
    return digests(project.path / data)


def digests(data):
    folders = (path for path in (data / "06_models").iterdir() if path.is_dir())
    return {path.name: content_digest(path) for path in folders}


def table(project, name):
    return pd.read_csv(project.path / f"data/08_reporting/{name}.csv")


def test_a_run_makes_m3_and_its_tables_and_the_second_has_nothing_to_do(project, capsys, caplog):
    """M0 to M3, the three tables with their columns, a summary, and then silence."""
    project.run()
    made = models(project)
    assert sorted(made) == ["m0", "m1", "m2", "m3", "sft"]
    duels = table(project, "head_to_head")
    assert list(duels) == ["model", "opponent", "win", "tie", "loss", "n", "low", "high"]
    assert set(zip(duels["model"], duels["opponent"], strict=True)) == {
        *(("m1", "sft"), ("m2", "m1"), ("m2", "sft"), ("m3", "m2"), ("m3", "sft")),
    }
    assert (duels[["win", "tie", "loss"]].sum(axis=1) - 100).abs().max() < 1e-9
    judges = table(project, "reward_modelling")
    metrics = ["pairwise_accuracy", "five_best", "exact_match", "spearman", "kendall"]
    assert list(judges) == ["model", *metrics, "n"]
    assert list(judges["model"]) == ["sft", "m1", "m2", "m3"]
    iterations = table(project, "iterations").set_index("model")
    assert (iterations.loc[["m2", "m3"], "responses"] == 48).all()
    assert iterations.loc["m3", ["pairs", "parse_rate", "seconds_training"]].notna().all()
    assert "M3" in capsys.readouterr().out

    written = {path: path.stat().st_mtime_ns for path in project.path.glob("data/0[2-8]*/**/*")}
    project.run()
    assert "Nothing to do" in caplog.text
    assert "M3" in capsys.readouterr().out
    assert written == {path: path.stat().st_mtime_ns for path in written}
    assert models(project) == made


def test_iterations_one_by_one_make_the_same_models_as_one_run(project, whole):
    """Step by step from an empty project: M2, M3 and on to M4, bit for bit."""
    project.run("iteration")
    assert sorted(models(project)) == ["m0", "m1", "m2", "sft"]
    project.run("iteration")
    assert models(project) == digests(whole)
    project.run("iteration")
    assert sorted(models(project)) == ["m0", "m1", "m2", "m3", "m4", "sft"]
    assert list(table(project, "reward_modelling")["model"]) == ["sft", "m1", "m2", "m3", "m4"]


def test_a_changed_beta_trains_again_but_samples_nothing_again(iterated):
    """What an iteration drew and judged stays; from M2 on, models and what they draw are new."""
    before = {path.name: path.stat().st_mtime_ns for path in outputs(iterated, "m2")}
    iterated.run("iteration", params={"iteration": 2, "dpo": {"beta": 0.7}})
    after = {path.name: path.stat().st_mtime_ns for path in outputs(iterated, "m2")}
    changed = {name for name in before if before[name] != after[name]}
    assert "judgements.parquet" not in changed
    assert "responses.parquet" not in changed
    assert "train_log.parquet" in changed


def test_a_changed_limit_is_checked_again_and_trains_nothing_again(iterated):
    """The gate is asked anew; models stay."""
    made = models(iterated)
    stamps = {p: p.stat().st_mtime_ns for p in iterated.path.glob("data/06_models/*/model.json")}
    suite = iterated.path / "conf/base/expectations/judged.yml"
    suite.write_text(suite.read_text("utf-8").replace("max_value: 0.97", "max_value: 0.98"))
    checked = iterated.path / "data/08_reporting/m2/judged_validation.json"
    before = checked.read_text("utf-8")
    iterated.run("iteration", params={"iteration": 2})
    assert checked.read_text("utf-8") != before
    assert models(iterated) == made
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}


def outputs(project, model):
    return (project.path / f"data/07_model_output/{model}").glob("*.parquet")


def test_another_seed_makes_other_models(founded):
    """The seed reaches everything."""
    before = models(founded)
    founded.run("foundation", params={"seed": 1})
    after = models(founded)
    assert not set(before.values()) & set(after.values())


def test_the_thread_runner_makes_the_same_models(iterated):
    """Order of running changes nothing."""
    made = models(iterated)
    iterated.run("iteration", params={"data": "data/threads"}, runner=ThreadRunner())
    assert models(iterated, "data/threads") == made


def test_all_faults_are_refused_at_once_before_any_work(project):
    """Mistyped names, wrong types, bad rows, shared prompts: one refusal, nothing written."""
    ift = project.path / "data/01_raw/ift.jsonl"
    eft = project.path / "data/01_raw/eft.jsonl"
    lines = eft.read_text("utf-8").splitlines()
    ift.write_text('{"id": "a"}\n', "utf-8")
    eft.write_text("\n".join([lines[0], lines[0]]) + "\n", "utf-8")
    with pytest.raises(InputError) as refusal:
        project.run(params={"dpoo": 1, "dpo": {"beta": "much"}, "sft": {"epoch": 2}})
    said = str(refusal.value)
    for part in ("`dpoo` is unknown; did you mean `dpo`", "dpo.beta", "sft.epoch", "epochs"):
        assert part in said
    assert "ift.jsonl, line 1" in said
    assert "occurs twice" in said
    assert not list(project.path.glob("data/0[2-8]*/**/*.parquet"))


@pytest.mark.parametrize(
    ("t", "said"),
    [(5, "M5 is made from M4"), (0, "greater than or equal to 1"), ("x", "valid integer")],
)
def test_an_iteration_without_its_predecessor_is_refused(project, t, said):
    """The message says what is lacking and what to run first."""
    with pytest.raises(InputError, match=said):
        project.run("iteration", params={"iteration": t})
    assert not (project.path / "data/06_models").exists()


def test_a_checkpoint_that_is_none_is_refused(iterated):
    """A broken model folder is named before any work."""
    (iterated.path / "data/06_models/m2/model.json").unlink()
    with pytest.raises(InputError, match=r"m2: a checkpoint is a Hugging Face folder"):
        iterated.run("iteration", params={"iteration": 3})
    assert not (iterated.path / "data/06_models/m3").exists()


def test_a_collapsed_judge_stops_the_run_before_training(founded):
    """A critical expectation fails: tables and results stay on disk, M2 is not made."""
    engine = "srlm_kedro.engines.generation.scripted.ScriptedEngine"
    kind = "srlm_kedro.datasets.engine.EngineDataset"
    options = {"score": 3}
    broken = {"type": kind, "engine": engine, "options": options}
    founded.configure("catalog", generation_engine=broken)
    with pytest.raises(GateError):
        founded.run("iteration", params={"eft": {"min_kept": 0}, "pairs": {"min_pairs": 1}})
    assert not (founded.path / "data/06_models/m2").exists()
    assert (founded.path / "data/07_model_output/m2/judgements.parquet").exists()


def test_a_later_value_of_a_schedule_leaves_earlier_models_alone(done):
    """M2's prompts, judgements and training stay when M3's numbers change."""
    before = {path.name: content_digest(path) for path in done.path.glob("data/06_models/m?")}
    stamps = {p: p.stat().st_mtime_ns for p in outputs(done, "m2")}
    done.run(params={"dpo": {"beta": [4.0, 4.2]}})
    after = {path.name: content_digest(path) for path in done.path.glob("data/06_models/m?")}
    assert {name for name in before if before[name] != after[name]} == {"m3"}
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def test_nothing_trains_ahead_of_a_gate_that_is_asked_again(iterated):
    """A contamination limit that is passed now stops the run before the changed training."""
    made = models(iterated)
    strict = {"ngram": 1, "min_overlap": 0, "max_overlap_share": 0, "max_exact_share": 0}
    with pytest.raises(GateError, match="overlap"):
        iterated.run(
            "iteration", params={"iteration": 2, "contamination": strict, "dpo": {"beta": 0.9}}
        )
    assert models(iterated) == made


def test_a_model_of_a_remade_elder_is_not_built_upon(done):
    """After M2 is made anew, the next model is M3 from it, not M4 from the old M3."""
    done.run("iteration", params={"iteration": 2, "dpo": {"beta": 0.9}})
    with done.session("test") as session:
        assert newest_model(raw_catalog(session.load_context())) == 2


def test_parameters_that_nothing_reads_are_refused(project):
    """A model named to a run of the microworld, or an iteration to a run of all of them."""
    with pytest.raises(InputError) as refusal:
        project.run(params={"model": "somewhere", "iteration": 7})
    assert "`model`: nothing reads it" in str(refusal.value)
    assert "`iteration`: nothing reads it" in str(refusal.value)


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ([], {}),
        (["iteration"], {"params": {"iteration": 3}}),
        ([], {"namespaces": ["m2"]}),
        ([], {"from_nodes": ["m2.write_prompts"]}),
        ([], {"runner": ThreadRunner}),
        ([], {"runner": ParallelRunner}),
    ],
    ids=["all", "iteration", "namespace", "from_nodes", "threads", "processes"],
)
def test_what_is_fresh_is_skipped_however_it_is_asked_for(done, caplog, names, options):
    """And what is stale is made, no more; then there is nothing to do again."""
    options = {**options, "runner": options.get("runner", SequentialRunner)()}
    done.run(*names, **options)
    assert "Nothing to do" in caplog.text
    lost = done.path / "data/08_reporting/m2/eval_metrics.json"
    before = lost.read_text("utf-8")
    lost.unlink()
    caplog.clear()
    done.run(*names, **options)
    assert "m2.eval_metrics is missing" in caplog.text
    assert lost.read_text("utf-8") == before
    caplog.clear()
    done.run(*names, **options)
    assert "Nothing to do" in caplog.text


def test_the_process_runner_makes_and_records_the_same_models(project, iteration):
    """What worker processes made is in MLflow too."""
    project.run("iteration", runner=ParallelRunner())
    made = models(project)
    client = MlflowClient(f"sqlite:///{project.path}/mlruns/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name("srlm_kedro").experiment_id])
    children = {run.data.tags["model"]: run for run in found if "model" in run.data.tags}
    assert set(children) == set(made)
    assert {run.info.status for run in found} == {"FINISHED"}
    assert "eval/mean_score" in children["m2"].data.metrics
    assert digests(iteration) == made


def test_status_shows_what_a_run_would_make_and_makes_nothing(done, capsys):
    """With the parameters and the environment of the run; no lock, no MLflow run, no file."""
    before = {path: path.stat().st_mtime_ns for path in done.path.rglob("data/**/*")}
    done.run("status")
    assert "A run has nothing to do." in capsys.readouterr().out
    done.run("status", params={"dpo": {"beta": 0.9}})
    said = capsys.readouterr().out
    assert re.search(r"m2\.train_dpo +stale +params:dpo changed", said)
    assert re.search(r"m2\.write_prompts +fresh", said)
    done.run("status", "iteration")
    assert re.search(r"m4\.train_dpo +missing", capsys.readouterr().out)
    assert before == {path: path.stat().st_mtime_ns for path in done.path.rglob("data/**/*")}
    client = MlflowClient(f"sqlite:///{done.path}/mlruns/mlflow.db")
    assert client.get_experiment_by_name("srlm_kedro") is None, "MLflow was set up"


def test_a_pipeline_of_no_known_name_is_refused(project):
    """The message lists those that there are."""
    with pytest.raises(InputError, match=r"`iteratoin` is unknown;.* there are .*iteration"):
        project.run("iteratoin")
