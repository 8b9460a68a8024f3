"""The project as a package: what `kedro package` writes, and how the wheel is run."""

import os
import subprocess
import sys
import tarfile
import tomllib

from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project

from tests.integration.conftest import ROOT


def test_package_writes_no_credentials(project, monkeypatch):
    """Those of an environment neither; the wheel is built by the usual tool."""
    metadata = bootstrap_project(project.path)
    from srlm_kedro import cli

    asked = []
    monkeypatch.setattr(cli, "call", lambda command, **_: asked.append(command))
    secret = project.path / "conf/external_judge/credentials.yml"
    secret.write_text("openai: {api_key: sk-secret}", "utf-8")
    done = CliRunner().invoke(cli.cli, ["package"], obj=metadata)
    assert done.exit_code == 0, done.output
    assert asked[0][1:4] == ["-m", "build", "--wheel"]
    assert "conf/external_judge/credentials.yml stays here" in done.output
    with tarfile.open(project.path / "dist/conf-srlm_kedro.tar.gz") as tar:
        names = tar.getnames()
    assert "conf/external_judge/catalog.yml" in names
    assert not any("credentials" in name for name in names)


def module(project, *arguments):
    """`python -m srlm_kedro` in a folder that is no project: `conf/` and `data/` alone."""
    (project.path / "pyproject.toml").unlink(missing_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "srlm_kedro", *arguments],
        cwd=project.path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )


def test_the_package_runs_as_a_module_without_the_project(project):
    """As Kedro's documentation of deployment promises."""
    done = module(project, "--env=test", "--pipeline=foundation", "--params=loop.study=false")
    assert done.returncode == 0, done.stderr
    assert (project.path / "data/06_models/m1/model.json").is_file()
    done = module(project, "--env=test", "--pipeline=status")
    assert "A run makes the" in done.stdout
    done = module(project, "--env=test", "--params=dpo.beta=-1")
    assert done.returncode == 1
    assert "parameter `dpo.beta`" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_wheel_brings_a_command():
    """Named as the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["scripts"] == {"srlm_kedro": "srlm_kedro.__main__:main"}
