"""What documents tell people to type exists."""

import importlib.util
import re
import shlex

import click
import pytest
from kedro.framework.cli.utils import _split_params

from evidence.__main__ import _parser
from srlm_kedro.cli import cli
from srlm_kedro.commands.parameter_page import parameter_groups
from srlm_kedro.pipeline_registry import register_pipelines
from tests.unit.docs.pages import GUIDES, ROOT, commands, name

PLACEHOLDERS = {"NAME", "..."}
OTHERS = {"kedro mlflow ui", "kedro viz run", "kedro registry list", "kedro ipython"}
"""Commands of Kedro itself and of its plugins."""
COMMANDS = sorted({(name(page), line) for page in GUIDES for line in commands(page)})
PARAMETERS = {one.name for group in parameter_groups(ROOT / "conf") for one in group.parameters}
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))


def typed(kind):
    """The commands of one kind, split as a shell does."""
    return [
        pytest.param(shlex.split(line), id=f"{page}: {line}")
        for page, line in COMMANDS
        if line.startswith(kind + " ")
    ]


def options(command, words):
    """Options and their values, after the command's own parser has taken them."""
    context = click.Context(command, info_name="kedro")
    parser = command.make_parser(context)
    return parser.parse_args(list(words))[0]


@pytest.mark.parametrize("words", typed("make"))
def test_make_targets_exist(words):
    """And what `make evidence` hands on is understood."""
    named = [word for word in words[1:] if "=" not in word]
    assert named
    assert set(named) <= TARGETS
    for word in words:
        if word.startswith("EVIDENCE="):
            _parser().parse_args(shlex.split(word.removeprefix("EVIDENCE=")))


@pytest.mark.parametrize("words", typed("kedro"))
def test_kedro_commands_exist(words):
    """With their options, pipelines, environments and parameters."""
    if " ".join(words) in OTHERS:
        return
    command = cli.commands[words[1]]
    given = options(command, [word for word in words[2:] if word != "..."])
    named = [given[key] for key in ("pipeline", "pipelines") if given.get(key)]
    assert set(named) <= set(register_pipelines()) | PLACEHOLDERS
    environment = given.get("env")
    for part in (environment or "").split("+"):
        assert part in {"", *PLACEHOLDERS} or (ROOT / "conf" / part).is_dir()
    for key in flat(_split_params(None, None, given.get("params") or "")):
        assert key in PARAMETERS


def flat(tree, before=""):
    """Dotted names of a tree's leaves."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}"


@pytest.mark.parametrize("words", typed("python"))
def test_modules_exist(words):
    """`python -m NAME`, as seen from the clone."""
    assert importlib.util.find_spec(words[2])


def test_each_kind_is_tested():
    """The documents name many commands; what they name most must be among them."""
    lines = {line for _, line in COMMANDS}
    assert {"make run", "make mlflow", "make test", "make docs", "kedro run"} <= lines
    assert len(lines) > 50
