"""A project of its own for each test: conf/ and seed data copied, everything else made there.

What many tests begin with is made once, by `foundation`, `iteration` or a whole run, and copied to
those that ask for it; their MLflow database is as empty as that of the others. Where several
processes share the tests, the first that asks makes it for all.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from benchmarks.project import copy_project

ROOT = Path(__file__).parents[2]


class Project:
    """A copy of the project that runs in this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        copy_project(path)

    def session(self, env: str = "test", **params: Any) -> KedroSession:
        bootstrap_project(self.path)
        from kedro.framework.project import settings

        return settings.SESSION_CLASS.create(self.path, env=env, runtime_params=params)

    def run(
        self, *names: str, env: str = "test", params: dict[str, Any] | None = None, **options: Any
    ) -> None:
        with self.session(env, **(params or {})) as session:
            session.run(pipeline_names=list(names) or None, **options)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """`kedro run` as typed, in a process of its own."""
        paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        return subprocess.Popen(
            [sys.executable, "-m", "kedro", "run", "--env=test", *arguments],
            cwd=self.path,
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Where the tests run in the background, Ctrl-C is ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **options,
        )

    def take(self, data: Path) -> None:
        """Puts a copy of what another project made into this one's data folder."""
        shutil.copytree(data, self.path / "data", dirs_exist_ok=True)

    def halt(self, at: int, how: str) -> Path:
        """Puts an engine in place that waits or kills at a call; gives the file that it leaves."""
        mark = self.path / f"halted-{at}"
        engine = {
            "type": "srlm_kedro.datasets.engine.EngineDataset",
            "engine": "tests.integration.halting.HaltingEngine",
            "resources": {"mark": str(mark), "at": at, "how": how},
        }
        self.configure("catalog", generation_engine=engine)
        return mark

    def configure(self, name: str, **values: Any) -> None:
        """Writes values into conf/test, over what stands there; `loop` keeps its other values."""
        file = self.path / "conf/test" / f"{name}.yml"
        held = yaml.safe_load(file.read_text("utf-8")) if file.exists() else {}
        if "loop" in values:
            values["loop"] = held.get("loop", {}) | values["loop"]
        file.write_text(yaml.safe_dump(held | values), "utf-8")


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[], Path]], Path]:
    """Gives what `make` made under a name, in this process or in another that shares the tests."""
    root = tmp_path_factory.getbasetemp()
    shared = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def give(name: str, make: Callable[[], Path]) -> Path:
        note = shared / f"{name}.path"
        with FileLock(note.with_suffix(".lock")):
            if not note.exists():
                note.write_text(str(make()), "utf-8")
        return Path(note.read_text("utf-8"))

    return give


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory, once) -> Path:
    """An MLflow database without runs: its tables take seconds to make, so they are made once."""

    def make() -> Path:
        import mlflow

        file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
        mlflow.MlflowClient(f"sqlite:///{file}").search_experiments()
        return file

    return once("empty_database", make)


@pytest.fixture(scope="session")
def made(tmp_path_factory, once, empty_database) -> Callable[..., Path]:
    """Runs pipelines in a project of its own, on a copy of `onto`; gives the data folder."""

    def make(*names: str, onto: Path | None = None) -> Path:
        return once(f"made-{'-'.join(names) or 'whole'}", lambda: run(names, onto))

    def run(names: tuple[str, ...], onto: Path | None) -> Path:
        one = Project(tmp_path_factory.mktemp("made") / "project")
        shutil.copy(empty_database, one.path / "mlruns/mlflow.db")
        if onto is not None:
            one.take(onto)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(one.path)
            one.run(*names)
        return one.path / "data"

    return make


@pytest.fixture(scope="session")
def foundation(made) -> Path:
    """The data of a run to M1."""
    return made("foundation")


@pytest.fixture(scope="session")
def iteration(made, foundation) -> Path:
    """The data of a run to M2."""
    return made("iteration", onto=foundation)


@pytest.fixture(scope="session")
def whole(made) -> Path:
    """The data of one run of everything, to M3."""
    return made()


@pytest.fixture
def project(tmp_path, monkeypatch, empty_database) -> Project:
    """A fresh project; the working folder is inside it."""
    made = Project(tmp_path / "project")
    shutil.copy(empty_database, made.path / "mlruns/mlflow.db")
    monkeypatch.chdir(made.path)
    return made


@pytest.fixture
def founded(project, foundation) -> Project:
    """A project with M0 and M1."""
    project.take(foundation)
    return project


@pytest.fixture
def iterated(project, iteration) -> Project:
    """A project with M0 to M2."""
    project.take(iteration)
    return project


@pytest.fixture
def done(project, whole) -> Project:
    """A project after a run of everything."""
    project.take(whole)
    return project
