"""The map of the tree shows the imports as they are."""

import re
from graphlib import CycleError

import pytest

from tests.package_picture import imports, picture, reduced, rows
from tests.unit.docs.pages import DOCS, ROOT

PAGE = (DOCS / "architecture.md").read_text("utf-8")
GRAPH = {"top": {"middle", "bottom"}, "middle": {"bottom"}, "side": {"bottom"}, "bottom": set()}


def test_the_committed_picture_is_up_to_date():
    """`python -m tests.package_picture` draws it anew."""
    assert (DOCS / "architecture.svg").read_text("utf-8") == picture(imports())


def test_every_package_is_told():
    """With what it holds."""
    packages = {path.parent.name for path in ROOT.glob("src/srlm_kedro/*/__init__.py")}
    told = set(re.findall(r"^\| `(\w+)/` \|", PAGE, re.MULTILINE))
    assert told == packages


def test_implied_arrows_are_left_out():
    """The way round says it already."""
    assert reduced(GRAPH) == GRAPH | {"top": {"middle"}}


def test_rows_run_downwards():
    """Each above all that it imports, however far it reaches."""
    assert rows(GRAPH) == [["top"], ["middle", "side"], ["bottom"]]


def test_a_circle_is_no_picture():
    """Two packages that import each other have no order."""
    with pytest.raises(CycleError):
        rows({"a": {"b"}, "b": {"a"}})


def test_another_import_is_another_picture():
    """An arrow more, or a box in another row."""
    assert picture(GRAPH) != picture(GRAPH | {"side": {"middle"}})
