"""The prompt in a continuation, and the filters."""

from decimal import Decimal

import pytest

from srlm_kedro.pipelines.prompts.filters import REASONS, Filters, first_task
from srlm_kedro.pipelines.prompts.novelty import Novelty
from srlm_kedro.pipelines.prompts.params import FilterParams

KNOWN = ["Name three birds that live near the sea"]


def _filters(**knobs) -> Filters:
    return Filters(FilterParams(**knobs), Novelty(KNOWN, Decimal("0.7")))


CONTINUATIONS = [
    (" Tell me about whales.", "Tell me about whales.", False),
    ("Tell me\nabout whales.", "Tell me\nabout whales.", False),
    (" Tell me about whales.\nTask: Sing.", "Tell me about whales.", True),
    (" Tell me about whales. Task 10: Sing.", "Tell me about whales.", True),
    ("Task 9: Tell me about whales.\nTask 10: Sing.", "Tell me about whales.", True),
    ("**Task 9:** Tell me about whales.", "Tell me about whales.", False),
    ("1. Tell me about whales.\n2. Sing.\n\n1. Whales are", "Tell me about whales.", True),
    ("Tell me about whales.\nAnswer: They are large.", "Tell me about whales.", True),
    ("Sure, here is a new task:\n\nTell me about whales.", "Tell me about whales.", False),
    ("3.5 kilograms are how many pounds?", "3.5 kilograms are how many pounds?", False),
    ("", "", False),
]


@pytest.mark.parametrize(("text", "task", "followed"), CONTINUATIONS)
def test_the_first_task_is_taken(text, task, followed):
    """Labels before the task, and text after it, are removed."""
    assert first_task(text) == (task, followed)


REFUSED = [
    ("", "empty"),
    ("  \n", "empty"),
    ("Sing a song", "too_short"),
    ("- - - -", "too_short"),
    ("why " * 151, "too_long"),
    ("Describe this picture in detail", "banned_word"),
    ("Draw a house for me", "banned_word"),
    ("Where should I go to in May?", "banned_word"),
    ("Write a program that counts words", "banned_opening"),
    ("write a program that counts words", "banned_opening"),
    ('"Whales" means what in French?', "bad_start"),
    ("Écris une lettre à maman", "bad_start"),
    ("name three BIRDS that live near the sea?", "duplicate"),
    ("Name three fish that live near the sea", "similar"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_each_filter_refuses_with_its_reason(text, reason):
    """The reason names the filter."""
    assert reason in REASONS
    assert _filters().accept_or_refuse(text, "stop")[1] == reason


@pytest.mark.parametrize(
    "text", ["Sing me a song", "What did mapmakers profile?", "why " * 150, "Is 2 above 1?"]
)
def test_sound_prompts_pass(text):
    """Prompts at the limits pass, and so do words that contain banned ones."""
    assert _filters().accept_or_refuse(text, "stop") == (text.strip(), "ok")


def test_a_prompt_cut_by_length_is_refused():
    """A cut after the end of the prompt does not count."""
    assert _filters().accept_or_refuse("Tell me about the", "length")[1] == "cut_off"
    assert _filters().accept_or_refuse("Tell me about whales.\nTask: Si", "length")[1] == "ok"


def test_an_accepted_prompt_is_known_from_then_on():
    """A second one like it is refused, but not one like a refused prompt."""
    filters = _filters()
    assert filters.accept_or_refuse("Tell me about blue whales", "stop")[1] == "ok"
    assert filters.accept_or_refuse("Tell me about blue whales!", "stop")[1] == "duplicate"
    assert filters.accept_or_refuse("Draw me some really red roses", "stop")[1] == "banned_word"
    assert filters.accept_or_refuse("Bring me some really red roses", "stop")[1] == "ok"


def test_every_filter_can_be_changed():
    """Each parameter reaches its filter."""
    assert _filters(min_words=3).accept_or_refuse("Sing a song", "stop")[1] == "ok"
    assert _filters(max_words=4).accept_or_refuse("Sing me a new song", "stop")[1] == "too_long"
    assert _filters(banned_words=()).accept_or_refuse("Draw a house for me", "stop")[1] == "ok"
    assert (
        _filters(banned_words=["song"]).accept_or_refuse("Sing me a song", "stop")[1]
        == "banned_word"
    )
    assert (
        _filters(banned_openings=["Sing"]).accept_or_refuse("Sing me a song", "stop")[1]
        == "banned_opening"
    )


PIECES = ["\n", " \n", "*", "# \n", "task ", "task\t\t", "1. ", "sure: ", "\nanswer ", "prompt  "]


@pytest.mark.parametrize("piece", PIECES)
def test_long_continuations_are_read_in_linear_time(piece):
    """A megabyte of text that could make a pattern backtrack is read in time."""
    text = piece * (1_000_000 // len(piece))
    for start in ("", "Tell me about whales", "sure ", "task", "prompt 12"):
        assert first_task(start + text)[0] in start + text
