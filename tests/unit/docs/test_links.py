"""Links lead somewhere."""

import pytest
import yaml

from tests.unit.docs.pages import DOCS, PAGES, ROOT, anchors, links, name

LINKS = [(page, to) for page in PAGES for to in links(page)]


def test_there_are_links():
    """So that the test below tests something."""
    assert len(LINKS) > 100


@pytest.mark.parametrize(
    ("page", "to"), LINKS, ids=lambda one: one if isinstance(one, str) else name(one)
)
def test_links_and_anchors_resolve(page, to):
    """Within the tree: the file exists, and so does the heading."""
    place, _, anchor = to.partition("#")
    target = (page.parent / place).resolve() if place else page
    assert target.is_relative_to(ROOT)
    assert target.exists()
    if anchor:
        assert anchor in anchors(target)


def nav(entry):
    """The pages that a part of the navigation names."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in nav(part)]


def test_every_page_can_be_found():
    """Each file of docs/ stands in the navigation of the site once, decisions among them."""
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")]
    assert sorted(nav(site["nav"])) == sorted(pages)
