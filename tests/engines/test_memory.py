"""How many rows fit into a budget."""

from types import SimpleNamespace

import torch
from hypothesis import given
from hypothesis import strategies as st

from srlm_kedro.engines.generation.tiered.row_memory import (
    Costs,
    Work,
    groups_beside,
    plain_rows,
    tiered_rows,
)

COSTS = Costs(token=1000, draw=5000, passing=300, score=8, queries=64)
WORK = st.builds(
    Work, st.integers(0, 500), st.integers(1, 3000), st.integers(1, 64), st.integers(1, 512)
)


@given(WORK, st.integers(0, 10**10))
def test_keys_and_values_stay_within_the_budget(work, budget):
    """What rows, groups and the shared prefix hold fits, unless one row alone is too much."""
    rows = tiered_rows(budget, COSTS, work)
    groups = groups_beside(rows, work.samples)
    held = COSTS.token * (work.shared + groups * work.own + rows * work.new)
    assert rows == 1 or held + rows * COSTS.draw <= budget
    plain = plain_rows(budget, COSTS, work)
    assert plain == 1 or plain * COSTS.token * work.seen <= budget


@given(WORK, st.integers(0, 10**10))
def test_more_memory_never_means_fewer_rows(work, budget):
    """Rows grow with the budget."""
    assert tiered_rows(budget, COSTS, work) <= tiered_rows(2 * budget, COSTS, work)
    assert plain_rows(budget, COSTS, work) <= plain_rows(2 * budget, COSTS, work)


@given(st.integers(1, 500), st.integers(1, 64))
def test_there_is_a_place_for_every_group(rows, samples):
    """Places for the groups of a full batch, and never more than rows."""
    assert -(-rows // samples) <= groups_beside(rows, samples) <= rows


def test_odd_configurations_are_read_too():
    """Widths by layer count by the widest, and missing ones are made up from others."""
    config = SimpleNamespace(
        num_hidden_layers=2, hidden_size=32, vocab_size=100, intermediate_size=[64, 128]
    )
    config.get_text_config = lambda decoder: config
    model = SimpleNamespace(config=config, dtype=torch.float32, device=torch.device("cpu"))
    assert Costs.of(model).token == 2 * 2 * 32 * 4
