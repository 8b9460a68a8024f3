"""Which samples are drawn in one wave, and how many rows fit into a budget."""

from types import SimpleNamespace

import torch
from hypothesis import given
from hypothesis import strategies as st

from srlm_kedro.engines.generation.tiered.planning import (
    Costs,
    Share,
    Work,
    places_for_groups,
    plain_rows,
    tiered_rows,
    waves,
)

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=30)
MEMORY = st.integers(1, 500)
COSTS = Costs(token=1000, draw=5000, passing=300, score=8, queries=64)
WORK = st.builds(
    Work, st.integers(0, 500), st.integers(1, 3000), st.integers(1, 64), st.integers(1, 512)
)


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
    """Prompts of similar length are drawn together, so that little is padded."""
    shares = [share for wave in planned(lengths, samples, memory) for share in wave.shares]
    drawn = [lengths[share.request] for share in shares]
    assert drawn == sorted(drawn, reverse=True)


def test_one_long_prompt_does_not_narrow_all_others():
    """After a full wave of long prompts, short ones get a wave of more rows."""
    first, second = planned([390, 10, 11, 12, 13], 1, 400)
    assert [share.request for share in first.shares] == [0]
    assert first.rows == 1
    assert second.rows == 4


@given(WORK, st.integers(0, 10**10))
def test_keys_and_values_stay_within_the_budget(work, budget):
    """What rows, groups and the shared prefix hold fits, unless a single row is too much."""
    rows = tiered_rows(budget, COSTS, work)
    groups = places_for_groups(rows, work.samples)
    held = COSTS.token * (work.shared + groups * work.own + rows * work.new)
    assert rows == 1 or held + rows * COSTS.draw <= budget
    plain = plain_rows(budget, COSTS, work)
    assert plain == 1 or plain * COSTS.token * work.seen <= budget


@given(WORK, st.integers(0, 10**10))
def test_more_memory_never_means_fewer_rows(work, budget):
    """The number of rows grows with the budget."""
    assert tiered_rows(budget, COSTS, work) <= tiered_rows(2 * budget, COSTS, work)
    assert plain_rows(budget, COSTS, work) <= plain_rows(2 * budget, COSTS, work)


@given(st.integers(1, 500), st.integers(1, 64))
def test_there_is_a_place_for_every_group(rows, samples):
    """There are places for the groups of a full batch, and never more than rows."""
    assert -(-rows // samples) <= places_for_groups(rows, samples) <= rows


def test_odd_configurations_are_read_too():
    """A width that differs by layer counts as the widest; a missing one is derived from others."""
    config = SimpleNamespace(
        num_hidden_layers=2, hidden_size=32, vocab_size=100, intermediate_size=[64, 128]
    )
    config.get_text_config = lambda decoder: config
    model = SimpleNamespace(config=config, dtype=torch.float32, device=torch.device("cpu"))
    assert Costs.of(model).token == 2 * 2 * 32 * 4
