"""Which rows are drawn together."""

import torch

from srlm_kedro.engines.generation.base import Sampling
from srlm_kedro.engines.generation.completions import StopStrings
from srlm_kedro.engines.generation.tiered.decoding import Group, complete

END = 0


class Counting:
    """Counts down from the last token of each prompt, and ends at zero."""

    vacant = 100

    def __init__(self):
        self.rows: list[int] = []
        self.sizes: list[int] = []

    def admit(self, prompts, copies):
        new = [p[-1] for p, count in zip(prompts, copies, strict=True) for _ in range(count)]
        self.rows += new
        return self._logits(new)

    def step(self, tokens):
        self.sizes.append(len(tokens))
        self.rows = tokens.tolist()
        return self._logits(self.rows)

    def drop(self, done):
        order = [place for place in range(len(self.rows)) if place not in done][::-1]
        self.rows = [self.rows[place] for place in order]
        return order

    def _logits(self, rows):
        return torch.nn.functional.one_hot(torch.tensor(rows) - 1, 50).float()


def drawn(lengths, rows, samples=1, **sampling):
    """The decoder, and what was drawn for each request and sample."""
    decoder, greedy = Counting(), Sampling(temperature=0, **{"max_new_tokens": 40} | sampling)
    groups = [Group(i, [n], range(samples), [0] * samples) for i, n in enumerate(lengths)]
    finished = list(complete(decoder, groups, rows, greedy, (END,), StopStrings(None, ())))
    return decoder, {(row.request, row.sample): row.ids for row in finished}


def test_every_row_is_drawn_to_its_own_end():
    """Rows that leave, join and change places keep what they drew."""
    lengths = [20, 3, 7, 1, 5, 12, 2, 9, 4, 30]
    _, found = drawn(lengths, rows=4, samples=2)
    for (request, _), ids in found.items():
        assert ids == list(range(lengths[request] - 1, -1, -1))
    assert len(found) == 20


def test_waiting_rows_join_those_that_draw():
    """A long row does not keep others waiting, and there are never more rows than allowed."""
    decoder, _ = drawn([30] + [4] * 21, rows=4)
    assert max(decoder.sizes) == 4
    assert len(decoder.sizes) == 29  # the other 21 rows, three at a time, fit beside the long one


def test_rows_that_cannot_join_wait_for_an_empty_batch():
    """A decoder without a free place gets no group."""

    class Closed(Counting):
        @property
        def vacant(self):
            return 0 if self.rows else 100

    decoder = Closed()
    groups = [Group(i, [n], range(1), [0]) for i, n in enumerate([9, 2, 2, 2])]
    sampling = Sampling(temperature=0, max_new_tokens=40)
    rows = list(complete(decoder, groups, 2, sampling, (END,), StopStrings(None, ())))
    assert [len(row.ids) for row in rows] == [2, 9, 2, 2]
    assert decoder.sizes == [2] + [1] * 7 + [2]


def test_a_row_ends_at_its_longest():
    """No completion is longer than max_new_tokens or shorter than min_new_tokens."""
    _, found = drawn([20, 3], rows=2, max_new_tokens=5)
    assert [len(ids) for ids in found.values()] == [3, 5]
    _, found = drawn([1, 2], rows=2, min_new_tokens=3, max_new_tokens=3)
    assert [len(ids) for ids in found.values()] == [3, 3]
    assert all(END not in ids[:2] for ids in found.values())
