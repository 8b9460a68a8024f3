"""Every configuration that ships loads and, with the scripted engines, runs."""

import pandas as pd
import pytest
import yaml

from tests.integration.conftest import ROOT

ENVIRONMENTS = sorted(p.name for p in (ROOT / "conf").iterdir() if (p / "parameters.yml").exists())
CONTROLS = [name for name in ENVIRONMENTS if name not in ("base", "test")]


def scripted(project, env):
    """Gives a control the scripted engines and the small numbers of the test environment."""
    for name in ("catalog", "parameters"):
        test = yaml.safe_load((project.path / f"conf/test/{name}.yml").read_text("utf-8"))
        own = project.path / f"conf/{env}/{name}.yml"
        held = yaml.safe_load(own.read_text("utf-8")) if own.exists() else {}
        own.write_text(yaml.safe_dump(test | held), "utf-8")


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_configuration_is_sound(project, env):
    """All parameters are known and typed, all datasets of all pipelines resolve."""
    from srlm_kedro.session import compose_loop, raw_catalog

    with project.session(env) as session:
        context = session.load_context()
        given = context.config_loader["parameters"]
        assert compose_loop(given, raw_catalog(context), ["__default__"]) == []
        from kedro.framework.project import pipelines

        catalog = context.catalog
        for pipeline in pipelines.values():
            for name in pipeline.datasets():
                assert catalog.get(name) is not None, name


@pytest.mark.parametrize("env", CONTROLS)
def test_a_control_runs_beside_the_main_run_and_shares_its_groundwork(project, env):
    """M0 to EFT come from the main run; what the control makes lies in its own folder."""
    project.run("foundation")
    before = {p: p.stat().st_mtime_ns for p in (project.path / "data").rglob("*.parquet")}
    scripted(project, env)
    project.run(env=env)
    own = project.path / f"data/controls/{env}"
    assert (own / "06_models/m2/model.json").exists()
    assert not (own / "06_models/m0").exists()
    assert before == {path: path.stat().st_mtime_ns for path in before}
    duels = pd.read_csv(own / "08_reporting/head_to_head.csv")
    assert {"m1", "m2"} <= set(duels["model"])


def test_shuffled_rewards_keep_the_pairs_and_turn_some(project):
    """The same texts paired, in another order for some."""
    project.run("iteration")
    scripted(project, "shuffled_rewards")
    project.run("iteration", env="shuffled_rewards")
    main = pd.read_parquet(project.path / "data/05_model_input/m2/pairs.parquet")
    folder = project.path / "data/controls/shuffled_rewards"
    control = pd.read_parquet(folder / "05_model_input/m2/pairs.parquet")
    texts = ["chosen_id", "rejected_id"]
    assert (main[texts].apply(set, axis=1) == control[texts].apply(set, axis=1)).all()
    turned = (main["chosen_id"] != control["chosen_id"]).mean()
    assert 0 < turned < 1
