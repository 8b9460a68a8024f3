"""The programs that check constraints, against responses that people would decide alike."""

import re
import sys

import pytest

from srlm_kedro.errors import InputError
from srlm_kedro.verifiable import checkers
from srlm_kedro.verifiable.checkers import is_met, refuse_missing
from srlm_kedro.verifiable.constraints import ALL_KINDS, Constraint
from srlm_kedro.verifiable.instructions import parse
from srlm_kedro.verifiable.referee import Checker
from srlm_kedro.verifiable.rubric import InstructionRubric

pytest.importorskip("lm_eval")
pytest.importorskip("langdetect")

CLEAR = [
    # kind, value, response, whether it is met
    ("include", "share", "We share bread.", True),
    ("include", "share", "SHARE it!", True),
    ("include", "share", "He shared bread, and shareholders came.", False),
    ("include", "share", "Nothing of that kind.", False),
    ("avoid", "can", "A canary may sing.", True),
    ("avoid", "can", "You CAN.", False),
    ("avoid", "can", "We help and toucan sings.", True),
    ("start", "In short", "In short, sleep.", True),
    ("start", "In short", "\n  In short: sleep.", True),
    ("start", "In short", "Well, in short, sleep.", False),
    ("start", "In short", "in short, sleep.", False),
    ("start", "Well", "Wellbeing matters.", False),
    ("bullets", "2", "* one\n* two", True),
    ("bullets", "2", "* one\n* two\n\n---\nThe end.", True),
    ("bullets", "2", "Here they are:\n* one\n* two\nThat is all.", True),
    ("bullets", "2", "* one\n* two\n* three", False),
    ("bullets", "2", "1. one\n2. two", False),
    ("bullets", "2", "one * two * three", False),
    ("short", "5", "one two three four", True),
    ("short", "5", "one two three four five", False),
    ("short", "5", "one, two; three... four!", True),
    ("no_commas", "", "No such mark; none.", True),
    ("no_commas", "", "Yes, one.", False),
    ("no_commas", "", "1,000 bees", False),
    ("postscript", "", "Dear reader.\n\nP.S. Write soon.", True),
    ("postscript", "", "Dear reader.\n\nP. S. Write soon.", True),
    ("postscript", "", "Dear reader.\n\np.s. write soon.", True),
    ("postscript", "", "Dear reader.\n\nPS: write soon.", False),
    ("postscript", "", "Dear reader. P.S. Write soon.", True),
    ("postscript", "", "P.S. Write soon.", False),
    ("postscript", "", "I sent it by U.P.S. yesterday.", False),
    ("postscript", "", "Dear reader.", False),
    ("long", "4", "one two three four", True),
    ("long", "4", "one two three", False),
    ("twice", "tea", "Tea, and more tea.", True),
    ("twice", "tea", "Tea in the teapot.", False),
    ("twice", "tea", "No drink.", False),
    ("title", "", "<<Tea>>\nIt is warm.", True),
    ("title", "", "<< >>\nIt is warm.", False),
    ("title", "", "# Tea\nIt is warm.", False),
]


@pytest.mark.parametrize(("kind", "value", "response", "met"), CLEAR)
def test_a_program_decides_as_a_reader_does(kind, value, response, met):
    """Met and missed, for each kind."""
    assert is_met(Constraint(kind, value), response) is met


def test_every_kind_is_met_and_missed_by_some_response():
    """So no kind is left out of the cases."""
    assert {(kind, met) for kind, _, _, met in CLEAR} == {
        (kind, met) for kind in ALL_KINDS for met in (True, False)
    }


@pytest.mark.parametrize("kind", sorted(ALL_KINDS))
@pytest.mark.parametrize("response", ["", " \n\t"])
def test_a_response_without_text_meets_nothing(kind, response):
    """Not even `no commas`, which an empty text would keep for nothing."""
    value = "2" if kind in ("bullets", "short", "long") else "tea"
    assert not is_met(Constraint(kind, value), response)


@pytest.mark.parametrize("value", ["C", "it's", "co-op", "a b", "o'clock"])
def test_a_word_is_no_pattern(value):
    """Marks of a word that a model asks for mean themselves."""
    response = f"Say {value} once."
    assert is_met(Constraint("include", value), response)
    assert not is_met(Constraint("avoid", value), response)
    assert is_met(Constraint("start", value), f"{value} it is.")
    assert not is_met(Constraint("include", value), "Say nothing.")


def test_the_programs_are_those_of_ifeval():
    """With its leniency: a dash is a bullet too."""
    assert is_met(Constraint("bullets", "2"), "- one\n* two")


def test_only_the_first_line_with_text_may_begin_with_the_words():
    """IFEval would accept any line."""
    assert is_met(Constraint("start", "Well"), "\n\nWell then.\nMore.")
    assert not is_met(Constraint("start", "Well"), "<<Title>>\nWell then.")


@pytest.mark.parametrize(("kind", "value", "response", "met"), CLEAR)
def test_the_rubric_wants_what_the_program_finds(kind, value, response, met):
    """The question is in the positive; its wanted answer says whether `there` is `met`."""
    text = ALL_KINDS[kind].wordings[0].format(value=value)
    (criterion,) = InstructionRubric().criteria(f"Tell me about tea. {text}")
    there = {
        "avoid": re.search(r"\bcan\b", response, re.IGNORECASE) is not None,
        "no_commas": "," in response,
    }.get(kind, met)
    assert criterion.kind == kind
    assert (there == criterion.wanted) is met


def test_the_rubric_asks_one_question_for_each_constraint():
    """In the order of the instruction, as the checker's verdicts are."""
    text = 'Explain tea. Avoid commas. Use fewer than 30 words. Include the word "milk".'
    criteria = InstructionRubric().criteria(text)
    assert [each.question for each in criteria] == [
        "Does the response contain a comma?",
        "Is the response shorter than 30 words?",
        'Does the response contain the word "milk"?',
    ]
    found = Checker().assess(text, "Tea with milk.")
    assert [kind for kind, _ in found.verdicts] == [each.kind for each in criteria]
    assert InstructionRubric().criteria("Explain tea.") == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('Explain tea in your own words. Avoid commas. Include the word "milk".', None),
        ("Explain tea. Avoid commas. Avoid commas.", None),
        ("Explain tea.", "no_criteria"),
        ('Explain tea. Avoid commas. Begin with the word "Good news".', "no_criteria"),
        ("Explain tea in three bullets. Avoid commas.", "no_criteria"),
        ('Explain tea. The first words must be "No". Do not use the word "no".', "no_criteria"),
        ("Explain tea. Use fewer than 30 words. Stay below 40 words.", "no_criteria"),
        ("Explain tea. Use at least 60 words.", "held_out"),
        ("I have to give a speech about teamwork. Avoid commas.", "held_out"),
        ("Explain foggy days. Avoid commas.", None),
    ],
)
def test_new_prompts_have_known_demands_that_can_be_met_and_nothing_held_out(text, fault):
    """Otherwise the reward would not be the truth, or unseen kinds and topics would be trained."""
    assert InstructionRubric().prompt_fault(text) == fault


def test_a_repeated_constraint_is_one():
    """It is asked once, and weighs as much as the others."""
    text = 'Explain tea. Avoid commas. Use no commas. Include the word "milk".'
    assert [one.kind for one in InstructionRubric().criteria(text)] == ["no_commas", "include"]


def test_a_response_has_five_points_times_the_share_that_it_meets():
    """With a sentence on each constraint."""
    text = 'Explain tea. Avoid commas. Use fewer than 5 words. Include the word "milk".'
    found = Checker().assess(text, "It is hot, dark and without any sugar.")
    assert found.score == 0
    assert found.constraints_missed == 1
    found = Checker().assess(text, "It is hot and dark and made with milk.")
    assert found.score == pytest.approx(10 / 3)
    assert found.constraints_missed == pytest.approx(1 / 3)
    assert found.verdicts == (("no_commas", True), ("short", False), ("include", True))
    assert found.reasons[1] == "Missed: Is the response shorter than 5 words?"
    assert Checker().assess(text, "Tea with milk.").score == 5


def test_the_checker_knows_which_prompts_it_can_check():
    """Others it refuses, because no score of theirs would be true."""
    checker = Checker()
    assert checker.understands("Explain tea. Avoid commas.")
    assert checker.kind("Explain tea. Avoid commas. Close with a P.S.") == "no_commas+postscript"
    assert not checker.understands("Explain tea.")
    assert checker.kind("Explain tea.") is None
    with pytest.raises(ValueError, match="no constraint that can be checked"):
        checker.assess("Explain tea.", "Tea.")


def test_a_kind_has_a_program():
    """Every one, and no program is without a kind."""
    assert set(checkers._CHECKERS) == set(ALL_KINDS)
    assert parse("Explain tea.") is None


def test_missing_programs_are_refused_with_what_to_install(monkeypatch):
    """Before any work, because the run asks each engine whether it is ready."""
    monkeypatch.setitem(sys.modules, "lm_eval.tasks.ifeval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks.ifeval.instructions", None)
    checkers._programs.cache_clear()
    with pytest.raises(InputError, match=r"srlm_kedro\[smollm\]"):
        Checker().refuse_unready()
    monkeypatch.undo()
    refuse_missing()


def test_nothing_is_fetched(monkeypatch):
    """lm-eval's module would fetch a model of sentences when it is imported."""
    import nltk

    for name in [each for each in sys.modules if each.startswith("lm_eval.tasks.ifeval")]:
        monkeypatch.delitem(sys.modules, name)
    asked = []
    monkeypatch.setattr(nltk, "download", lambda *names, **options: asked.append(names))
    mark = nltk.download
    checkers._programs.cache_clear()
    refuse_missing()
    assert asked == []
    assert nltk.download is mark
    checkers._programs.cache_clear()
