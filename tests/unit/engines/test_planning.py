"""Which samples are drawn together."""

from hypothesis import given
from hypothesis import strategies as st

from srlm_kedro.engines.generation.planning import plan

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=30)


@given(LENGTHS, st.integers(1, 9), st.integers(1, 40), st.integers(1, 20))
def test_every_sample_is_drawn_once(lengths, samples, new_tokens, max_rows):
    """All batches together hold each sample of each request once."""
    batches = plan(lengths, samples, new_tokens, max_rows, max_tokens=1000)
    drawn = [(share.request, i) for batch in batches for share in batch for i in share.samples]
    assert sorted(drawn) == [(r, i) for r in range(len(lengths)) for i in range(samples)]


@given(LENGTHS, st.integers(1, 9), st.integers(1, 20), st.integers(1, 500))
def test_batches_keep_their_limits(lengths, samples, max_rows, max_tokens):
    """No batch has more rows or tokens than allowed, unless one row alone is too long."""
    for batch in plan(lengths, samples, 10, max_rows, max_tokens):
        rows = sum(len(share.samples) for share in batch)
        longest = max(lengths[share.request] for share in batch)
        assert rows <= max_rows
        assert rows == 1 or rows * (longest + 10) <= max_tokens


def test_long_prompts_go_first_beside_their_like():
    """Prompts of like length share a batch, so that little is padded."""
    batches = list(plan([3, 30, 4, 31], 1, 10, max_rows=2, max_tokens=1000))
    assert [[share.request for share in batch] for batch in batches] == [[3, 1], [2, 0]]
