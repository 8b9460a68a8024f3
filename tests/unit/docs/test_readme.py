"""README, tutorial and the map of the paper keep what they promise."""

import re

import pytest

from srlm_kedro.pipeline_registry import register_pipelines
from tests.unit.docs.pages import DOCS, ROOT, commands

README = (ROOT / "README.md").read_text("utf-8")
PAPER_MAP = (DOCS / "paper_map.md").read_text("utf-8")


def test_the_readme_is_short_and_tells_what_to_type():
    """A screen and a half; two commands come first, and it ends with the tests."""
    assert 60 <= len(README.splitlines()) <= 110
    typed = commands(ROOT / "README.md")
    assert typed[:2] == ["make run", "make mlflow"]
    assert "make test" in typed


def test_no_placeholder_is_left():
    """Every figure of the README was filled in."""
    assert not re.search(r"@[A-Z]+@", README)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z_0-9]+/[\w./]+)`", PAPER_MAP))))
def test_files_of_the_paper_map_exist(path):
    """Each path is below the package, or in the tree."""
    assert (ROOT / "src/srlm_kedro" / path).exists() or (ROOT / path).exists()


def test_environments_of_the_paper_map_exist():
    """Each ablation and follow-up is a folder of conf/."""
    named = re.findall(r"^\|[^|]+\| `([a-z0-9_]+)` \|$", PAPER_MAP, re.MULTILINE)
    assert len(named) > 5
    assert all((ROOT / "conf" / name).is_dir() for name in named)


def test_the_tutorial_counts_the_nodes_that_there_are():
    """What it quotes of a run is what a run says today."""
    told = re.findall(r"(\d+) nodes", (DOCS / "tutorial.md").read_text("utf-8"))
    assert told
    assert set(map(int, told)) == {len(register_pipelines()["__default__"].nodes)}
