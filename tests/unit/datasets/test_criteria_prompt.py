"""The dataset of a judge prompt that asks criteria."""

import sys

import pytest
import yaml
from kedro.io import DataCatalog, DatasetError
from kedro.pipeline import Node, Pipeline

from srlm_kedro.datasets.criteria_prompt import CriteriaPromptDataset
from srlm_kedro.freshness import provenance
from srlm_kedro.records import Criterion
from srlm_kedro.running.input_faults import data_faults

RUBRIC = """
from srlm_kedro.records import Criterion

class Words:
    def criteria(self, instruction):
        return [Criterion("word", f"Is it {word}?") for word in instruction.split()]

class Silent:
    pass

class Demanding:
    def __init__(self, needed):
        self.needed = needed
"""


@pytest.fixture
def template(tmp_path):
    file = tmp_path / "criterion.txt"
    file.write_text("{response} {criterion}", "utf-8")
    return str(file)


@pytest.fixture
def rubric(tmp_path, monkeypatch):
    """A module of the user's own, as a file that a test may change."""
    file = tmp_path / "own_rubric.py"
    file.write_text(RUBRIC, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield file
    sys.modules.pop("own_rubric", None)
    provenance.clear_caches()


def of_yaml(template: str, text: str) -> CriteriaPromptDataset:
    """The dataset of a catalog entry, as YAML gives it."""
    kind = "srlm_kedro.datasets.criteria_prompt.CriteriaPromptDataset"
    entry = {"type": kind, "filepath": template, **yaml.safe_load(text)}
    return DataCatalog.from_config({"criteria_prompt": entry}).get("criteria_prompt")


def test_listed_criteria_are_asked_about_every_response(template):
    """A text wants yes; `wanted: no` is a word that YAML reads as false."""
    dataset = of_yaml(
        template,
        """
        criteria:
          - Is it polite?
          - {ask: "Does it have a comma?", wanted: no}
          - {ask: "Is it short?", wanted: yes}
        """,
    )
    prompt = dataset.load()
    assert prompt.template == "{response} {criterion}"
    assert prompt.rubric.criteria("anything") == (
        Criterion("criterion 1", "Is it polite?", True),
        Criterion("criterion 2", "Does it have a comma?", False),
        Criterion("criterion 3", "Is it short?", True),
    )


def test_a_class_reads_criteria_out_of_each_instruction(template, rubric):
    """Any class with the method will do."""
    prompt = CriteriaPromptDataset(template, rubric="own_rubric.Words").load()
    assert [each.question for each in prompt.rubric.criteria("short kind")] == [
        "Is it short?",
        "Is it kind?",
    ]


LOOKED_AT = Pipeline([Node(repr, ["criteria_prompt"], "out")])


def told(template: str, entry: str) -> str:
    """What a run says about a catalog entry, before any work."""
    kind = "srlm_kedro.datasets.criteria_prompt.CriteriaPromptDataset"
    catalog = {"criteria_prompt": {"type": kind, "filepath": template, **yaml.safe_load(entry)}}
    (fault,) = data_faults(LOOKED_AT, DataCatalog.from_config(catalog), {}, {})
    return fault


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{}", "it must have either `criteria` or `rubric`, and has neither."),
        ("{criteria: [One], rubric: own_rubric.Words}", "either `criteria` or `rubric`, and has b"),
        ("{criteria: []}", "`criteria` is empty"),
        ('{criteria: "Is it good?"}', "`criteria` must be a list of questions; found 'Is it good"),
        ("{criteria: {ask: One}}", "`criteria` must be a list of questions; found {'ask'"),
        ('{criteria: [One, " "]}', "criterion 2, `ask`: Value error, the question is blank, found"),
        ('{criteria: [{ask: ""}]}', "criterion 1, `ask`: Value error, the question is blank"),
        (
            '{criteria: [One, {ask: Two, wanted: "no"}]}',
            "criterion 2, `wanted`: Input should be a valid boolean, found 'no'. Write a question, "
            'or {ask: "a question?", wanted: no} with yes or no unquoted.',
        ),
        ("{criteria: [{wanted: no}]}", "criterion 1, `ask`: Field required, found {'wanted'"),
        ("{criteria: [{ask: One, want: no}]}", "criterion 1, `want`: Extra inputs are not perm"),
        ("{criteria: [3]}", "criterion 1: Input should be a valid dictionary"),
        ("{rubric: own_rubric.Missing}", "`rubric: own_rubric.Missing` names no class that can"),
        (
            "{rubric: no_such_module.Words}",
            "`rubric: no_such_module.Words` names no class that can be made: No module named "
            "'no_such_module'. Write a class without arguments below src/ (or install a package "
            "that has one), and name its module and itself: the class MyRubric of "
            "src/my_rubric.py is `my_rubric.MyRubric`.",
        ),
        ("{rubric: Words}", "`rubric: Words` names no class that can be made: Empty module name"),
        ("{rubric: own_rubric.Silent}", "must have a method `criteria(instruction)`"),
        ("{rubric: own_rubric.Demanding}", "missing 1 required positional argument: 'needed'. W"),
        ("{rubrik: a.B}", "CriteriaPromptDataset has no option `rubrik`; did you mean `rubric`?"),
        ("{xyz: 1}", "no option `xyz`; it has filepath, criteria, rubric, answers, metadata"),
    ],
)
def test_an_entry_that_cannot_be_used_is_refused(template, rubric, entry, fault):
    """On one line, with what was found and what to write, and without what Kedro says around it."""
    said = told(template, entry)
    assert said.startswith("criteria_prompt: its entry in the catalog cannot be used: ")
    assert fault in said
    assert "\n" not in said
    assert ".." not in said
    assert "Failed to instantiate" not in said
    assert template not in said  # which has no fault


def test_a_template_without_a_place_is_refused_when_it_is_loaded(tmp_path):
    """The criterion has nowhere to go."""
    file = tmp_path / "bare.txt"
    file.write_text("{response}", "utf-8")
    with pytest.raises(DatasetError, match=r"\{criterion\}"):
        CriteriaPromptDataset(str(file), ["Is it?"]).load()
    assert told(str(file), "criteria: ['Is it?']").startswith(f"{file}: criteria prompt: 1 faults.")


def test_the_fingerprint_tells_template_and_criteria(template, tmp_path):
    """Another text, another question or another wanted answer is another prompt."""
    (tmp_path / "other.txt").write_text("{response}: {criterion}", "utf-8")
    entries = [
        (template, ["Is it?"]),
        (str(tmp_path / "other.txt"), ["Is it?"]),
        (template, ["Is it so?"]),
        (template, [{"ask": "Is it?", "wanted": False}]),
        (template, ["Is it?", "Is it?"]),
    ]
    found = [str(CriteriaPromptDataset(*entry).fingerprint()) for entry in entries]
    assert len(set(found)) == len(found)
    again = CriteriaPromptDataset(template, [{"ask": "Is it?", "wanted": True}])
    assert str(again.fingerprint()) == found[0]


def test_the_rubrics_code_counts_for_what_is_judged_by_it(template, rubric):
    """A change in the user's class makes the answers stale; a comment does not."""

    def code():
        provenance.clear_caches()
        dataset = CriteriaPromptDataset(template, rubric="own_rubric.Words")
        return provenance.made_by(dataset.interpreter)

    first = code()
    assert "code of own_rubric" in first
    rubric.write_text(RUBRIC + "\n# a remark\n", "utf-8")
    assert code() == first
    rubric.write_text(RUBRIC.replace("Is it", "Is this"), "utf-8")
    assert code() != first


def test_the_rubric_of_verifiable_instructions_reaches_no_checker(template):
    """The judge knows how constraints are worded, and nothing of the programs that check them."""
    name = "srlm_kedro.verifiable.rubric.InstructionRubric"
    dataset = CriteriaPromptDataset(template, rubric=name)
    reached = provenance.made_by(dataset.interpreter)
    assert "code of srlm_kedro.verifiable.constraints" in reached
    assert not [name for name in reached if "checkers" in name or "referee" in name]
    assert not [name for name in reached if name.startswith("library ")]


def test_nothing_is_saved_into_it(template):
    """It comes from conf/."""
    with pytest.raises(DatasetError, match="a judge prompt comes from conf/"):
        CriteriaPromptDataset(template, ["Is it?"]).save("another")


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("criteria: ['A?']", (("Yes", "yes"), ("No", "no"))),
        (
            "criteria: ['A?']\nanswers: {'yes': right, 'no': [wrong, bad]}",
            (("right",), ("wrong", "bad")),
        ),
        ("criteria: ['A?']\nanswers: {yes: [right], no: [wrong]}", (("right",), ("wrong",))),
    ],
)
def test_the_answers_may_be_spelt_otherwise(template, text, choices):
    """Their keys may be unquoted, which YAML reads as true and false."""
    assert of_yaml(template, text).load().answers.choices == choices


def test_other_answers_are_another_prompt(template):
    """What was judged by other words is stale."""
    plain, other = (
        of_yaml(template, f"criteria: ['A?']\n{more}").fingerprint()
        for more in ("", "answers: {'yes': right, 'no': wrong}")
    )
    assert plain != other


@pytest.mark.parametrize(
    "answers", ["{'yes': [a]}", "{'yes': [], 'no': [b]}", "{yes: [yes], no: [no]}", "{y: a, n: b}"]
)
def test_answers_without_words_are_refused(template, answers):
    """An unquoted yes is true, and no word."""
    with pytest.raises(DatasetError, match="must be"):
        of_yaml(template, f"criteria: ['A?']\nanswers: {answers}")
