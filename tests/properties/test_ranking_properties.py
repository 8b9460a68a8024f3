"""What holds for all pairs of one prompt, held against all that follows from them."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from srlm_kedro.datasets.rows.dialogues import UnusableRowError
from srlm_kedro.datasets.rows.preferences import CONTRADICTING, NO_RANKING, common_ranking

TEXTS = "abcde"
PAIRS = st.sampled_from([(a, b) for a in TEXTS for b in TEXTS if a != b])
SOUND = st.sampled_from(list(combinations(TEXTS, 2)))
"""Pairs that form no cycle."""


def _following(pairs):
    """Every (better, worse) that the pairs say, at one or more removes."""
    found = set(pairs)
    for _ in TEXTS:
        found |= {(a, d) for a, b in found for c, d in found if b == c}
    return found


def _ranks(pairs):
    """The ranks by text, or why there are none."""
    try:
        return {one["text"]: one["rank"] for one in common_ranking(pairs)}
    except UnusableRowError as error:
        return error.reason


def _is_one_ranking(texts, follows):
    """Whether those that nothing orders fall into ranks: then they share all above and below."""
    apart = [(a, b) for a in texts for b in texts if {(a, b), (b, a)}.isdisjoint(follows)]
    return all(
        ((a, c) in follows) == ((b, c) in follows) and ((c, a) in follows) == ((c, b) in follows)
        for a, b in apart
        for c in texts
    )


@given(pairs=st.lists(PAIRS, min_size=1) | st.lists(SOUND, min_size=1))
def test_a_common_ranking_says_what_the_pairs_say_and_no_more(pairs):
    """There is one exactly if the pairs form no cycle and leave no rank's order open."""
    texts = {text for pair in pairs for text in pair}
    follows, ranks = _following(pairs), _ranks(pairs)
    if any((text, text) in follows for text in texts):
        assert ranks == CONTRADICTING
    elif not _is_one_ranking(texts, follows):
        assert ranks == NO_RANKING
    else:
        assert {(a, b) for a in texts for b in texts if ranks[a] < ranks[b]} == follows
