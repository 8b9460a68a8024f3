"""What makes an output stale, and how much a change of it costs."""

import functools
import json
import logging
import re
import shutil

import pytest
from mlflow import MlflowClient

from srlm_kedro.datasets.engine import EngineDataset
from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.freshness import provenance
from srlm_kedro.freshness.hooks import FreshnessHooks
from srlm_kedro.freshness.plan import make_plan
from srlm_kedro.records import Checkpoint
from srlm_kedro.running.selecting import RunRequest, choose_nodes

DRAWN = {
    *("draw_responses", "judge_candidates", "write_prompts", "judge_ranked", "judge_eft_eval"),
    *("draw_eval_responses", "judge_own", "judge_shuffled", "train_m0", "train_sft", "train_m1"),
    *("train_dpo", "draw_validation_responses", "judge_validation_responses"),
}
"""Nodes whose work costs hours with a real model."""


def short(names):
    """Nodes without their models' names."""
    return {name.rpartition(".")[2] for name in names}


def stale(project, **params):
    """The nodes that a run would look at, with the reasons."""
    with project.session(**params) as session:
        context = session.load_context()
        return make_plan(choose_nodes(context, RunRequest(None, [], {})), context.catalog).stale


def changed(project, **params):
    """The nodes whose own recipe is another one; those that hang on them alone are left out."""
    return of_their_own(stale(project, **params))


def of_their_own(reasons):
    """The nodes among those that a run would look at whose own recipe is another one."""
    return short(name for name, reason in reasons.items() if reason.endswith("changed"))


def statuses(project):
    """How the runs in MLflow ended; the newest comes first."""
    client = MlflowClient(f"sqlite:///{project.path}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("srlm_kedro")
    return [run.info.status for run in client.search_runs([experiment.experiment_id])]


@pytest.fixture
def ran(monkeypatch):
    """The names of the nodes that run, in their order."""
    names = []
    noted = FreshnessHooks.before_node_run

    @functools.wraps(noted)
    def note(self, node, catalog):
        names.append(node.name)
        return noted(self, node, catalog)

    monkeypatch.setattr(FreshnessHooks, "before_node_run", note)
    return names


def test_a_parameter_counts_where_it_is_read(done):
    """By groups finer than those of the configuration: what draws, and what only reads."""
    for group, name, value, readers in [
        ("evaluation", "resamples", 150, {"settle_comparisons"}),
        ("evaluation", "max_unparsed", 0.2, {"settle_comparisons"}),
        ("evaluation", "retries", 3, {"judge_eft_eval", "judge_own", "settle_comparisons"}),
        ("judging", "min_scores", 2, {"reward_responses"}),
        ("judging", "max_unparsed", 0.2, {"reward_responses"}),
        ("judging", "retries", 1, {"judge_candidates"}),
        ("eft", "agreement", "set", {"split_eft"}),
        ("eft", "min_kept", 2, {"split_eft"}),
        ("pairs", "min_pairs", 2, {"make_pairs"}),
        ("rollback", "resamples", 150, {"compare_with_previous"}),
        ("dpo", "max_log_ratio", 4.0, {"check_training"}),
        ("sft", "micro_batch_size", 8, set()),
    ]:
        found = changed(done, **{group: {name: value}})
        assert found - {"check_lengths", "write_card"} == readers, f"{group}.{name}"
    assert changed(done) == set()


def test_what_comes_out_as_it_was_has_nothing_drawn_for_it(done, ran, capsys):
    """Other draws of the bootstrap change tables of results, and no text and no model."""
    done.run("status", params={"judging": {"min_scores": 3}})
    assert "at most: the cheap ones come first" in capsys.readouterr().out
    done.run(params={"evaluation": {"resamples": 150}})
    assert "settle_comparisons" in short(ran)
    assert not short(ran) & DRAWN


def test_a_finished_model_is_not_replaced_in_silence(done, caplog):
    """Which ones, and how to keep them; before anything is made."""
    with caplog.at_level(logging.INFO, "srlm_kedro"):
        done.run(params={"dpo": {"beta": 0.5}})
    [told] = [line for line in caplog.messages if "made again; this" in line]
    assert told.startswith("M2, M3: made again; this replaces what is in")
    assert "--params=data=OTHER" in told


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ({"eft": {"min_kept": 100_000}}, r"eft\.min_kept"),
        ({"dpo": {"max_log_ratio": 0.001}}, r"m2 was trained beyond a limit.*dpo\.max_log_ratio"),
    ],
)
def test_a_limit_that_is_tightened_is_asked_of_what_is_fresh(done, ran, limit, told):
    """The run stops before anything is drawn; with the old limit all is fresh again."""
    with pytest.raises(GateError, match=rf"(?s){told}"):
        done.run(params=limit)
    assert set(statuses(done)) == {"FAILED"}
    done.run()
    assert not short(ran) & DRAWN
    assert changed(done) == set()


def test_an_edited_seed_row_is_seen_though_a_pipeline_wrote_the_file(project, ran):
    """Its manifest is not believed over its bytes; nor is the edit called damage."""
    project.run("seed_data")
    project.run("foundation")
    file = project.path / "data/01_raw/ift.jsonl"
    assert file.with_name("ift.jsonl.manifest.json").exists()
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    rows[3]["response"] = "Something else."
    file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    ran.clear()
    project.run("foundation")
    assert short(ran) >= {"prepare_ift", "train_sft", "train_m1"}


def test_settings_of_the_seed_data_are_refused_where_nothing_makes_it(project, ran):
    """They never reach M0."""
    with pytest.raises(InputError, match=r"microworld\.seed_data.*--pipeline=seed_data"):
        project.run(params={"microworld": {"seed_data": {"ift": 100}}})
    assert ran == []


def test_a_limit_is_asked_of_what_is_made_anew_and_not_of_what_was(done, ran):
    """More prompts make more pairs: the old ones are no reason to stop."""
    done.run(params={"prompts": {"count": 24}, "pairs": {"min_pairs": 13}})
    order = [name for name in ran if name.startswith("m2.")]
    assert order.index("m2.draw_responses") < order.index("m2.make_pairs")


def test_nothing_is_trained_ahead_of_a_gate(done, ran):
    """A lost model waits for a gate whose limits were tightened."""
    file = done.path / "conf/base/expectations/seed.yml"
    text = re.sub(r"min_value: [\d.]+", "min_value: 100000", file.read_text("utf-8"), count=1)
    file.write_text(text, "utf-8")
    shutil.rmtree(done.path / "data/06_models/sft")
    with pytest.raises(GateError):
        done.run()
    assert "sft.train_sft" not in ran


@pytest.fixture
def other(monkeypatch):
    """Has a module or a library say that it is another one than it was."""

    def change(part):
        made_by, engine = provenance.made_by, provenance.engine_made_by

        def altered(found):
            return found | ({part: "another"} if part in found else {})

        monkeypatch.setattr(
            "srlm_kedro.freshness.recipe.made_by", lambda *asked: altered(made_by(*asked))
        )
        for user in ("srlm_kedro.freshness.recipe", "srlm_kedro.datasets.engine"):
            monkeypatch.setattr(f"{user}.engine_made_by", lambda spec: altered(engine(spec)))

    return change


@pytest.mark.parametrize(
    ("part", "draws"),
    [
        ("code of srlm_kedro.engines.generation.scripted", {"draw_responses", "judge_candidates"}),
        ("code of srlm_kedro.judge.prompt", {"judge_candidates", "judge_ranked"}),
        ("code of srlm_kedro.engines.training.scripted", {"train_sft", "train_m1", "train_dpo"}),
        ("code of srlm_kedro.datasets.rows.fields", set()),
        ("code of srlm_kedro.pipelines.pairs", set()),
        ("code of srlm_kedro.judge.parsing", set()),
    ],
)
def test_code_counts_wherever_it_stands(done, other, part, draws):
    """Of what reads texts, the texts stay; all of it can be accepted as it is."""
    other(part)
    reasons = stale(done)
    found = of_their_own(reasons)
    assert found
    assert bool(found & DRAWN) == bool(draws)
    assert short(reasons) >= draws
    done.run("accept")
    assert changed(done) == set()


def test_a_half_drawn_table_is_not_gone_on_with_by_another_sampler(project, other):
    """What an engine keeps of unfinished work goes by its code too."""
    entry = {"engine": "srlm_kedro.engines.generation.scripted.ScriptedEngine"}
    model = Checkpoint(project.path, "m1")
    shards = {"folder": str(project.path / "shards")}
    request = [Request("r", "Name two flowers.")]

    def kept():
        engine = EngineDataset(**entry, shards=shards).load()
        engine.generate(model, request, Sampling(max_new_tokens=5), 0)
        return len(list((project.path / "shards").rglob("*.*")))

    first = kept()
    assert kept() == first
    other("code of srlm_kedro.engines.generation.scripted")
    assert kept() > first
