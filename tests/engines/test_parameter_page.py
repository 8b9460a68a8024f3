"""The reference of parameters tells what the classes, `conf/` and the paper say."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner

from srlm_kedro.cli import cli
from srlm_kedro.commands.parameter_page import (
    engine_arguments,
    parameter_groups,
    parameter_page,
)
from srlm_kedro.engines.training.params import DpoParams, SftParams
from srlm_kedro.params import Params
from srlm_kedro.pipeline_registry import register_pipelines
from srlm_kedro.running.parameter_faults import parameter_types

ROOT = Path(__file__).parents[2]
GROUPS = {group.name: group for group in parameter_groups(ROOT / "conf")}
FOUND = {one.name: one for group in GROUPS.values() for one in group.parameters}


def test_the_committed_page_is_up_to_date():
    """`kedro parameters > docs/reference/parameters.md` writes it anew."""
    made = parameter_page(ROOT / "conf")
    assert (ROOT / "docs/reference/parameters.md").read_text("utf-8") == made


def test_the_command_prints_the_page():
    """As it is, to the last byte."""
    done = CliRunner().invoke(cli, ["parameters"], obj=SimpleNamespace(project_path=ROOT))
    assert done.exit_code == 0
    assert done.stdout == (ROOT / "docs/reference/parameters.md").read_text("utf-8")


def test_defaults_are_those_of_the_classes():
    """Also those that follow other values, and those of groups within groups."""
    assert FOUND["dpo.beta"].default == DpoParams().beta
    assert FOUND["dpo.micro_batch_size"].default == 16
    assert FOUND["sft.min_learning_rate"].default == SftParams().min_learning_rate
    assert FOUND["responses.sampling.n"].default == 4
    assert FOUND["dpo.lora.rank"].default == 16


def test_the_values_of_base_are_those_of_its_file():
    """Each of them, at any depth."""
    base = yaml.safe_load((ROOT / "conf/base/parameters.yml").read_text("utf-8"))
    assert FOUND["dpo.beta"].base == base["dpo"]["beta"] != DpoParams().beta
    assert FOUND["prompts.sampling.n"].base == base["prompts"]["sampling"]["n"]
    row = FOUND["dpo.warmup"].row()
    assert row.split(" | ")[2] == ""  # the microworld keeps the default


def numbers(tree, before=""):
    """Dotted names of the numbers of a file of parameters."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from numbers(value, f"{before}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{before}{key}", value


PAPER = dict(numbers(yaml.safe_load((ROOT / "conf/paper/parameters.yml").read_text("utf-8"))))


def stated(name):
    """The paper's number, if the page tells one."""
    cell = FOUND[name].paper if name in FOUND else ""
    found = re.match(r"(\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?)(?=$|, )", cell)
    return float(found[1].replace(",", "")) if found else None


@pytest.mark.parametrize("name", [name for name in PAPER if stated(name) is not None])
def test_the_papers_value_is_that_of_conf_paper(name):
    """Two places say what the paper did; they agree."""
    assert stated(name) == PAPER[name]


def test_the_papers_values_are_read_from_docstrings():
    """A value, `not stated`, the default where the docstring says so, or nothing."""
    assert sum(stated(name) is not None for name in PAPER) >= 12
    assert FOUND["dpo.beta"].paper == "0.1"
    assert FOUND["dpo.epochs"].paper == "not stated"
    assert FOUND["loop.judge"].paper == "`current`"
    assert FOUND["dpo.max_log_ratio"].paper == "not stated"
    assert FOUND["contamination.ngram"].paper == ""


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("dpo.label_smoothing", "0 <= x < 0.5"),
        ("prompts.filters.max_rouge_l", "0 <= x <= 1"),
        ("dpo.beta", "0 < x <= 1,000; one value, or one for each iteration"),
        ("pairs.order", "`reward`, `random`"),
        ("dpo.length_normalised", "`true`, `false`"),
        ("study.prompts", "1 <= x <= 1,000,000,000, whole or `null`"),
        ("alignment.limits.*.stop", "0 < x <= 100 or `null`"),
        ("seed", "0 <= x <= 9,223,372,036,854,775,807, whole"),
    ],
)
def test_values_are_told_in_words(name, values):
    """Bounds of numbers, words to choose from."""
    assert FOUND[name].values == values


def test_base_says_where_each_group_is_defined():
    """The list at the top of `parameters.yml` names the file of the class, or its folder."""
    text = (ROOT / "conf/base/parameters.yml").read_text("utf-8")
    named = {}
    for names, path in re.findall(r"^#   (.+): (\S+)$", text, re.MULTILINE):
        for name in re.sub(r" \(.*?\)", "", names).split(", "):
            named[name] = path.replace("<group>", name)
    defined = {
        name: f"{kind.__module__.removeprefix('srlm_kedro.').replace('.', '/')}.py"
        for name, kind in parameter_types(register_pipelines()).items()
        if isinstance(kind, type) and issubclass(kind, Params)
    }
    assert named.keys() == defined.keys()
    assert [name for name, file in defined.items() if not file.startswith(named[name])] == []


def test_every_parameter_is_one_row():
    """A newline in a value would end it; a list is shown as one, also with a single entry."""
    assert [name for name, one in FOUND.items() if "\n" in one.row()] == []
    assert cells("prompts.sampling.stop")[1] == r'`["\n"]`'
    assert cells("oasst.languages")[1] == '`["en"]`'
    assert cells("dpo.beta")[1] == "`0.1`"  # one value may stand for a list


def cells(name):
    return FOUND[name].row().strip("| ").split(" | ")


def test_nearly_everything_has_a_meaning():
    """A parameter without a docstring is found by its empty cell."""
    without = [name for name, one in FOUND.items() if not one.meaning]
    assert [name for name in without if not name.startswith("estimate.")] == []


def test_arguments_of_engines_come_with_their_docstring():
    """Also one that takes several lines; a bar would end a cell."""

    class Engine:
        def __init__(self, rows: int, ways: str = "a"):
            """Sets it up.

            Args:
                rows: How many, at
                    most.
                ways: `a|b`.
            """

    rows, ways = engine_arguments(Engine)
    assert rows.row(papers=False) == "| `rows`<br>How many, at most. |  | x, whole |"
    assert ways.row(papers=False) == r"| `ways`<br>`a\|b`. | `a` | text |"
