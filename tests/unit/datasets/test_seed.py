"""Seed data as JSON lines."""

import json

import pandas as pd
import pytest
from kedro.io import DatasetError

from srlm_kedro.datasets.seed import SeedDataset

IFT = "srlm_kedro.pipelines.ift.records.IftRow"
EFT = "srlm_kedro.pipelines.ift.records.EftRow"


def dataset(path, lines, record=IFT):
    path.write_bytes(b"\n".join(lines) + b"\n")
    return SeedDataset(filepath=str(path), record=record)


def row(**changes):
    return json.dumps({"id": "a", "prompt": "p", "response": "r"} | changes).encode()


def test_rows_come_back_as_they_were_saved(tmp_path):
    """Saving and loading is the identity, other scripts included."""
    table = pd.DataFrame([{"id": "a", "prompt": "Grüße, 你好", "response": "line\nbreak"}])
    seed = SeedDataset(filepath=str(tmp_path / "ift.jsonl"), record=IFT)
    seed.save(table)
    pd.testing.assert_frame_equal(seed.load(), table)
    assert "你好" in (tmp_path / "ift.jsonl").read_text("utf-8")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{not json", "not a JSON object"),
        (b"[1, 2]", "valid dictionary"),
        (b'\xff\xfe{"id": 1}', "UTF-8"),
        (row(response=""), "response: String should have at least 1 character"),
        (row(id=7), "id: Input should be a valid string"),
        (row(reward=5), "reward: Extra inputs"),
        (b'{"id": "a", "prompt": "p"}', "response: Field required"),
    ],
)
def test_a_bad_row_is_refused_with_file_and_line(tmp_path, line, said):
    """Which file, which line, what is wrong with it."""
    with pytest.raises(DatasetError, match=f"ift.jsonl, line 2: .*{said}"):
        dataset(tmp_path / "ift.jsonl", [row(), line, row()]).load()


def test_all_bad_rows_are_told_at_once(tmp_path):
    """Every fault is counted, five are shown."""
    with pytest.raises(DatasetError, match="7 bad rows") as refusal:
        dataset(tmp_path / "ift.jsonl", [b"x"] * 7).load()
    assert str(refusal.value).count(".jsonl, line ") == 5
    assert "and 2 more" in str(refusal.value)


def test_ranked_responses_need_two_and_a_rank_from_zero(tmp_path):
    """EFT rows rank several responses."""
    one = {"id": "a", "prompt": "p", "responses": [{"text": "x", "rank": 0}]}
    low = one | {"responses": [{"text": "x", "rank": 0}, {"text": "y", "rank": -1}]}
    lines = [json.dumps(one).encode(), json.dumps(low).encode()]
    with pytest.raises(DatasetError, match="2 bad rows") as refusal:
        dataset(tmp_path / "eft.jsonl", lines, EFT).load()
    assert "responses.1.rank" in str(refusal.value)
