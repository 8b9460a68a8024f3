"""What holds for every judgement, whatever it says."""

import re

from hypothesis import given
from hypothesis import strategies as st

from srlm_kedro.judge.parsing import REASONS, Parsed, parse_score
from srlm_kedro.judge.prompt import fill_judge_prompt, is_escaped
from srlm_kedro.judge.verdict import REASONS as VERDICT_REASONS
from srlm_kedro.judge.verdict import parse_rating, parse_verdict

from .texts import any_text, mixed

SCORES = mixed(
    *("Score: 4", "Score", "score:", "Total", "Final ", "**", " out of 5", "/5", "\n", "4", "0.5"),
    *("+", "=", "?", ">", "'", '"', "Revised ", "Overall: ", "[RESULT] ", "| ", "four", "1. "),
    *("Wait, ", "would ", "{", "}", ", ", " (use)"),
    *("<think>", "</think>", "(", ")", "boxed{", "80%", "-1", "1 + 1 = ", "٤", "points", ":"),
)
VERDICTS = mixed(
    *("[[A]]", "[[B]]", "[[C]]", "[[", "]]", "[A]", "Final verdict: ", "Verdict: B", "Winner:"),
    *("Answer A is better.", "It is a tie.", "\n", "**", "Rating: 7", "[[7]]", "/10", "</think>"),
)
WITHDRAWALS = st.sampled_from(["Wait,", "On reflection,", "Let me recount:", "Correction:"])
FINISHES = st.sampled_from(["stop", "length"])


def is_prose(text):
    """Whether a text states no score and takes nothing of the text before or behind it away."""
    return not re.search(
        r"score|total|rating|grade|overall|result|<think>|</think>", text, re.IGNORECASE
    )


@given(SCORES, FINISHES)
def test_a_score_lies_in_range_or_has_a_reason(text, finish):
    """Never an exception, never a number that stands for a failure."""
    parsed = parse_score(text, finish)
    assert parsed.reason in REASONS
    assert (parsed.score is None) == (parsed.reason != "ok")
    assert parsed.score is None or 0 <= parsed.score <= 5


@given(any_text.filter(is_prose), any_text.filter(is_prose), st.integers(0, 50))
def test_text_around_a_score_does_not_matter(before, behind, tenths):
    """Whatever stands in lines of its own before and behind, if it states no score itself."""
    said = f"{before}\nScore: {tenths / 10}\nSo it is. {behind}"
    assert parse_score(said) == Parsed(tenths / 10, "ok")


@given(any_text.filter(is_prose), st.integers(0, 5), WITHDRAWALS, any_text.filter(is_prose))
def test_a_score_that_is_taken_back_is_none(before, score, words, behind):
    """Whatever stands around the words that take it back."""
    said = f"{before}\nScore: {score}\n{words} it {behind}"
    assert parse_score(said).score is None
    assert parse_score(said, "length").score is None


@given(st.lists(st.integers(0, 1), min_size=2, max_size=5), st.integers(0, 5))
def test_a_sum_is_read_only_if_it_adds_up(points, total):
    """The number behind the equals sign, or none; never one of the terms."""
    terms = " + ".join(f"{point} (criterion {place})" for place, point in enumerate(points, 1))
    read = parse_score(f"Score: {terms} = {total}/5")
    assert read == (Parsed(total, "ok") if total == sum(points) else Parsed(None, "unclear"))


@given(SCORES)
def test_a_cut_text_never_says_more_than_the_whole(text):
    """Being cut can take a score away, and gives none of its own."""
    whole, cut = parse_score(text, "stop"), parse_score(text, "length")
    assert cut == whole or cut.score is None


@given(VERDICTS, FINISHES)
def test_a_verdict_or_rating_is_clear_or_has_a_reason(text, finish):
    """As for scores."""
    verdict, rating = parse_verdict(text, finish), parse_rating(text, finish)
    assert verdict.reason in VERDICT_REASONS
    assert (verdict.winner is None) == (verdict.reason != "ok")
    assert rating.reason in REASONS
    assert rating.score is None or 1 <= rating.score <= 10


TEMPLATE = "Rubric.\nUser: {instruction}\n\n<response>\n{response}\n</response>\n\nEnd with Score:"
ATTACKS = mixed("</response>", "<response", ">", "/", "<", " ", "\n", "&lt;", "{response}")


@given(ATTACKS, ATTACKS)
def test_the_place_of_a_response_ends_where_the_template_ends_it(instruction, response):
    """There is one opening and one closing tag, and ordinary texts stay as they are."""
    filled = fill_judge_prompt(TEMPLATE, instruction, response)
    assert len(re.findall(r"<\s*response\s*>", filled, re.IGNORECASE)) == 1
    assert len(re.findall(r"<\s*/\s*response\s*>", filled, re.IGNORECASE)) == 1
    if not is_escaped(TEMPLATE, instruction, response):
        start, middle, end = re.split(r"\{\w+\}", TEMPLATE)
        assert filled == f"{start}{instruction}{middle}{response}{end}"
