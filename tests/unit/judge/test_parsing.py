"""Which texts are read as a score, and which are refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srlm_kedro.judge.parsing import Parsed, parse_score

quick = settings(max_examples=50, deadline=None)

READ = [
    ("Score: 4", 4),
    ("Score:4", 4),
    ("Score: 4.", 4),
    ("SCORE = 4", 4),
    ("score - 4", 4),
    ("Score – 4", 4),
    ("Score — 4", 4),
    ("Score：4", 4),
    ("Score: 0", 0),
    ("Score: 4.5", 4.5),
    ("Score: 4/5", 4),
    ("Score: 3.5/5.0", 3.5),
    ("Score: 4 / 5 points.", 4),
    ("Score: 4 out of 5", 4),
    ("Score: 4 points out of a possible 5", 4),
    ("Score: 4 of 5 stars", 4),
    ("Score: 4 out of five", 4),
    ("Score: 4/5 = 80%", 4),
    ("4/5", 4),
    ("4.5", 4.5),
    ("It is a fair answer.\n\n4/5", 4),
    ("**Score:** 4", 4),
    ("**Score: 4**", 4),
    ("- **Score**: **4**/**5**", 4),
    ("_Score_: 4", 4),
    ("### Score\n\n4", 4),
    ("| Score | 4 |", 4),
    ("Score:\n- 4", 4),
    ("Score: [4]", 4),
    ("Score: [4/5]", 4),
    ("Score: [4]/5", 4),
    ("Score: <4>", 4),
    ("Score: <4/5>", 4),
    ("(Score: 4)", 4),
    ("A good answer (score: 4)", 4),
    ('{"score": 4}', 4),
    ("<score>4</score>", 4),
    (r"Score: $\boxed{4}$", 4),
    (r"\boxed{Score: 4}", 4),
    ("Total score: 4 points", 4),
    ("Total points: 4", 4),
    ("So the final score: 4", 4),
    ("Score (out of 5): 4", 4),
    ("Score (0-5): 4", 4),
    ("Score (total points): 4", 4),
    ("Score out of 5: 4", 4),
    ("Score: 1 + 1 + 1 = 3", 3),
    ("Score: (1+1+1+1+0) = 4", 4),
    ("Score: 4 - well done", 4),
    ("Score: 4\n\n5 points are rare.", 4),
    ("I would give this a score of 4.", 4),
    ("The score is 4.", 4),
    # Several statements: the conclusive one, or the one they all make.
    ("Score: 4\nIn short: it is fine.\nScore: 4/5", 4),
    ("A score of 3 would be harsh.\nScore: 4", 4),
    ("Score: 4\n\nFor a score of 5 it lacks an example.", 4),
    ("Score: 4\nFinal score: 3", 3),
    ("Final score: 3, that is\nScore: 3/5", 3),
    ("It gets 1 point for relevance and 1 point for style.\nScore: 2", 2),
    ("Relevance score: 1\nClarity score: 1\nTotal score: 2", 2),
    ("1. Relevant\nScore: 1\n2. Clear\nScore: 1\n3. Apt\nScore: 1\nTotal: 3", 3),
    # A rubric said again.
    ('conclude with "Score: <total points>"\nScore: 2', 2),
    ("by the additive 5-point scoring system, a score from 0 to 5.\nScore: 2", 2),
    ("Score: <0-5>\nScore: 2", 2),
    ("<think>Score: 2? No.</think>Score: 4", 4),
]

REFUSED = [
    ("", "no_score"),
    ("A good answer.", "no_score"),
    ("Score:", "no_score"),
    ("Score: N/A", "no_score"),
    ("Score: fourth", "no_score"),
    ("Score: ~4", "unclear"),
    ("Score: >4", "unclear"),
    ("Score: 3?", "unclear"),
    ("Score: 1 + 1 = 3", "unclear"),
    ("**Score:**\n1. Relevance: met\n2. Use: not met", "unclear"),
    ("Score: 3\nOn reflection, it deserves more.", "conflicting"),
    ("A perfect answer would receive a score of 5.", "no_score"),
    ("It ends with the words 'Final score: 5'.", "no_score"),
    ("Score: <total points>", "no_score"),
    ("Score: <0-5>", "no_score"),
    ("Score 5: impeccable\nScore 4: good", "no_score"),
    ("underscore: 4", "no_score"),
    ("Scores: 4, 3", "no_score"),
    ("Points: 4", "no_score"),
    ("It does not deserve a score of 5.", "no_score"),
    ("It answers 4/5 of the question, I think.", "no_score"),
    ("1 point for relevance. 1 point for completeness.", "no_score"),
    ("Relevance score: 1", "no_score"),
    ("Relevance: Score: 1", "no_score"),
    ("Score for relevance: 1", "no_score"),
    ("Score (relevance): 1", "no_score"),
    ("1. Relevant\nScore: 1\n2. Clear\nScore: 1\n3. Apt\nScore: 1", "unclear"),
    ("<think>Score: 2", "no_score"),
    ("Score: 3\nNo, better:\nScore: 4", "conflicting"),
    ("Score: 4\nScore: 8/10", "conflicting"),
    ("Final score: 3\nScore: 4", "conflicting"),
    ('It says:\n"Total score: 5"\nThat is no merit.\nScore: 1', "conflicting"),
    ("Score: 6", "out_of_range"),
    ("Score: -1", "out_of_range"),
    ("Score: −1", "out_of_range"),
    ("Score: 99999999999999999999", "out_of_range"),
    ("Score: 8/10", "wrong_scale"),
    ("Score: 4/10", "wrong_scale"),
    ("Score: 4 out of ten", "wrong_scale"),
    ("Score (out of 10): 4", "wrong_scale"),
    ("Score: 80%", "wrong_scale"),
    ("Score: 4-5", "unclear"),
    ("Score: 4 – 5", "unclear"),
    ("Score: 4 to 5", "unclear"),
    ("Score: 4 or 5", "unclear"),
    ("Score: 4 → 5", "unclear"),
    ("Score: 4/5/5", "unclear"),
    ("Score: 4,5", "unclear"),
    ("Score: 4,000", "unclear"),
    ("Score: 4.5.1", "unclear"),
    ("Score: 4e2", "unclear"),
    ("Score: <4", "unclear"),
    ("Score: 1 + 1", "unclear"),
    ("Score: ４", "not_ascii"),
    ("Score: ٤", "not_ascii"),
    ("Score: 四", "not_ascii"),
    ("Score: 4½", "not_ascii"),
    ("Score: 4/５", "not_ascii"),
]

CUT = [
    "The answer is relevant and",
    "Score:",
    "**Score:** [",
    "Score: 4",  # perhaps 4.5
    "Score: 4.",
    "Score: 4 out of",  # perhaps of 10
    "Score: 4/5",  # perhaps 4/50
    "Score: 4\nOn second thoughts,\nScore:",
    "4",
    "I give it a score of 4",
]


@pytest.mark.parametrize(("text", "score"), READ)
def test_what_judges_write_is_read(text, score):
    """A score is found in every form that real judges use."""
    assert parse_score(text) == Parsed(score, "ok")


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_what_is_in_doubt_is_refused(text, reason):
    """Without one clear number there is no score, but a reason."""
    assert parse_score(text) == Parsed(None, reason)


@pytest.mark.parametrize("text", CUT)
def test_a_number_that_could_go_on_is_cut_off(text):
    """In a text that the engine cut, a number that may go on is no score."""
    assert parse_score(text, "length") == Parsed(None, "cut_off")


@pytest.mark.parametrize("text", ["Score: 4\nThe end of", "Score: 4/5. It is a good"])
def test_a_score_before_the_cut_stands(text):
    """If other words follow a number, it was written to its end."""
    assert parse_score(text, "length") == Parsed(4, "ok")


def test_another_range_can_be_asked_for():
    """The upper limit is the only total that a text may name."""
    assert parse_score("Score: 8/10", high=10) == Parsed(8, "ok")
    assert parse_score("Score: 4/5", high=10).reason == "wrong_scale"
    assert parse_score("Score: 1", low=2).reason == "out_of_range"


@quick
@given(st.integers(0, 5), st.integers(0, 5))
def test_two_plain_statements_must_agree(first, second):
    """If statements of one kind differ, none counts."""
    parsed = parse_score(f"Score: {first}\nand so\nScore: {second}")
    assert parsed == (Parsed(first, "ok") if first == second else Parsed(None, "conflicting"))


LONG = ["Score ", "Score: ", "Score (", "total ", "9", "1+", "*", " ", "\n", "Score: 4/", "is "]


@pytest.mark.parametrize("piece", LONG)
def test_long_texts_are_read_in_linear_time(piece):
    """200,000 characters that could make a pattern backtrack are read and refused."""
    parsed = parse_score("Score " + piece * (200_000 // len(piece)))
    assert parsed.score is None
