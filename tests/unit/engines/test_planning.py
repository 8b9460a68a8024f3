"""Which samples are drawn in one wave."""

from hypothesis import given
from hypothesis import strategies as st

from srlm_kedro.engines.generation.tiered.planning import Share, waves

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=30)
MEMORY = st.integers(1, 500)


def planned(lengths, samples, memory):
    """Waves whose rows take as much as their longest prompt and ten tokens."""
    shares = [Share(request, range(samples)) for request in range(len(lengths))]
    return list(waves(shares, lengths, lambda longest: max(1, memory // (longest + 10))))


@given(LENGTHS, st.integers(1, 9), MEMORY)
def test_every_sample_is_drawn_once(lengths, samples, memory):
    """All waves together hold each sample of each request once."""
    shares = [share for wave in planned(lengths, samples, memory) for share in wave.shares]
    drawn = sorted((share.request, i) for share in shares for i in share.samples)
    assert drawn == [(r, i) for r in range(len(lengths)) for i in range(samples)]


@given(LENGTHS, st.integers(1, 9), MEMORY)
def test_rows_fit_beside_the_longest_prompt(lengths, samples, memory):
    """No wave draws more at once than fits, and none of its shares is wider."""
    for wave in planned(lengths, samples, memory):
        longest = max(lengths[share.request] for share in wave.shares)
        assert wave.rows <= max(1, memory // (longest + 10))
        assert max(len(share.samples) for share in wave.shares) <= wave.rows


@given(LENGTHS, st.integers(1, 9), MEMORY)
def test_long_prompts_go_first(lengths, samples, memory):
    """Prompts of like length draw together, so that little is padded."""
    shares = [share for wave in planned(lengths, samples, memory) for share in wave.shares]
    drawn = [lengths[share.request] for share in shares]
    assert drawn == sorted(drawn, reverse=True)


def test_one_long_prompt_does_not_narrow_all_others():
    """Behind a full wave of long prompts, short ones get a wave of more rows."""
    first, second = planned([390, 10, 11, 12, 13], 1, 400)
    assert [share.request for share in first.shares] == [0]
    assert first.rows == 1
    assert second.rows == 4
