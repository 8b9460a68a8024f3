"""The documents of the tree, and what is quoted in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*FRONT, *sorted(DOCS.rglob("*.md"))]
HISTORY = {"experiment_log.md", "CHANGELOG.md", "evidence.md"}
"""They tell of former days: what they name need not exist any more."""
GUIDES = [
    page
    for page in PAGES
    if page.name not in HISTORY and "decisions" not in page.parts and page.name != "parameters.md"
]

_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def name(page):
    """As a test shows it."""
    return str(page.relative_to(ROOT))


def prose(page):
    """The text without its blocks of code."""
    return _FENCE.sub("", page.read_text("utf-8"))


def blocks(page, *languages):
    """The blocks of code of some languages; "" is a block that names none."""
    return [body for _, kind, body in _FENCE.findall(page.read_text("utf-8")) if kind in languages]


def inline(page):
    """What stands between backticks in the text."""
    return _INLINE.findall(prose(page))


def commands(page):
    """Each command line that a reader might type, in blocks and in the text."""
    lines = [line for block in blocks(page, "") for line in block.splitlines()] + inline(page)
    parts = [part.strip() for line in lines for part in line.split("#")[0].split("&&")]
    return [part for part in parts if part.startswith(("kedro ", "make ", "python -m "))]


def links(page):
    """Where links and pictures of a page lead, those to other hosts left out."""
    return [to for to in _LINK.findall(_INLINE.sub("", prose(page))) if "://" not in to]


def anchors(page):
    """The names under which headings can be linked to."""
    plain = [
        re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", one) for one in _HEADING.findall(prose(page))
    ]
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", one).strip().lower()) for one in plain}
