"""Tables and rows that are made part by part."""

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from srlm_kedro import parts
from srlm_kedro.parts import Made, Parts, tables


def numbered(count):
    return ((number, f"text {number}") for number in range(count))


@pytest.mark.parametrize(("count", "sizes"), [(0, [0]), (1, [1]), (2, [2]), (5, [2, 2, 1])])
def test_rows_become_tables_of_limited_size(monkeypatch, count, sizes):
    """No rows are one table, so that the columns are known."""
    monkeypatch.setattr(parts, "ROWS", 2)
    made = list(tables(numbered(count), ["number", "text"]))
    assert [len(one) for one in made] == sizes
    assert all(list(one) == ["number", "text"] for one in made)


def test_the_whole_table_is_numbered_from_0(monkeypatch):
    """It can be asked for more than once."""
    monkeypatch.setattr(parts, "ROWS", 2)
    table = Parts(lambda: tables(numbered(5), ["number", "text"]))
    expected = pd.DataFrame(numbered(5), columns=["number", "text"])
    for _ in range(2):
        assert_frame_equal(table.whole(), expected)


def test_a_table_in_memory_is_its_only_part():
    """It is the same object."""
    table = pd.DataFrame({"a": [1]})
    assert [one is table for one in Parts.of(table)] == [True]
    assert Parts.of(table).whole() is table


def test_items_are_made_when_they_are_asked_for():
    """Only those, each time."""
    asked = []
    items = Made(10, lambda place: asked.append(place) or 10 * place)
    assert len(items) == 10
    assert asked == []
    assert items[3] == 30
    assert items[-1] == 90
    assert items[2:4] == [20, 30]
    assert asked == [3, 9, 2, 3]
    with pytest.raises(IndexError):
        items[10]
    assert list(Made(2, str)) == ["0", "1"]
    assert not Made(0, str)
