"""Files that people bring, told apart by content."""

import gzip
import json

import pandas as pd
import pytest

from srlm_kedro.datasets.tables import read_table
from srlm_kedro.errors import InputError
from tests.hostile import SOUND, is_calm

ROWS = [{"a": "Grüße, 你好", "b": "1"}, {"a": "line\nbreak", "b": "2"}]


def json_lines(rows=ROWS):
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def parquet(rows=ROWS):
    return pd.DataFrame(rows).to_parquet()


CONTENTS = {
    "JSON lines": json_lines(),
    "JSON array": json.dumps(ROWS, indent=2).encode(),
    "Parquet": parquet(),
    "CSV": pd.DataFrame(ROWS).to_csv(index=False).encode(),
}


def file(tmp_path, content, name="data.txt"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def values(table):
    return [row.value for row in table.rows]


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("form", CONTENTS)
def test_the_content_tells_the_format(tmp_path, form, compress):
    """The name says nothing; gzip is opened on the way."""
    table = read_table(file(tmp_path, compress(CONTENTS[form]), "data.misleading.csv"))
    assert (table.form, values(table)) == (form, ROWS)
    assert table.columns() == ["a", "b"]


def test_places_are_lines_where_the_file_has_lines(tmp_path):
    """Blank lines are passed over and counted; a CSV row ends where its last line does."""
    places = {
        form: [row.place for row in read_table(file(tmp_path, content)).rows]
        for form, content in CONTENTS.items()
    }
    assert places == {
        "JSON lines": ["line 1", "line 2"],
        "JSON array": ["row 1", "row 2"],
        "Parquet": ["row 1", "row 2"],
        "CSV": ["line 2", "line 4"],
    }
    spaced = read_table(file(tmp_path, json_lines().replace(b"\n", b"\r\n\r\n") + b"\n \n"))
    assert [row.place for row in spaced.rows] == ["line 1", "line 3"]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_csv_may_be_parted_by_other_marks(tmp_path, mark):
    """As spreadsheets of other countries write it, byte order mark included."""
    content = pd.DataFrame(ROWS).to_csv(index=False, sep=mark).encode("utf-8-sig")
    assert values(read_table(file(tmp_path, content))) == ROWS


def test_nulls_and_the_index_of_parquet_are_left_out(tmp_path):
    """A table of fixed columns has no other way to leave a value out."""
    frame = pd.DataFrame({"a": ["x", None], "b": [["y", "z"], ["w"]]}, index=[7, 2])
    found = values(read_table(file(tmp_path, frame.to_parquet())))
    assert found == [{"a": "x", "b": ["y", "z"]}, {"b": ["w"]}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (gzip.compress(b""), "is empty"),
        (gzip.compress(json_lines() * 50)[:-12], "broken gzip"),
        (b"\x1f\x8b nothing of the kind", "broken gzip"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html></html>", "web page"),
        (b"PK\x03\x04 and more", "ZIP archive"),
        (parquet()[:-20], "broken Parquet"),
        (b"PAR1", "broken Parquet"),
        (json_lines().decode().encode("utf-16"), "is UTF-16. Save it as UTF-8"),
        (b'[\n{"a": 1},\n{"a" 2}\n]', "a broken JSON array .*line 3"),
        (b'[{"a": 1}', "a broken JSON array"),
        ('[\n{"a": "ü"}]'.encode("latin-1"), "line 2: not UTF-8"),
        ("a,b\nx,ü\n".encode("latin-1"), "line 2: not UTF-8"),
    ],
)
def test_a_file_that_holds_no_rows_is_refused_by_name(tmp_path, content, said):
    """What is wrong with the whole file, and what to do."""
    with pytest.raises(InputError, match=f"data.txt.*{said}"):
        read_table(file(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "place", "said"),
    [
        (b'{"a": 1}\n{"a": 2\n{"a": 3}', "line 2", "not a JSON object"),
        (b'{"a": 1}\n' + '{"a": "ü"}'.encode("latin-1"), "line 2", "UTF-8"),
        (b'["x", "y"]\n{"a": 1}\noops', "line 3", "not a JSON object"),
        (b'{"a": 1}\n' + b"[" * 100_000, "line 2", "recursion"),
        (b"a,b\n1,2\n1\n", "line 3", "1 values under 2 columns"),
        (b'a,b\n1,2\n"1,2\n', "line 3", "broken CSV"),
    ],
)
def test_a_row_that_cannot_be_read_keeps_its_place(tmp_path, content, place, said):
    """The others are read, so that all faults can be told at once."""
    faulty = [row for row in read_table(file(tmp_path, content)).rows if row.fault]
    assert [row.place for row in faulty] == [place]
    assert said in faulty[0].fault


def test_checks_are_collected_with_the_rows_that_could_not_be_read(tmp_path):
    """All are counted, five are shown, each with file and place."""

    def refuse_odd(number, row):
        if number % 2:
            raise ValueError("odd")
        return row.value["a"]

    lines = [b'{"a": 1}'] * 12 + [b"{"] * 2
    table = read_table(file(tmp_path, b"\n".join(lines)))
    with pytest.raises(InputError, match="8 bad rows; rows must be even") as refusal:
        table.checked(refuse_odd, "rows must be even")
    assert str(refusal.value).count("data.txt, line ") == 5
    assert "data.txt, line 3: odd" in str(refusal.value)


def test_a_file_that_begins_with_many_blank_lines_is_read(tmp_path):
    """However far down its rows begin."""
    table = read_table(file(tmp_path, b"\n" * 100 + json_lines()))
    assert values(table) == ROWS


def test_columns_of_one_name_are_refused(tmp_path):
    """One of them would be lost without a word."""
    table = read_table(file(tmp_path, b"a,b,a\n1,2,3\n"))
    assert [(row.place, row.fault) for row in table.rows if row.fault] == [
        ("line 1", "several columns are called 'a'")
    ]


def test_faults_are_told_on_one_calm_line_each(tmp_path):
    """What a file holds can steer no terminal, and fills no screen."""

    def quote(number, row):
        raise ValueError(row.value["a"])

    texts = list(SOUND.values())
    for start in range(0, len(texts), 5):
        rows = [{"a": text} for text in texts[start : start + 5]]
        with pytest.raises(InputError) as refusal:
            read_table(file(tmp_path, json_lines(rows))).checked(quote, "rows must be calm")
        message = str(refusal.value)
        assert is_calm(message)
        assert len(message.split("\n")) == len(rows) + 1
        assert len(message) < 5000
