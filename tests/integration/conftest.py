"""A project of its own for each test: conf/ and seed data copied, everything else made there."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

ROOT = Path(__file__).parents[2]


class Project:
    """A copy of the project that runs in this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        for folder in ("conf", "data/01_raw"):
            shutil.copytree(ROOT / folder, path / folder)
        shutil.copy(ROOT / "pyproject.toml", path)
        for folder in ("src", "mlruns"):
            (path / folder).mkdir()

    def session(self, env: str = "test", **params: Any) -> KedroSession:
        bootstrap_project(self.path)
        from kedro.framework.project import settings

        return settings.SESSION_CLASS.create(self.path, env=env, runtime_params=params)

    def run(
        self, *names: str, env: str = "test", params: dict[str, Any] | None = None, **options: Any
    ) -> None:
        with self.session(env, **(params or {})) as session:
            session.run(pipeline_names=list(names) or None, **options)

    def configure(self, name: str, **values: Any) -> None:
        """Writes values into conf/test, over what stands there."""
        file = self.path / "conf/test" / f"{name}.yml"
        held = yaml.safe_load(file.read_text("utf-8")) if file.exists() else {}
        file.write_text(yaml.safe_dump(held | values), "utf-8")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """An MLflow database without runs: its tables take seconds to make, so they are made once."""
    import mlflow

    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def project(tmp_path, monkeypatch, empty_database) -> Project:
    """A fresh project; the working folder is inside it."""
    made = Project(tmp_path / "project")
    shutil.copy(empty_database, made.path / "mlruns/mlflow.db")
    monkeypatch.chdir(made.path)
    return made
