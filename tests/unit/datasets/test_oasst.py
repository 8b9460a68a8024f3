"""OASST exports as one flat table."""

import gzip
import json

import pandas as pd
import pytest
from kedro.io import DataCatalog, DatasetError

from srlm_kedro.datasets.oasst import COLUMNS, OasstDataset
from srlm_kedro.pipelines.oasst import create_pipeline
from srlm_kedro.running.input_faults import data_faults
from tests.unit.oasst.trees import SERIALISATIONS, flat, json_lines, prompt, reply, trapped, tree


def loaded(tmp_path, content):
    path = tmp_path / "export"
    path.write_bytes(content)
    return OasstDataset(str(path)).load()


def faults(tmp_path, rows):
    table = loaded(tmp_path, json_lines(rows))
    assert table["depth"].isna().eq(table["fault"].ne("")).all()
    return {row.message_id: row.fault for row in table.itertuples() if row.fault}


def two_turns():
    last = reply("last", 0)
    return tree(prompt("first", "p", reply("answer", 0, prompt("next", "q", last))))


@pytest.mark.parametrize("form", SERIALISATIONS)
def test_every_serialisation_gives_the_same_messages(tmp_path, form):
    """Values may be left out or null, messages nested or flat, files compressed or not."""
    table = loaded(tmp_path, SERIALISATIONS[form](trapped())).sort_values("message_id")
    expected = loaded(tmp_path, SERIALISATIONS["trees"](trapped())).sort_values("message_id")
    pd.testing.assert_frame_equal(table.reset_index(drop=True), expected.reset_index(drop=True))


def test_a_message_knows_its_place_and_what_people_said_of_it(tmp_path):
    """The depth comes from the parents, and labels are found by name."""
    table = loaded(tmp_path, SERIALISATIONS["flat rows backwards"](trapped()))
    assert list(table.columns) == COLUMNS
    by_id = table.set_index("message_id")
    assert by_id.loc["a-last"][["depth", "parent_id", "tree_id", "rank"]].to_list() == [
        *(3, "a-next", "a", 0)
    ]
    assert by_id.loc["m", "spam"] == 0.9
    assert by_id.loc["o0", "tree_state"] == "growing"
    assert pd.isna(by_id.loc["a", "rank"])
    assert by_id["fault"].eq("").all()


def test_a_missing_parent_takes_what_is_beneath_along(tmp_path):
    """Messages above the gap keep their place."""
    rows = [row for row in flat([two_turns()]) if row["message_id"] != "answer"]
    assert faults(tmp_path, rows) == dict.fromkeys(["next", "last"], "missing parent")


def test_a_circle_of_parents_is_marked(tmp_path):
    """A circle has no root, and neither have the messages beneath it."""
    rows = flat([two_turns()])
    rows[1]["parent_id"] = "next"
    named = dict.fromkeys(["answer", "next", "last"], "its own ancestor")
    assert faults(tmp_path, rows) == named
    assert faults(tmp_path, rows[::-1]) == named


def test_an_id_that_is_not_unique_is_marked_wherever_it_stands(tmp_path):
    """It is unknown which of the two messages the replies belong to."""
    twice = [two_turns(), tree(prompt("answer", "another")), tree(prompt("sound", "p"))]
    assert faults(tmp_path, twice) == dict.fromkeys(["answer", "next", "last"], "duplicate id")


def test_a_parent_that_contradicts_the_nesting_is_marked(tmp_path):
    """The field and the nesting name different parents."""
    odd = two_turns()
    odd["prompt"]["replies"][0]["parent_id"] = "next"
    named = dict.fromkeys(["answer", "next", "last"], "contradicted parent")
    assert faults(tmp_path, [odd]) == named


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"id": "i", "prompt": "seed data", "response": "r"}, "message_id: Field required"),
        ({"message_tree_id": "t", "prompt": None}, "message_id: Field required"),
        (prompt("x", "p") | {"role": "system"}, "role: Input should be 'prompter' or 'assistant'"),
        (prompt("x", "p", {"message_id": "y"}), "reply to x: role: Field required; text: Field"),
        (reply("x", rank="best"), "rank: Input should be a valid integer"),
        ([1], "valid dictionary"),
    ],
)
def test_rows_that_are_no_messages_are_refused_with_their_line(tmp_path, row, said):
    """The message says which line, what is wrong with it, and what rows must be."""
    with pytest.raises(DatasetError, match=f"1 bad rows; rows must be OASST trees[^~]*{said}") as e:
        loaded(tmp_path, json_lines([two_turns(), row]))
    assert "export, line 2: " in str(e.value)


def test_a_conversation_may_go_deep(tmp_path):
    """Deep nesting and long chains of parents are both read."""
    row = prompt("0", "p")
    for number in range(1, 300):
        row = prompt(str(number), "p", row)
    assert loaded(tmp_path, json.dumps(row).encode())["depth"].max() == 299


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (gzip.compress(json_lines(trapped()), mtime=0)[:-30], "broken gzip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (json_lines(trapped())[:-30], "1 bad rows"),
    ],
)
def test_damaged_exports_are_refused(tmp_path, content, said):
    """The message is the same as for every other table."""
    with pytest.raises(DatasetError, match=said):
        loaded(tmp_path, content)


def test_ids_may_be_whole_numbers(tmp_path):
    """Databases number their rows, and a column with gaps has 1.0 for 1."""
    rows = [
        {"message_id": 1, "role": "prompter", "text": "Hello?"},
        {"message_id": 2, "parent_id": 1.0, "role": "assistant", "text": "Hello.", "rank": 0},
    ]
    table = loaded(tmp_path, json_lines(rows))
    assert list(table["message_id"]) == ["1", "2"]
    assert list(table["depth"]) == [0, 1]
    assert set(table["tree_id"]) == {"1"}


def test_a_damaged_export_is_told_before_any_work(tmp_path):
    """So is a missing export; a sound one gives no fault."""
    path = tmp_path / "export"
    entry = {"type": "srlm_kedro.datasets.oasst.OasstDataset", "filepath": str(path)}
    catalog = DataCatalog.from_config({"oasst_messages": entry})
    catalog["params:oasst"], catalog["params:seed"] = {}, 0
    missing = data_faults(create_pipeline(), catalog, {}, {})[0]
    assert "export is not there" in missing
    assert "or name another by --params=oasst_file=FILE or in its entry" in missing
    path.write_bytes(json_lines([two_turns(), {"text": "no id"}]))
    (told,) = data_faults(create_pipeline(), catalog, {}, {})
    assert told.startswith(str(path))
    assert "line 2: message_id: Field required" in told
    path.write_bytes(json_lines([two_turns()]))
    assert data_faults(create_pipeline(), catalog, {}, {}) == []
