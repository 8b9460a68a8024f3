"""The order in which training reads its rows."""

import pytest

from srlm_kedro.engines.training.trl.token_rows import reading_order

LENGTHS = [5, 9, 1, 7, 3, 8, 2, 6]


def test_each_epoch_reads_every_row_once():
    """An epoch is a permutation of the rows, and the next epoch is another one."""
    order = reading_order(LENGTHS, batch_size=4, epochs=2, seed=1)
    assert sorted(order[:8]) == sorted(order[8:]) == list(range(8))
    assert order[:8] != order[8:]


def test_longest_first_within_a_batch_only():
    """Batches are random. Only the rows within a batch are sorted by length."""
    order = reading_order(LENGTHS, batch_size=4, epochs=1, seed=1)
    batches = [[LENGTHS[row] for row in order[start : start + 4]] for start in (0, 4)]
    assert all(batch == sorted(batch, reverse=True) for batch in batches)
    assert min(batches[0]) < max(batches[1])
    assert min(batches[1]) < max(batches[0])


@pytest.mark.parametrize(("epochs", "read"), [(0.5, 4), (1.25, 10), (0.01, 1)])
def test_epochs_may_be_fractions(epochs, read):
    """A part of an epoch reads a part of the rows, and at least one."""
    assert len(reading_order(LENGTHS, batch_size=4, epochs=epochs, seed=1)) == read


def test_the_order_depends_on_the_seed_alone():
    """The same seed gives the same order, and another seed gives another."""
    orders = [reading_order(LENGTHS, 4, 1, seed) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
