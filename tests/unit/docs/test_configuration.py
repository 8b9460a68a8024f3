"""Configuration that documents show can be used as it is shown."""

import re
from importlib import import_module
from inspect import signature

import pytest
import yaml
from kedro.utils import load_obj

from srlm_kedro.engines.generation.servers.openai import OpenAIEngine
from tests.unit.docs.pages import DOCS, GUIDES, ROOT, blocks, inline, name
from tests.unit.docs.test_commands import PARAMETERS

GROUPS = {one.partition(".")[0] for one in PARAMETERS if "." in one}
GLOBALS = {
    key
    for file in ROOT.glob("conf/*/globals.yml")
    for key in yaml.safe_load(file.read_text("utf-8"))
}
TRACKING = yaml.safe_load((ROOT / "conf/base/mlflow.yml").read_text("utf-8"))
BLOCKS = [
    pytest.param(key, value, id=f"{name(page)}: {key}")
    for page in GUIDES
    for block in blocks(page, "yaml")
    for key, value in yaml.safe_load(block).items()
]
_NAME = re.compile(r"([a-z_]+(?:\.[a-z_*]+)+)(?:[:= ].*)?")
NAMED = sorted(
    {
        (name(page), found[1])
        for page in GUIDES
        for text in inline(page)
        if (found := _NAME.fullmatch(text))
        and found[1].partition(".")[0] in GROUPS
        and not found[1].endswith((".csv", ".jsonl"))
    }
)


def test_there_is_something_to_test():
    """Both kinds are found."""
    assert len(BLOCKS) > 8
    assert len(NAMED) > 30


@pytest.mark.parametrize(("page", "key"), NAMED)
def test_parameters_named_in_the_text_exist(page, key):
    """A parameter, or a group of them."""
    assert key in PARAMETERS or any(one.startswith(f"{key}.") for one in PARAMETERS)


@pytest.mark.parametrize(("key", "value"), BLOCKS)
def test_yaml_blocks_hold_what_exists(key, value):
    """A catalog entry, parameters, a global, a tracking server, an option, credentials."""
    if isinstance(value, dict) and "type" in value:
        check_entry(value)
    elif key in GROUPS:
        assert all(f"{key}.{one}" in PARAMETERS for one in value)
    elif key in TRACKING:
        assert set(value) <= set(TRACKING[key])
    elif isinstance(value, dict) and set(value) == {"api_key"}:
        return
    else:
        assert key in GLOBALS | set(signature(OpenAIEngine).parameters)


def check_entry(entry):
    """Its class can be loaded, and takes these arguments."""
    arguments = {key: value for key, value in entry.items() if key != "type"}
    signature(load_obj(entry["type"])).bind(**arguments)
    if "engine" in entry:
        engine = load_obj(entry["engine"])
        signature(engine).bind(**entry.get("options", {}), **entry.get("resources", {}))
    if "record" in entry:
        module, _, record = entry["record"].rpartition(".")
        assert hasattr(import_module(module), record)


def test_environments_are_all_told():
    """The table has each folder of conf/ that a run can name, and no other."""
    text = (DOCS / "reference/environments.md").read_text("utf-8")
    told = set(re.findall(r"^\| `([a-z0-9_]+)` \|", text, re.MULTILINE))
    assert told == {file.parent.name for file in ROOT.glob("conf/*/globals.yml")} - {"base"}


OF_USERS = ("conf/local", "conf/NAME")
PATHS = sorted(
    {
        (name(page), text)
        for page in GUIDES
        for text in inline(page)
        if not text.startswith(OF_USERS)
        and re.fullmatch(r"(?:conf|src|docs|notebooks|benchmarks|evidence)/[\w./]+", text)
    }
)


MODULES = sorted(
    {
        (name(page), text)
        for page in GUIDES
        for text in inline(page)
        if re.fullmatch(r"[a-z_]+/[\w/]+\.py", text)
    }
)


@pytest.mark.parametrize(("page", "path"), MODULES)
def test_modules_exist(page, path):
    """Each module in the documents is in the tree, or below the package."""
    assert (ROOT / path).exists() or (ROOT / "src/srlm_kedro" / path).exists()


@pytest.mark.parametrize(("page", "path"), PATHS)
def test_files_exist(page, path):
    """Each path in the documents is in the tree."""
    assert (ROOT / path).exists()
