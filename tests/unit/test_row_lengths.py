"""How many tokens are still to be drawn."""

import random

import pytest

from srlm_kedro.display import progress
from srlm_kedro.display.progress import Progress
from srlm_kedro.display.row_lengths import RowLengths


def rows(ended=(), at_work=(), limit=100):
    lengths = RowLengths()
    for length in ended:
        lengths.end(length, 1)
    lengths.at_work, lengths.limit = at_work, limit
    return lengths


def test_rows_of_which_none_has_ended_go_on_to_the_limit():
    """Nothing else is known of them; those that wait are as long."""
    assert rows(at_work=[30, 30]).left(0) == 2 * 70
    assert rows(at_work=[30]).left(3) == 70 + 3 * 100
    assert rows(at_work=[30, 30]).drawn == 60


def test_rows_are_as_long_as_those_that_ended():
    """All rows ended at 20: those that wait will, too."""
    assert rows(ended=[20, 20]).left(5) == 5 * 20
    assert rows(ended=[10, 30]).left(4) == 4 * 20


def test_the_rows_at_work_are_longer_than_those_that_ended_before_them():
    """Half ended at 10; the others are at 40 and go on to the limit of 100."""
    half = rows(ended=[10, 10], at_work=[40, 40])
    assert half.left(0) == 2 * 60
    assert half.left(1) == pytest.approx(2 * 60 + 10 + 0.5 * 90)


def test_a_row_at_work_goes_on_as_those_did_that_were_as_far():
    """Of three rows that reached 50 tokens two ended at 60 and 80; one at 50 is like them."""
    found = rows(ended=[60, 80], at_work=[50]).left(0)
    assert found == pytest.approx(10 + 0.5 * 20)


def test_nothing_is_left_when_all_have_ended():
    assert rows(ended=[3, 4]).left(0) == 0
    assert RowLengths().left(0) == 0


@pytest.fixture
def told():
    heard = []

    def listener(*news):
        heard.append(news[1:3])

    progress.listen(listener)
    yield heard
    progress.unlisten(listener)


def draw_all(lengths, at_once, limit, told):
    """What was said at each second of a drawing that takes a second for a token of every row."""
    now, waiting, working, said = 0.0, list(lengths), [], []
    with Progress("m1", len(lengths), clock=lambda: now) as work:
        while waiting or working:
            free = at_once - len(working)
            working += [[length, 0] for length in waiting[:free]]
            waiting = waiting[free:]
            now += 1.0
            for row in working:
                row[1] += 1
            ended = [row for row in working if row[1] == row[0]]
            working = [row for row in working if row[1] < row[0]]
            work.at_work([row[1] for row in working], limit)
            for row in ended:
                work.add(1, row[0])
            said.append((now, *told[-1]))
    return said


def _uniform(count):
    chance = random.Random(0)
    return [chance.randint(20, 100) for _ in range(count)]


CASES = {
    "all end at the limit": ([100] * 32, 32),
    "all end late, in two batches": ([90] * 32, 16),
    "some are short, most are long": ([5] * 8 + [100] * 24, 32),
    "of every length": (_uniform(64), 64),
    "of every length, a few at once": (_uniform(64), 8),
}


@pytest.mark.parametrize("case", CASES)
def test_the_remaining_time_is_honest_long_before_the_rows_end(case, told):
    """From a tenth of the time on it is off by less than its half and a tenth of the whole."""
    lengths, at_once = CASES[case]
    said = draw_all(lengths, at_once, 100, told)
    end = said[-1][0]
    for now, done, total in said[int(end / 10) : -1]:
        left = now / done * (total - done)
        assert abs(left - (end - now)) < 0.5 * (end - now) + 0.1 * end
    assert said[-1][1] == said[-1][2] == len(lengths)
    shares = [done for _, done, _ in said]
    assert shares == sorted(shares)
