"""Tables that are written and read part by part."""

import pandas as pd
import pytest
from kedro.io import DatasetError
from pandas.testing import assert_frame_equal

from srlm_kedro.datasets import parts
from srlm_kedro.datasets.parts import PartsDataset
from srlm_kedro.parts import Parts

FIRST = pd.DataFrame({"id": ["a", "b"], "score": [1.0, float("nan")], "text": ["x", "é\n"]})
SECOND = pd.DataFrame({"id": ["c"], "score": [float("nan")], "text": [""]})


@pytest.fixture
def dataset(tmp_path):
    return PartsDataset(str(tmp_path / "folder" / "table.parquet"))


def test_parts_come_back(dataset):
    """Also by pandas, as one table."""
    dataset.save(Parts(lambda: iter([FIRST, SECOND])))
    whole = pd.concat([FIRST, SECOND], ignore_index=True)
    assert_frame_equal(dataset.load().whole(), whole)
    assert_frame_equal(pd.read_parquet(str(dataset._filepath)), whole)


def test_they_are_read_in_parts(dataset, monkeypatch):
    """Of limited size, whatever was written."""
    monkeypatch.setattr(parts, "ROWS", 2)
    dataset.save(pd.concat([FIRST, SECOND, FIRST], ignore_index=True))
    assert [len(one) for one in dataset.load()] == [2, 2, 1]


def test_what_was_saved_is_read_from_the_file(dataset):
    """Hooks read it after the save, when its sources may be gone."""
    source = [FIRST]
    data = Parts(lambda: iter([source.pop()]))
    dataset.save(data)
    assert_frame_equal(data.whole(), FIRST)


def test_a_table_without_rows_keeps_its_columns(dataset):
    """And their types."""
    dataset.save(Parts.of(FIRST[:0]))
    assert_frame_equal(dataset.load().whole(), FIRST[:0])


def test_nodes_may_get_the_whole_table(tmp_path):
    """As from pandas."""
    whole = PartsDataset(str(tmp_path / "t.parquet"), whole=True)
    whole.save(Parts(lambda: iter([FIRST, SECOND])))
    assert_frame_equal(whole.load(), pd.concat([FIRST, SECOND], ignore_index=True))


def test_a_failure_leaves_the_file_that_was_there(dataset):
    """It is complete or absent; the next save is not in the way of what was left."""

    def broken():
        yield SECOND
        raise OSError("the disk is full")

    dataset.save(FIRST)
    with pytest.raises(DatasetError, match="the disk is full"):
        dataset.save(Parts(broken))
    assert_frame_equal(dataset.load().whole(), FIRST)
    dataset.save(SECOND)
    assert_frame_equal(dataset.load().whole(), SECOND)


def test_another_type_in_a_later_part_is_refused(dataset):
    """It would be lost, or change the table."""
    with pytest.raises(DatasetError, match="score"):
        dataset.save(Parts(lambda: iter([FIRST, SECOND.assign(score="high")])))
    assert not dataset.exists()


def test_kedro_viz_shows_the_first_rows(dataset):
    dataset.save(Parts(lambda: iter([FIRST, SECOND])))
    assert dataset.preview(nrows=1)["data"] == [["a", 1.0, "x"]]
    assert dataset.preview()["columns"] == ["id", "score", "text"]


def test_no_file(dataset):
    with pytest.raises(DatasetError, match="there is no such file"):
        dataset.load()
