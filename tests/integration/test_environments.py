"""Every configuration that ships loads and, with the scripted engines, runs."""

import pandas as pd
import pytest
import yaml

from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.running.composition import compose_loop, raw_catalog
from tests.integration.conftest import ROOT
from tests.server import serve

ENVIRONMENTS = sorted(p.name for p in (ROOT / "conf").iterdir() if list(p.glob("*.yml")))
REAL = ["one_gpu", "paper", "smollm"]
OTHERS = ["base", "test", "criteria", "one_node", "cluster", *REAL]
CONTROLS = [name for name in ENVIRONMENTS if name not in OTHERS]


def leaves(values, name=""):
    """Dotted names of all values in nested mappings."""
    if not isinstance(values, dict) or not values:
        return {name}
    return {leaf for key, value in values.items() for leaf in leaves(value, f"{name}.{key}")}


@pytest.fixture(scope="module")
def server():
    """An OpenAI-compatible server that judges."""
    with serve(ScriptedEngine()) as running:
        yield running


def scripted(project, env, url=""):
    """Gives a control the scripted engines and the small numbers of the test environment."""
    for name in ("catalog", "parameters"):
        test = yaml.safe_load((project.path / f"conf/test/{name}.yml").read_text("utf-8"))
        own = project.path / f"conf/{env}/{name}.yml"
        held = yaml.safe_load(own.read_text("utf-8")) if own.exists() else {}
        if "loop" in test:
            held["loop"] = test["loop"] | held.get("loop", {})
        if env == "multiple_choice" and "loop" in held:
            held["loop"] = {"world": "given"}  # the main run's M0, made by the scripted engine
        if env == "checked" and name == "catalog":
            held["checker"] = yaml.safe_load(
                (project.path / "conf/base/catalog.yml").read_text("utf-8")
            )["checker"]
        text = yaml.safe_dump(test | held).replace("http://127.0.0.1:8000/v1", url)
        # The scripted engine writes prompts that are no instructions of the microworld.
        text = text.replace("srlm_kedro.microworld.oracle.Oracle", "tests.unit.fakes.LengthReferee")
        own.write_text(text, "utf-8")


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_configuration_is_sound(project, env):
    """All parameters are known and typed, all datasets of all pipelines resolve."""
    with project.session(env) as session:
        context = session.load_context()
        given = context.config_loader["parameters"]
        assert compose_loop(given, raw_catalog(context), ["__default__"]) == []
        from kedro.framework.project import pipelines

        catalog = context.catalog
        for pipeline in pipelines.values():
            for name in pipeline.datasets():
                assert catalog.get(name) is not None, name


@pytest.mark.parametrize("env", REAL)
def test_no_number_of_the_microworld_reaches_real_models(env):
    """What conf/base sets for a model of 0.8M parameters is set again."""
    base, own = (
        yaml.safe_load((ROOT / f"conf/{name}/parameters.yml").read_text("utf-8"))
        for name in ("base", env)
    )
    for made_here in ("microworld", "pretraining"):
        del base[made_here]
    set_in_base = {leaf for leaf in leaves(base) if leaf.count(".") > 1}
    assert set_in_base - leaves(own) == set()


@pytest.mark.parametrize("env", ["base", "smollm", "one_gpu"])
@pytest.mark.parametrize("place", ["one_node", "cluster"])
def test_where_the_work_is_done_makes_nothing_stale(project, env, place):
    """What an engine's results depend on is the same, and only the place differs."""
    found = []
    for name in (env, f"{env}+{place}"):
        with project.session(name) as session:
            catalog = session.load_context().catalog
            engines = [catalog.get(f"{one}_engine") for one in ("generation", "training")]
            found.append([one.fingerprint() for one in engines])
    assert found[0] == found[1]
    assert engines[0]._replicas["count"] == "auto"
    assert engines[1].spec["resources"]["ranks"] == "auto"


def test_the_paper_configuration_is_the_paper(project):
    """Effective values, as the nodes get them."""
    with project.session("paper") as session:
        context = session.load_context()
        compose_loop(context.config_loader["parameters"], raw_catalog(context), ["__default__"])
        load = context.catalog.load
        sft, dpo, prompts = (load(f"params:{name}") for name in ("sft", "dpo", "prompts"))
        responses, judging = (load(f"params:{name}").sampling for name in ("responses", "judging"))
        oasst = load("params:oasst")
    assert (sft.learning_rate, sft.min_learning_rate) == (5.5e-6, 1.1e-6)
    assert (dpo.learning_rate, dpo.min_learning_rate, dpo.beta) == ((1e-6,), (1e-7,), (0.1,))
    assert {(one.batch_size, one.dropout, one.lora) for one in (sft, dpo)} == {(16, 0.1, None)}
    assert (prompts.ift_demonstrations, prompts.model_demonstrations) == (6, 2)
    assert (prompts.sampling.temperature, prompts.sampling.top_p) == (0.6, 0.9)
    assert float(prompts.filters.max_rouge_l) == 0.7
    assert (responses.n, responses.temperature, responses.top_p) == (4, 0.7, 0.9)
    assert (judging.n, judging.temperature, judging.top_p) == (3, 0.7, 0.9)
    assert (oasst.ift_count, oasst.eval_count, oasst.languages) == (3200, 256, ("en",))


@pytest.mark.parametrize("env", CONTROLS)
def test_a_control_runs_beside_the_main_run_and_shares_its_groundwork(founded, env, server):
    """M0 to EFT come from the main run; what the control makes lies in its own folder."""
    before = {p: p.stat().st_mtime_ns for p in (founded.path / "data").rglob("*.parquet")}
    scripted(founded, env, server.url)
    founded.run(env=env)
    own = founded.path / f"data/controls/{env}"
    assert (own / "06_models/m2/model.json").exists()
    assert not (own / "06_models/m0").exists()
    assert before == {path: path.stat().st_mtime_ns for path in before}
    duels = pd.read_csv(own / "08_reporting/head_to_head.csv")
    assert {"m1", "m2"} <= set(duels["model"])


def test_another_judge_prompt_has_its_own_eft_and_baseline_figures(founded):
    """Which the main run's stay beside: one baseline, measured as a judge by both prompts."""
    scripted(founded, "multiple_choice")
    founded.run("foundation", env="multiple_choice")
    own = founded.path / "data/controls/multiple_choice"
    prompts = [
        pd.read_parquet(folder / "05_model_input/eft/eft_train.parquet")["prompt"].iloc[0]
        for folder in (founded.path / "data", own)
    ]
    assert "Add 1 point" in prompts[0]
    assert "Choose the one description" in prompts[1]
    assert (own / "06_models/m1/model.json").exists()
    assert not (own / "07_model_output/sft/train_log.parquet").exists()


def test_m0_writes_the_prompts_of_every_iteration(founded):
    """And M1 answers them."""
    with founded.session("m0_prompts") as session:
        context = session.load_context()
        compose_loop(context.config_loader["parameters"], raw_catalog(context), ["__default__"])
        from kedro.framework.project import pipelines

        readers = {
            node.name: node.inputs
            for node in pipelines["__default__"].nodes
            if node.name.endswith(("write_prompts", "draw_responses"))
        }
    assert "m0.model" in readers["m3.write_prompts"]
    assert "m2.model" in readers["m3.draw_responses"]


def test_shuffled_rewards_keep_the_pairs_and_turn_some(iterated):
    """The same texts paired, in another order for some."""
    scripted(iterated, "shuffled_rewards")
    iterated.run("iteration", env="shuffled_rewards")
    main = pd.read_parquet(iterated.path / "data/05_model_input/m2/pairs.parquet")
    folder = iterated.path / "data/controls/shuffled_rewards"
    control = pd.read_parquet(folder / "05_model_input/m2/pairs.parquet")
    texts = ["chosen_id", "rejected_id"]
    assert (main[texts].apply(set, axis=1) == control[texts].apply(set, axis=1)).all()
    turned = (main["chosen_id"] != control["chosen_id"]).mean()
    assert 0 < turned < 1


def test_a_server_that_fails_half_way_is_paid_once(founded):
    """The run stops with the server, what was answered is kept, and a rerun asks for the rest."""
    down = {"after": 40}
    with serve(ScriptedEngine(), faults=lambda n, body: 500 if n >= down["after"] else None) as one:
        scripted(founded, "external_judge", one.url)
        catalog = founded.path / "conf/external_judge/catalog.yml"
        held = yaml.safe_load(catalog.read_text("utf-8"))
        held["external_judge_engine"]["options"] |= {"retries": 0}
        catalog.write_text(yaml.safe_dump(held), "utf-8")
        with pytest.raises(GateError, match="no answer after"):
            founded.run("iteration", env="external_judge")
        answered = len(one.requests)
        down["after"] = 10**9
        founded.run("iteration", env="external_judge")
        judgements = founded.path / "data/controls/external_judge/07_model_output/m2"
        asked = [str(body["messages"]) + str(body["seed"]) for body in one.requests[:40]]
        again = [str(body["messages"]) + str(body["seed"]) for body in one.requests[answered:]]
        assert len(pd.read_parquet(judgements / "judgements.parquet")) > 40
        assert not set(asked) & set(again)


def test_a_judge_that_nobody_serves_is_refused_before_any_work(project):
    """A fresh clone: the first training would take the time until it is missed."""
    scripted(project, "external_judge", "http://127.0.0.1:9/v1")
    with pytest.raises(InputError, match=r"external_judge_engine: .*127\.0\.0\.1:9/v1: "):
        project.run(env="external_judge")
    assert not list((project.path / "data").rglob("*.parquet"))
