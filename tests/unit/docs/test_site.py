"""The site builds, and calls nobody."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.unit.docs.pages import DOCS, ROOT

OF_OTHERS = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built pages; warnings are errors, as for `make docs`."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    (folder / "src").symlink_to(ROOT / "src")
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout + done.stderr
    return folder / "site"


def test_every_document_becomes_a_page(site):
    """Under its own name."""
    made = {page.relative_to(site).with_suffix(".md") for page in site.rglob("*.html")}
    assert {page.relative_to(DOCS) for page in DOCS.rglob("*.md")} <= made


def test_no_page_loads_anything_from_another_host(site):
    """No fonts, no scripts, no pictures."""
    loaded = [
        found for page in site.rglob("*.html") for found in OF_OTHERS.findall(page.read_text())
    ]
    assert loaded == []
    assert OF_OTHERS.search('<script async src="https://host/x.js"></script>')


def test_the_python_reference_holds_docstrings(site):
    """What users import is there with its arguments."""
    judge = (site / "reference/api/judge.html").read_text("utf-8")
    assert "parse_score" in judge
    assert "The prompt for one response" in judge
