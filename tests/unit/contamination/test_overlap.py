"""Runs of words that evaluation prompts and training texts have in common."""

from hypothesis import given
from hypothesis import strategies as st

from srlm_kedro.pipelines.contamination.overlap import Overlap, words

LINES = st.lists(st.sampled_from("abc"), max_size=8).map(" ".join)


def test_words_are_lower_cased_letters_and_digits_of_any_script():
    """Texts that differ only in punctuation, case and white space are equal."""
    assert words("Name 2 trees:\n the OAK, the_elm!") == (
        "name",
        "2",
        "trees",
        "the",
        "oak",
        "the",
        "elm",
    )
    assert words("Où est-ce?") == ("où", "est", "ce")
    assert words("?! ...") == ()


def test_a_long_prompt_is_found_by_the_share_of_its_runs():
    """Five words have four runs of two; a text with two of them has an overlap of one half."""
    found = Overlap(["a b c d e"], 2).search([("t1", "x B, c D y")])
    assert (found[0].exact, found[0].overlap, found[0].source_id) == (False, 0.5, "t1")


def test_a_text_that_equals_a_prompt_is_exact():
    """Case and punctuation do not count; with more words around it there is only an overlap."""
    found = Overlap(["a b c", "d e f"], 2).search([("t1", "A b, c."), ("t2", "so: d e f g")])
    assert (found[0].exact, found[0].overlap) == (True, 1.0)
    assert (found[1].exact, found[1].overlap) == (False, 1.0)


def test_a_short_prompt_is_compared_as_a_whole():
    """A prompt with fewer words than a run is found only where it is the whole text."""
    overlap = Overlap(["name two birds"], 8)
    assert overlap.search([("t1", "name two birds and put them in brackets please")]) == {}
    assert overlap.search([("t2", "Name two birds!")])[0].exact


def test_of_several_texts_the_one_that_shares_most_is_named():
    """An equal text comes before any overlap, the first of several is named, all are counted."""
    texts = [("t1", "b c x"), ("t2", "a b c d y"), ("t3", "a b c d z"), ("t4", "q")]
    found = Overlap(["a b c d"], 2).search(texts)
    assert (found[0].source_id, found[0].texts, found[0].exact) == ("t2", 3, False)
    assert Overlap(["a b c d"], 2).search([*texts, ("t5", "a b c d")])[0].source_id == "t5"


def test_texts_without_words_are_equal_to_nothing():
    """Two texts that have only punctuation are not equal."""
    assert Overlap(["...", "a b"], 2).search([("t1", "!!"), ("t2", "")]) == {}


@given(st.lists(LINES, min_size=1, max_size=4), st.lists(LINES, max_size=4), st.integers(1, 4))
def test_the_index_finds_what_comparing_all_with_all_finds(prompts, texts, ngram):
    """The overlaps are those that a search through all texts finds."""

    def runs(line):
        split = line.split()
        return {tuple(split[i : i + ngram]) for i in range(len(split) - ngram + 1)}

    expected = {}
    for number, prompt in enumerate(prompts):
        shares = [
            1.0 if prompt == text else len(runs(prompt) & runs(text)) / max(len(runs(prompt)), 1)
            for text in texts
            if prompt
        ]
        if any(shares):
            expected[number] = (max(shares), sum(share > 0 for share in shares))
    found = Overlap(prompts, ngram).search([(str(i), text) for i, text in enumerate(texts)])
    assert {n: (hit.overlap, hit.texts) for n, hit in found.items()} == expected
