"""Which texts are read as a verdict or a rating, and which are refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srlm_kedro.judge import parsing
from srlm_kedro.judge.parsing import Parsed
from srlm_kedro.judge.verdict import REASONS, Verdict, parse_rating, parse_verdict

quick = settings(max_examples=50, deadline=None)

READ = [
    ("[[A]]", "first"),
    ("[[B]]", "second"),
    ("[[C]]", "tie"),
    ("[[b]]", "second"),
    ("[[ A ]]", "first"),
    ("**[[A]]**", "first"),
    (r"\[\[A\]\]", "first"),
    ("[[Tie]]", "tie"),
    ("[[Answer B]]", "second"),
    ("A is short, B is wrong.\n\n[[A]]", "first"),
    ("Final verdict: [[B]]\n", "second"),
    ("[[A]], as I said: [[A]]", "first"),
    ("Verdict: A", "first"),
    ("**Verdict**: B", "second"),
    ('Verdict: "A".', "first"),
    ("Verdict: [A]", "first"),
    ("My verdict is: C", "tie"),
    ("**Final Verdict:** Response B is better.", "second"),
    ("Winner: Assistant A", "first"),
    ("Decision: a tie", "tie"),
    ("A", "first"),
    ("**B**", "second"),
    ("Both are fine.\n[C]", "tie"),
    ("The rest is equal.\nAnswer A is better.", "first"),
    ("Overall, response B is the better response.", "second"),
    ("The better answer is B.", "second"),
    ("It is a tie.", "tie"),
    # Several statements: the strongest kind speaks.
    ("Winner: A at first sight, but no.\n[[B]]", "second"),
    ("Verdict: A\nFinal verdict: B", "second"),
    ("Final verdict: [[B]]\nWinner: B", "second"),
    ("[[A]] [[1, 2]] [[D]]", "first"),
    ("<think>[[A]]? No.</think>[[B]]", "second"),
    ('"[[A]]"', "first"),
    ("`[[B]]`", "second"),
    ('Final verdict: "[[A]]"', "first"),
    ("Answer A ends with '[[B]]', which is no merit.\n[[A]]", "first"),
    ('Answer A ends with "Final verdict: A".\n[[B]]', "second"),
    ("B does not answer, so [[A]]", "first"),
    ("I don't see a fault in it: [[A]]", "first"),
    ("Wait, let me look again. [[A]]", "first"),
    ("[[A]]\n\nAnswer A is better.", "first"),
    ("[[A]]\n\nIt is the better answer on all counts, and B is short.", "first"),
    ("[[A]]\n\nAnswer B is better than nothing.", "first"),
]

REFUSED = [
    ("", "no_verdict"),
    ("I would rather not say.", "no_verdict"),
    ("[[D]]", "no_verdict"),
    ("[[A>B]]", "no_verdict"),
    ("[[Answer C]]", "no_verdict"),
    ("[[А]]", "no_verdict"),  # Cyrillic
    ("[A] is short.\nB is long.", "no_verdict"),
    ("A good answer.", "no_verdict"),
    ("Answer A is not better.", "no_verdict"),
    ("If it were shorter, answer A is better.", "no_verdict"),
    ("Answer A is better than nothing.", "no_verdict"),
    ("<think>[[A]]", "no_verdict"),
    ("[[A]] or [[B]]", "conflicting"),
    ("[[A]], [[B]] or [[C]]\n[[B]]", "conflicting"),
    ("Verdict: A\nVerdict: B", "conflicting"),
    ("Verdict: A or B\nVerdict: A", "conflicting"),
    ("Answer A says [[A]] of itself.\nVerdict: B", "conflicting"),
    ('It ends in\n"Final verdict: A".\nWinner: B', "conflicting"),
    ("[[A]]\nOn reflection, B.", "conflicting"),
    ("[[A]]\nOn reflection, [[B]]", "conflicting"),
    ("[[A]]\n\nWait, B cites its sources.", "conflicting"),
    ("[[A]]. Actually, B is more complete.", "conflicting"),
    ("[[A]]\nNo, B.", "conflicting"),
    ("[[A]]\nNo, answer B is better.", "conflicting"),
    ("[[A]]\nAnswer B is better.", "conflicting"),
    ("[[A]]\nThe better answer is B.", "conflicting"),
    ("[[A]]\nIt is a tie.", "conflicting"),
    ("[[A]]\nCorrection: B", "conflicting"),
    ("[[A]]\nI must correct myself.", "conflicting"),
    ("[[A]]\nRevised verdict: [[B]]", "conflicting"),
    ("Verdict: A\nRevised verdict: B", "conflicting"),
    ("Final verdict: A\nHmm, B may be better.", "conflicting"),
    ("Verdict: A\nAnswer B is better.", "conflicting"),
    ("Answer A is better.\nAnswer B is better.", "conflicting"),
    ("It is not [[A]].", "unclear"),
    ("If it were shorter, [[A]].", "unclear"),
    ("[[A]] if it were shorter.", "unclear"),
    ("[[A]] would be too kind.", "unclear"),
    ("Answer A ends with '[[A]]'.", "no_verdict"),
    ("Answer B contains “[[B]]” at its end.", "no_verdict"),
    ("It ends with `[[A]]`, which is odd.", "no_verdict"),
    ('Answer A ends with "Final verdict: A".', "no_verdict"),
    ("> [[A]]", "no_verdict"),
    ("Verdict: A?", "unclear"),
    ("Verdict: not A", "unclear"),
    ("Verdict: A or B", "unclear"),
    ("Verdict: A good answer", "unclear"),
    ("Verdict: A, B are equal", "unclear"),
    ("Verdict: A" + "." * 500 + " or B", "unclear"),
    ("Verdict: response C", "unclear"),
]

RATED = [
    ("[[7]]", 7),
    ("Rating: [[7.5]]", 7.5),
    ("**Rating: [[10]]**", 10),
    ("Rating: [[7/10]]", 7),
    (r"Rating: \[\[7\]\]", 7),
    ("Rating: 7/10", 7),
    ("Rating: [7]", 7),
    ("Grade: 8", 8),
    ("Score: 8 out of 10", 8),
    ("I give it a rating of 8.", 8),
    ("The matrix [[1, 2]] is right.\nRating: [[9]]", 9),
    ("Rating: [[n]]\nRating: 8", 8),
    ("Style rating: 3\nRating: [[8]]", 8),
    ("Rating: 7\nRevised rating: 8", 8),
    ("Rating: [[7]]\nIt gets a 7 for its clarity.", 7),
    ("Rating: [[7]]\nRating: 7/10", 7),
    ("The answer ends with '[[10]]', which is no merit.\nRating: [[2]]", 2),
    ("Rating: seven", 7),
    ("[RESULT] 7", 7),
]

UNRATED = [
    ("", "no_score"),
    ("A good answer, seven at least.", "no_score"),
    ("[[n]]", "no_score"),
    ("Style rating: 3", "no_score"),
    ("[[0]]", "out_of_range"),
    ("Rating: [[11]]", "out_of_range"),
    ("Rating: 0.5", "out_of_range"),
    ("[[-3]]", "out_of_range"),
    ("[[4/5]]", "wrong_scale"),
    ("[[80%]]", "wrong_scale"),
    ("[[7-8]]", "unclear"),
    ("[[７]]", "not_ascii"),
    ("[[7]] or [[8]]", "conflicting"),
    ("Rating: 7\nScore: 8", "conflicting"),
    ("[[7]]\nOn reflection, 8.", "conflicting"),
    ("Rating: [[7]]\nRating: 8", "conflicting"),
    ("Rating: [[7]]\nRevised rating: [[8]]", "conflicting"),
    ("[[7]]\nTherefore I give it a rating of 8.", "conflicting"),
    ("The answer ends with '[[10]]'.", "no_score"),
    ("It is not worth [[10]].", "unclear"),
    ("[[10]] if it were shorter", "unclear"),
    ("[[7?]]", "unclear"),
    ("[[>7]]", "unclear"),
]


@pytest.mark.parametrize(("text", "winner"), READ)
def test_what_judges_write_is_read(text, winner):
    """A verdict is found in every clear form."""
    assert parse_verdict(text) == Verdict(winner, "ok")


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_what_is_in_doubt_is_refused(text, reason):
    """Without one clear verdict there is none and no tie, but a reason."""
    assert parse_verdict(text) == Verdict(None, reason)


@pytest.mark.parametrize(("text", "rating"), RATED)
def test_ratings_are_read(text, rating):
    """A rating is in double brackets, or in the form of a score."""
    assert parse_rating(text) == Parsed(rating, "ok")


@pytest.mark.parametrize(("text", "reason"), UNRATED)
def test_ratings_in_doubt_are_refused(text, reason):
    """They are out of range or scale, or there are several or none."""
    assert parse_rating(text) == Parsed(None, reason)


@pytest.mark.parametrize("text", ["Answer A is", "[[A]]", "[[7]] because", "Verdict: A"])
def test_a_text_that_was_cut_says_nothing(text):
    """The conclusion comes last, so it is missing."""
    assert parse_verdict(text, "length") == Verdict(None, "cut_off")
    assert parse_rating(text, "length") == Parsed(None, "cut_off")


def test_another_range_can_be_asked_for():
    """`low` and `high` are the limits of a rating."""
    assert parse_rating("[[4/5]]", high=5) == Parsed(4, "ok")
    assert parse_rating("[[1]]", low=2).reason == "out_of_range"


@quick
@given(st.text(alphabet="abc ,!?\n"), st.sampled_from("ABC"), st.integers(10, 100))
def test_a_last_line_is_read_whatever_stands_before(prose, letter, tenths):
    """Prose without brackets or labels does not change what the last line says."""
    winners = {"A": "first", "B": "second", "C": "tie"}
    assert parse_verdict(f"{prose}\n[[{letter}]]").winner == winners[letter]
    assert parse_rating(f"{prose}\nRating: [[{tenths / 10}]]").score == tenths / 10


@quick
@given(st.sampled_from("ABC"), st.sampled_from("ABC"), st.integers(1, 9), st.integers(1, 9))
def test_two_statements_must_agree(first, second, low, high):
    """If verdicts or ratings in brackets differ, none counts."""
    verdict = parse_verdict(f"[[{first}]]\nand so\n[[{second}]]")
    rating = parse_rating(f"[[{low}]]\nand so\n[[{high}]]")
    assert verdict.reason == ("ok" if first == second else "conflicting")
    assert rating.reason == ("ok" if low == high else "conflicting")


LONG = ["[[", "[[A", "[[A]] ", "Verdict: ", "verdict ", "Final verdict: A", "*", " ", "\n", "A"]


@pytest.mark.parametrize("piece", LONG)
def test_long_texts_are_read_in_linear_time(piece):
    """200,000 characters that could make a pattern backtrack are read."""
    text = "Verdict: " + piece * (200_000 // len(piece))
    assert parse_verdict(text).reason in REASONS
    assert parse_rating(text).reason in parsing.REASONS
