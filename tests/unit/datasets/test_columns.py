"""Which columns of a file are read, joined or ignored, and which are missing."""

import json
import logging

import pandas as pd
import pytest
from kedro.io import DatasetError

from srlm_kedro.datasets.seed import SeedDataset
from srlm_kedro.errors import InputError

IFT, EFT = (f"srlm_kedro.pipelines.ift.{name}Row" for name in ("Ift", "Eft"))
ALPACA = [
    {"instruction": "Add.", "input": "1 + 1", "output": "2"},
    {"instruction": "Greet me.", "input": "", "output": "Hello."},
]
DOLLY = [{"instruction": "Who?", "context": "Ann sang.", "response": "Ann.", "category": "qa"}]


def seed(tmp_path, rows, record=IFT, **options):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows), "utf-8")
    return SeedDataset(str(path), record, **options)


def read(tmp_path, rows, record=IFT, **options):
    return seed(tmp_path, rows, record, **options).load().to_dict("records")


def test_columns_that_are_named_together_are_joined(tmp_path):
    """The texts are joined by a blank line; a blank or null column adds nothing."""
    columns = {"prompt": ["instruction", "input"], "response": "output"}
    assert [row["prompt"] for row in read(tmp_path, ALPACA, columns=columns)] == [
        "Add.\n\n1 + 1",
        "Greet me.",
    ]
    bare = [{"instruction": "Greet me.", "input": None, "output": "Hello."}, *ALPACA]
    assert read(tmp_path, bare, columns=columns)[0]["prompt"] == "Greet me."
    (dolly,) = read(tmp_path, DOLLY, columns={"prompt": ["context", "instruction"]})
    assert dolly["prompt"] == "Ann sang.\n\nWho?"


def test_joined_columns_are_the_same_from_csv_and_parquet(tmp_path):
    """CSV and Parquet write nulls in their own way."""
    columns = {"prompt": ["instruction", "input"], "response": "output"}
    frame = pd.DataFrame(ALPACA).replace("", None)
    wanted = read(tmp_path, ALPACA, columns=columns)
    for content in (frame.to_csv(index=False).encode(), frame.to_parquet()):
        (tmp_path / "other").write_bytes(content)
        found = SeedDataset(str(tmp_path / "other"), IFT, columns=columns).load()
        assert found.to_dict("records") == wanted


def test_a_column_of_the_prompt_is_not_lost_without_a_word(tmp_path):
    """The message says which column, in how many rows, and what to write."""
    columns = {"prompt": "instruction", "response": "output"}
    with pytest.raises(
        DatasetError,
        match=r"of 2 rows, text would be lost: `input` in 1\. .*\[instruction, input\].*ignore",
    ):
        read(tmp_path, ALPACA, columns=columns)
    with pytest.raises(DatasetError, match=r"`context` in 1\. "):
        read(tmp_path, DOLLY, columns={"prompt": "instruction"})
    pair = {"system": "Be kind.", "question": "p", "chosen": "a", "rejected": "b"}
    with pytest.raises(DatasetError, match=r"prompt: \[system, question\]"):
        read(tmp_path, [pair], EFT, columns={"prompt": "question"})


def test_a_column_of_the_prompt_may_be_ignored(tmp_path):
    """It may also be left out if it holds nothing."""
    columns = {"prompt": "instruction", "response": "output"}
    found = read(tmp_path, ALPACA, columns=columns, ignore=["input"])
    assert found[0]["prompt"] == "Add."
    assert read(tmp_path, ALPACA[1:], columns=columns)[0]["prompt"] == "Greet me."
    extra = [{"prompt": "p", "response": "r", "reward": 5}]
    assert read(tmp_path, extra, ignore=["reward"])[0]["response"] == "r"


def test_columns_that_are_not_read_are_logged_once(tmp_path, caplog):
    """A table is read several times in a run; ignored columns are not logged."""
    columns = {"prompt": ["instruction", "context"]}
    with caplog.at_level(logging.INFO, "srlm_kedro"):
        for _ in range(2):
            read(tmp_path, DOLLY, columns=columns)
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'rows.json'}: 1 prompts of 1 rows; columns passed over: category"
    ]
    caplog.clear()
    read(tmp_path / "..", DOLLY, columns=columns, ignore=["category"])
    assert not caplog.records


@pytest.mark.parametrize(
    ("rows", "record", "said"),
    [
        (ALPACA, IFT, r"Perhaps `columns: {prompt: \[instruction, input\], response: output}`"),
        (DOLLY, IFT, r"Perhaps `columns: {prompt: \[instruction, context\]}`"),
        ([{"conversations": []}], IFT, r"Perhaps `columns: {messages: conversations}`"),
        ([{"question": "p", "chosen": "a", "rejected": "b"}], EFT, "{prompt: question}"),
        ([{"data": [{"prompt": "p"}]}], IFT, "Perhaps the rows are the list `data`"),
        ([{"prompt": "p", "response": "r", "n": 1}], IFT, r'else is there: `ignore: \["n"\]`'),
    ],
)
def test_columns_of_known_names_give_advice_on_the_mapping(tmp_path, rows, record, said):
    """The heading of the refusal has the mapping once."""
    with pytest.raises(DatasetError, match=said):
        read(tmp_path, rows, record)


def test_what_cannot_be_joined_or_found_is_refused(tmp_path):
    """Numbers cannot be joined, and some columns are in no row."""
    rows = [{"instruction": "a", "input": 5, "output": "b"}]
    columns = {"prompt": ["instruction", "input"], "response": "output"}
    with pytest.raises(DatasetError, match="row 1: input: only texts can be joined"):
        read(tmp_path, rows, columns=columns)
    with pytest.raises(DatasetError, match=r"no column `inputs` .for prompt., `n` .to ignore."):
        read(tmp_path, rows, columns=columns | {"prompt": ["inputs"]}, ignore=["n"])


@pytest.mark.parametrize(
    "options", [{"columns": {"prompt": 3}}, {"columns": {"prompt": []}}, {"ignore": "input"}]
)
def test_an_entry_that_is_no_mapping_of_names_is_refused(tmp_path, options):
    """The message says what the entry should be."""
    with pytest.raises(InputError, match="`columns` maps a field to a column"):
        seed(tmp_path, ALPACA, **options)
