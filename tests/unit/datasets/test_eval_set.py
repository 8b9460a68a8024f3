"""An evaluation set that a user may bring."""

import pytest
from kedro.io import DatasetError

from srlm_kedro.datasets.eval_set import EvalSetDataset


def test_the_rows_are_those_of_the_file(tmp_path):
    """One JSON object per line, in order; other content is another recipe."""
    file = tmp_path / "set.jsonl"
    dataset = EvalSetDataset(str(file))
    assert dataset.load() is None
    without = dataset.fingerprint()
    file.write_text('{"key": 1, "prompt": "Why?"}\n{"key": 2, "prompt": "How?"}\n', "utf-8")
    assert [row["key"] for row in dataset.load()] == [1, 2]
    assert dataset.fingerprint() != without


@pytest.mark.parametrize("line", ["{", "[1]"])
def test_a_line_that_is_no_object_is_refused(tmp_path, line):
    """The message names file and line."""
    file = tmp_path / "set.jsonl"
    file.write_text(f'{{"key": 1}}\n{line}\n', "utf-8")
    with pytest.raises(DatasetError, match=r"set\.jsonl, line 2"):
        EvalSetDataset(str(file)).load()


def test_nobody_writes_to_it(tmp_path):
    """It comes from a file that people bring."""
    with pytest.raises(DatasetError, match="comes from a file"):
        EvalSetDataset(str(tmp_path / "set.jsonl")).save([])
