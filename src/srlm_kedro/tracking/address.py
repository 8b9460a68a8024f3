"""Where runs are recorded: the settings of conf/ and the environment, as an address for MLflow.

Nothing here loads MLflow or asks a server, because the closing text of a run with nothing to do
needs the address too.
"""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from kedro.config import OmegaConfigLoader
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from srlm_kedro.errors import InputError
from srlm_kedro.params import environments

VARIABLE = "MLFLOW_TRACKING_URI"
"""The environment variable that overrides every mlflow.yml."""

_SQLITE = "sqlite:///"
_MEMORY = ":memory:"
_SERVERS = ("http", "https", "databricks", "uc")
_PATTERNS = ["mlflow*", "mlflow*/**", "**/mlflow*"]
_PAGE = "workflowType=machine_learning"


def configuration(loader: OmegaConfigLoader) -> dict[str, Any]:
    """The settings of mlflow.yml: the run's environment over conf/local over conf/base.

    A server belongs to the machine, so conf/local is read with every environment.

    Raises:
        InputError: A file cannot be read.
    """
    loader.config_patterns.setdefault("mlflow", _PATTERNS)
    if "mlflow" in loader:  # the maker of the loader has set it
        return deepcopy(loader["mlflow"])
    chosen = environments(loader.env) or [loader.default_run_env]
    config: dict[str, Any] = {}
    for name in dict.fromkeys([loader.base_env, loader.default_run_env, *chosen]):
        folder = Path(loader.conf_source, name)
        if folder.is_dir():
            config = _merged(config, _read(loader, folder))
    return config


def effective(config: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """The configuration that a run uses.

    The variable MLFLOW_TRACKING_URI replaces the address. A relative SQLite path becomes absolute.
    A server chooses where artifacts go, unless the configuration names a folder outside of the
    project.
    """
    config = deepcopy(dict(config))
    server = config["server"] = config.get("server") or {}
    uri = os.environ.get(VARIABLE) or server.get("mlflow_tracking_uri") or ""
    if uri:
        server["mlflow_tracking_uri"] = uri = _absolute(uri, project)
    if is_server(uri) and artifact_subfolder(config) is not None:
        del config["tracking"]["experiment"]["create_experiment_kwargs"]["artifact_location"]
    return config


def is_tracked(config: Mapping[str, Any], pipelines: list[str] | None) -> bool:
    """Whether a run of these pipelines is recorded; None is the pipeline `__default__`."""
    untracked = _within(config, "tracking", "disable_tracking").get("pipelines") or []
    return not all(name in untracked for name in pipelines or ["__default__"])


def address_source() -> str:
    """Which setting names the address, for a message."""
    if os.environ.get(VARIABLE):
        return f"the variable {VARIABLE}, which overrides every mlflow.yml"
    return "server.mlflow_tracking_uri in conf/local/mlflow.yml or conf/base/mlflow.yml"


def artifact_subfolder(config: Mapping[str, Any]) -> Path | None:
    """The folder of artifacts relative to the project; None if they go outside of it."""
    options = _within(config, "tracking", "experiment", "create_experiment_kwargs")
    place = options.get("artifact_location")
    if not place or urlsplit(place).scheme or Path(place).is_absolute():
        return None
    return Path(place)


def is_server(uri: str) -> bool:
    """Whether the address names a server, which chooses where artifacts go."""
    return uri.partition(":")[0].lower() in _SERVERS


def database_file(uri: str) -> Path | None:
    """The file of an SQLite database; None for every other address."""
    path = unquote(uri.removeprefix(_SQLITE).partition("?")[0])
    return Path(path) if uri.startswith(_SQLITE) and path and path != _MEMORY else None


def sqlite_uri(file: Path) -> str:
    """The address of an SQLite file, with `?` and `%` quoted."""
    return f"{_SQLITE}{_quoted(str(file))}"


def visible_uri(uri: str) -> str:
    """The address as messages show it: the file of a database, a server without its password."""
    if (file := database_file(uri)) is not None:
        return str(file)
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def where_to_look(config: Mapping[str, Any]) -> str:
    """Where a user sees the runs of an `effective` configuration, as the end of a sentence."""
    uri = _within(config, "server").get("mlflow_tracking_uri") or ""
    name = _within(config, "tracking", "experiment").get("name") or ""
    if is_server(uri):
        place = visible_uri(uri).rstrip("/")
        page = f"{place}/#/experiments" if place.startswith("http") else place
        return f"{page} (the experiment {name})" if name else page
    return f"make mlflow, then {ui_page(config)}"


def ui_page(config: Mapping[str, Any]) -> str:
    """The page of the experiment that `kedro mlflow ui` serves by an `effective` configuration."""
    uri = _within(config, "server").get("mlflow_tracking_uri") or ""
    name = _within(config, "tracking", "experiment").get("name") or ""
    ui = _within(config, "ui")
    host, port = ui.get("host", "127.0.0.1"), ui.get("port", "5000")
    file = database_file(uri)
    known = _experiment_id(file, name) if file is not None else None
    page = f"#/experiments/{known}/runs?{_PAGE}" if known else "#/experiments"
    return f"http://{host}:{port}/{page}"


def _read(loader: OmegaConfigLoader, folder: Path) -> dict[str, Any]:
    patterns = loader.config_patterns["mlflow"]
    try:
        found = loader.load_and_merge_dir_config(str(folder), patterns, "mlflow", set())
    except (YAMLError, OmegaConfBaseException, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{folder}/mlflow.yml: cannot be read: {reason}. Correct it") from error
    for key, value in found.items():
        if not isinstance(value, Mapping | None):
            raise InputError(
                f"{folder}/mlflow.yml: `{key}` is {value!r}, but must hold entries with names, as "
                "in conf/base/mlflow.yml"
            )
    return found


def _within(config: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The entries under these names; empty if there is no mapping."""
    for name in names:
        found = config.get(name)
        config = found if isinstance(found, Mapping) else {}
    return config


def _absolute(uri: str, project: Path) -> str:
    path = uri.removeprefix(_SQLITE)
    if not uri.startswith(_SQLITE) or not path or path.startswith((_MEMORY, "/")):
        return uri
    return f"{_SQLITE}{_quoted(str(project))}/{path}"


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3F")


def _merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(below, value) if both else value
    return merged


def _experiment_id(file: Path, name: str) -> str | None:
    """The experiment's id in the database; None if the database cannot be read."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as database:
            asked = "SELECT experiment_id FROM experiments WHERE name = ?"
            row = database.execute(asked, [name]).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else str(row[0])
