"""Which tracking address counts, and how it is written."""

from pathlib import Path

import pytest
import yaml
from kedro.config import OmegaConfigLoader

from srlm_kedro.errors import InputError
from srlm_kedro.tracking.address import (
    artifact_subfolder,
    configuration,
    database_file,
    effective,
    is_server,
    is_tracked,
    sqlite_uri,
    visible_uri,
    where_to_look,
)

SHIPPED = Path(__file__).parents[3] / "conf/base/mlflow.yml"
PROJECT = Path("/home/a%20b?c")


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def conf(tmp_path):
    """Writes mlflow.yml of an environment; conf/base has the shipped one."""

    def write(env, **content):
        (tmp_path / env).mkdir(exist_ok=True)
        (tmp_path / env / "mlflow.yml").write_text(yaml.safe_dump(content), "utf-8")
        return tmp_path

    write("base", **yaml.safe_load(SHIPPED.read_text("utf-8")))
    return write


def loaded(folder, env=None):
    for name in ("local", env or "local"):
        (folder / name).mkdir(exist_ok=True)
    loader = OmegaConfigLoader(str(folder), env=env, base_env="base", default_run_env="local")
    return configuration(loader)


@pytest.mark.parametrize("env", [None, "local", "test", "base"])
def test_conf_local_is_read_with_every_environment(conf, env):
    """It holds only what differs."""
    folder = conf("local", server={"mlflow_tracking_uri": "http://one:5000"})
    config = loaded(folder, env)
    assert config["server"]["mlflow_tracking_uri"] == "http://one:5000"
    assert config["tracking"]["experiment"]["name"] == "srlm_kedro"
    assert config["tracking"]["disable_tracking"]["pipelines"] == ["estimate", "readiness"]


def test_the_environments_own_file_counts_before_conf_local(conf):
    """It is more specific; the other entries of both stay."""
    conf("local", server={"mlflow_tracking_uri": "http://one"}, ui={"port": "5001"})
    folder = conf("paper", server={"mlflow_tracking_uri": "http://two"})
    config = loaded(folder, "paper")
    assert config["server"]["mlflow_tracking_uri"] == "http://two"
    assert config["ui"] == {"host": "127.0.0.1", "port": "5001"}
    assert loaded(folder, "test")["server"]["mlflow_tracking_uri"] == "http://one"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("server: {", r"local/mlflow\.yml: cannot be read: .*line"),
        ("server: ${globals:nowhere}", r"local/mlflow\.yml: cannot be read: "),
        (
            "server: http://one",
            r"local/mlflow\.yml: `server` is 'http://one', but must hold entries",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_named(conf, content, said):
    """The message says what is wrong in it."""
    folder = conf("local")
    (folder / "local/mlflow.yml").write_text(content, "utf-8")
    with pytest.raises(InputError, match=said):
        loaded(folder, "test")


def test_the_variable_counts_before_all_files(monkeypatch):
    """A relative path starts at the project, as in mlflow.yml; an empty variable does not count."""
    config = {"server": {"mlflow_tracking_uri": "http://one"}}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://two")
    assert effective(config, PROJECT)["server"]["mlflow_tracking_uri"] == "http://two"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///x.db")
    found = effective(config, Path("/p"))["server"]["mlflow_tracking_uri"]
    assert found == "sqlite:////p/x.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert effective(config, PROJECT)["server"]["mlflow_tracking_uri"] == "http://one"
    assert config == {"server": {"mlflow_tracking_uri": "http://one"}}


def test_a_database_of_the_project_is_found_by_its_address_whatever_its_folder_is_called():
    """Applying it twice gives the same as applying it once."""
    config = effective({"server": {"mlflow_tracking_uri": "sqlite:///mlruns/x.db"}}, PROJECT)
    uri = config["server"]["mlflow_tracking_uri"]
    assert uri == "sqlite:////home/a%2520b%3Fc/mlruns/x.db" == sqlite_uri(PROJECT / "mlruns/x.db")
    assert database_file(uri) == PROJECT / "mlruns/x.db"
    assert effective(config, PROJECT) == config


@pytest.mark.parametrize(
    "uri", ["sqlite:////w/x.db", "sqlite:///:memory:", "sqlite://", "postgresql://h/d", "mlruns"]
)
def test_other_addresses_stay_as_they_are(uri):
    """kedro-mlflow and MLflow know them."""
    found = effective({"server": {"mlflow_tracking_uri": uri}}, PROJECT)
    assert found["server"]["mlflow_tracking_uri"] == uri
    assert (database_file(uri) is None) == (uri != "sqlite:////w/x.db")


@pytest.mark.parametrize(
    ("uri", "place", "kept"),
    [
        ("http://one", "mlruns/artifacts", False),
        ("HTTPS://one", "mlruns/artifacts", False),
        ("databricks", "mlruns/artifacts", False),
        ("http://one", "s3://bucket/runs", True),
        ("http://one", "/disk/runs", True),
        ("sqlite:///mlruns/x.db", "mlruns/artifacts", True),
        ("postgresql://h/d", "mlruns/artifacts", True),
    ],
)
def test_a_server_keeps_its_own_artifacts_unless_a_place_is_named(uri, place, kept):
    """A server does not keep artifacts in a folder of the project."""
    experiment = {"name": "one", "create_experiment_kwargs": {"artifact_location": place}}
    config = {"server": {"mlflow_tracking_uri": uri}, "tracking": {"experiment": experiment}}
    found = effective(config, PROJECT)["tracking"]["experiment"]["create_experiment_kwargs"]
    assert found == ({"artifact_location": place} if kept else {})
    assert (artifact_subfolder(config) == Path("mlruns/artifacts")) == (place == "mlruns/artifacts")
    assert is_server(uri) == (not uri.startswith(("sqlite", "postgresql")))


def test_pipelines_that_leave_no_run_need_no_mlflow():
    """A run is recorded as soon as one of its pipelines is."""
    config = {"tracking": {"disable_tracking": {"pipelines": ["estimate"]}}}
    assert not is_tracked(config, ["estimate"])
    assert is_tracked(config, ["estimate", "iteration"])
    assert is_tracked(config, None)
    assert is_tracked({}, ["estimate"])
    assert not is_tracked({"tracking": {"disable_tracking": {"pipelines": ["__default__"]}}}, None)


def test_no_password_is_shown():
    """Servers and databases lose it; an SQLite database is shown as its file."""
    assert visible_uri("http://me:hunter2@one:5000/x") == "http://one:5000/x"
    assert visible_uri("postgresql://me:hun@ter2@one/db") == "postgresql://one/db"
    assert visible_uri("sqlite:////w/a@b%25/x.db") == "/w/a@b%/x.db"


def test_where_to_look_is_the_address_in_use(tmp_path):
    """A server's page, or the page of `make mlflow`, at the experiment if that exists."""
    experiment = {"experiment": {"name": "one"}}
    server = {"server": {"mlflow_tracking_uri": "https://me:x@one:8/m"}, "tracking": experiment}
    assert where_to_look(server) == "https://one:8/m/#/experiments (the experiment one)"
    uri = sqlite_uri(tmp_path / "x.db")
    ours = {"server": {"mlflow_tracking_uri": uri}, "ui": {"port": "5001"}, "tracking": experiment}
    assert where_to_look(ours) == "make mlflow, then http://127.0.0.1:5001/#/experiments"
    assert not list(tmp_path.iterdir())
