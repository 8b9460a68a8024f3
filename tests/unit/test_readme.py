"""What the README tells people to type exists."""

import re
from pathlib import Path

import pytest

from srlm_kedro.pipeline_registry import register_pipelines

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_pipelines_and_environments_of_the_readme_exist():
    """Each `--pipeline=` is registered, each `--env=` is a folder of conf/."""
    named = set(re.findall(r"--pipelines?=(\w+)", README))
    assert named
    assert named <= set(register_pipelines())
    environments = set(re.findall(r"^\| `([a-z0-9_]+)` \|", README, re.MULTILINE))
    assert environments == {p.parent.name for p in ROOT.glob("conf/*/globals.yml")} - {"base"}


def test_make_targets_of_the_readme_exist():
    """Each `make ...` is a target of the Makefile."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"^make ([\w-]+)", README, re.MULTILINE))
    assert {"run", "test"} <= named <= targets


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:conf|src|docs)/[\w./]+)`", README))))
def test_files_of_the_readme_exist(path):
    """Each path in the README is in the tree."""
    assert (ROOT / path).exists()


def test_no_placeholder_is_left():
    """Every figure of the README was filled in."""
    assert not re.search(r"@[A-Z]+@", README)


PAPER_MAP = (ROOT / "docs/paper_map.md").read_text("utf-8")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z_0-9]+/[\w./]+)`", PAPER_MAP))))
def test_files_of_the_paper_map_exist(path):
    """Each path stands below the package, or in the tree."""
    assert (ROOT / "src/srlm_kedro" / path).exists() or (ROOT / path).exists()


def test_environments_of_the_paper_map_exist():
    """Each ablation and follow-up is a folder of conf/."""
    named = re.findall(r"^\|[^|]+\| `([a-z0-9_]+)` \|$", PAPER_MAP, re.MULTILINE)
    assert len(named) > 5
    assert all((ROOT / "conf" / name).is_dir() for name in named)
