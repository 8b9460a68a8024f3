"""Files that people bring are recognised by their content."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle

import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from srlm_kedro.datasets.rows.reader import read_table
from srlm_kedro.errors import InputError
from tests.hostile import SOUND, is_harmless

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


def zipped(content):
    """The content, compressed without the time: a test must have the same name in each worker."""
    return gzip.compress(content, mtime=0)


def file(tmp_path, content, name="data.txt"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def values(table):
    return [row.value for row in table.rows]


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("form", CONTENTS)
def test_the_content_tells_the_format(tmp_path, form, compress):
    """The name does not matter, and gzip is unpacked."""
    table = read_table(file(tmp_path, compress(CONTENTS[form]), "data.misleading.csv"))
    assert (table.format, values(table)) == (form, ROWS)
    assert table.columns() == ["a", "b"]


def test_places_are_lines_where_the_file_has_lines(tmp_path):
    """Blank lines are skipped but counted; a CSV row has the number of its last line."""
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


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_csv_columns_may_have_other_delimiters(tmp_path, mark):
    """Spreadsheets of other countries write such files, with a byte order mark."""
    content = pd.DataFrame(ROWS).to_csv(index=False, sep=mark).encode("utf-8-sig")
    table = read_table(file(tmp_path, content))
    assert values(table) == ROWS
    named = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}[mark]
    assert table.described().endswith(f"data.txt (CSV with a {named} between the columns)")


@pytest.mark.parametrize(
    "content", [b'"a, in words, as typed";b\n1;2\n', b"a, in words, as typed;b\n1;2\n3;4\n"]
)
def test_a_column_name_may_hold_other_delimiters(tmp_path, content):
    """The delimiter that leaves the fewest rows unread counts; quoted ones are text."""
    first = values(read_table(file(tmp_path, content)))[0]
    assert first == {"a, in words, as typed": "1", "b": "2"}


def test_nulls_and_the_index_of_parquet_are_left_out(tmp_path):
    """A table of fixed columns cannot leave a value out otherwise."""
    frame = pd.DataFrame({"a": ["x", None], "b": [["y", "z"], ["w"]]}, index=[7, 2])
    found = values(read_table(file(tmp_path, frame.to_parquet())))
    assert found == [{"a": "x", "b": ["y", "z"]}, {"b": ["w"]}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (zipped(b""), "is empty"),
        (zipped(json_lines() * 50)[:-12], "broken gzip"),
        (b"\x1f\x8b nothing of the kind", "broken gzip"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html></html>", "web page"),
        (b"PK\x03\x04 and more", "ZIP archive"),
        (parquet()[:-20], "broken Parquet"),
        (b"PAR1", "broken Parquet"),
        (b"\xef\xbb\xbf", "holds only a byte order mark"),
        (zipped(b"\xef\xbb\xbf \n"), "holds only a byte order mark"),
        (b"\xef\xbb\xbf<html></html>", "web page"),
        *(
            (json_lines().decode().encode(name), f"is {name[:6].upper()}. Save it as UTF-8: iconv")
            for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
        ),
        (bz2.compress(json_lines()), "is compressed with bzip2. Unpack it"),
        (lzma.compress(json_lines()), "is compressed with xz. Unpack it"),
        (b"\x04\x22\x4d\x18" + b"x" * 40, "is compressed with lz4. Unpack it"),
        (zipped(zipped(json_lines())), "with gzip more than once"),
        (b"x" * 257 + b"ustar\x0000", "is a tar archive"),
        (b"GIF8\x00\x00", "is binary, in no format"),
        (pickle.dumps(ROWS), "is a Python pickle, which is never opened"),
        (b"sep=;\na;b\n1;2\n", "Remove that line"),
        (json.dumps(ROWS[0], indent=1).encode(), "JSON over several lines.*first object: a, b"),
        (json.dumps(ROWS[0], indent=1).encode() * 2, "JSON over several lines"),
        (b'[\n{"a": 1},\n{"a" 2}\n]', "a broken JSON array .*line 3"),
        (b'[{"a": 1}', "a broken JSON array"),
        (b"a^b\n1^2\n", "Its first line, 'a.b', is no JSON, and no header of a CSV .* semicolon"),
        (b"A poem\nby nobody\n", "Its first line, 'A poem', is no JSON"),
        ('[\n{"a": "ü"}]'.encode("latin-1"), "line 2: not UTF-8"),
        ("a,b\nx,ü\n".encode("latin-1"), "line 2: not UTF-8"),
    ],
)
def test_a_file_that_holds_no_rows_is_refused_by_name(tmp_path, content, said):
    """The message says what is wrong with the whole file, and what to do."""
    with pytest.raises(InputError, match=f"data.txt.*{said}"):
        read_table(file(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "place", "said"),
    [
        (b'{"a": 1}\n{"a": 2\n{"a": 3}', "line 2", "not a JSON object"),
        (b'{"a": 1}\n' + '{"a": "ü"}'.encode("latin-1"), "line 2", "UTF-8"),
        (b'["x", "y"]\n{"a": 1}\noops', "line 3", "not a JSON object"),
        (b'{"a": 1}\n' + b"[" * 100_000, "line 2", "recursion"),
        (b'{"a": 1}\n{"a": 1, "a": 2}', "line 2", "the key 'a' occurs twice"),
        (b"a,b\n1,2\n1\n", "line 3", "1 values under 2 columns"),
        (b'a,b\n1,2\n"1,2\n', "line 3", "broken CSV"),
    ],
)
def test_a_row_that_cannot_be_read_keeps_its_place(tmp_path, content, place, said):
    """The other rows are read, so that one message can name all faults."""
    faulty = [row for row in read_table(file(tmp_path, content)).rows if row.fault]
    assert [row.place for row in faulty] == [place]
    assert said in faulty[0].fault


def test_checks_are_collected_with_the_rows_that_could_not_be_read(tmp_path):
    """All faults are counted, and five are shown, each with file and place."""

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
    """It does not matter how far down its rows begin."""
    table = read_table(file(tmp_path, b"\n" * 100 + json_lines()))
    assert values(table) == ROWS


def test_columns_of_one_name_are_refused(tmp_path):
    """One of the columns would be lost silently."""
    table = read_table(file(tmp_path, b"a,b,a\n1,2,3\n"))
    assert [(row.place, row.fault) for row in table.rows if row.fault] == [
        ("line 1", "several columns are called 'a'")
    ]


def test_faults_are_shown_on_one_harmless_line_each(tmp_path):
    """The text of a file cannot steer a terminal or fill the screen."""

    def quote(number, row):
        raise ValueError(row.value["a"])

    texts = list(SOUND.values())
    for start in range(0, len(texts), 5):
        rows = [{"a": text} for text in texts[start : start + 5]]
        with pytest.raises(InputError) as refusal:
            read_table(file(tmp_path, json_lines(rows))).checked(quote, "rows must be calm")
        message = str(refusal.value)
        assert is_harmless(message)
        assert len(message.split("\n")) == len(rows) + 1
        assert len(message) < 5000


def folder_of_parts(tmp_path, names):
    """A folder with one row per part, and with the other files of such folders."""
    for number, name in enumerate(names):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(parquet([{"a": number}]))
    (tmp_path / "folder/README.md").write_text("About the data.", "utf-8")
    (tmp_path / "folder/.cache").mkdir()
    (tmp_path / "folder/.cache/train-00000-of-00001.parquet").write_bytes(parquet())
    return tmp_path / "folder"


@pytest.mark.parametrize(
    "names",
    [
        ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
        [
            "train-00000-of-00002-0123456789abcdef.parquet",
            "train-00001-of-00002-fedcba9876543210.parquet",
        ],
        [
            "part-00000-12345678-1234-1234-1234-123456789abc.parquet",
            "part-00001-12345678-1234-1234-1234-123456789abc.parquet",
        ],
        ["0.parquet", "1.parquet"],
    ],
)
def test_a_folder_of_parquet_parts_is_one_table(tmp_path, names):
    """The parts are read in the order of their names; the place of a row names its part."""
    table = read_table(folder_of_parts(tmp_path, names))
    assert (table.format, values(table)) == ("Parquet", [{"a": 0}, {"a": 1}])
    assert [row.place for row in table.rows] == [f"{name}, row 1" for name in names]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "is a folder without Parquet files"),
        (["train-00000-of-00001.parquet", "test-00000-of-00001.parquet"], "several tables: test-"),
        (["train.parquet", "test.parquet"], "several tables: test.parquet, train.parquet"),
        (
            ["train-00000-of-00003.parquet", "train-00002-of-00003.parquet"],
            "1 of 3 parts .*number 1",
        ),
    ],
)
def test_a_folder_that_is_no_single_table_is_refused(tmp_path, names, said):
    """Training rows and test rows are not mixed, and a missing part is noticed."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=f"folder: .*{said}"):
        read_table(folder_of_parts(tmp_path, names))


def test_what_is_no_file_is_refused(tmp_path):
    """Reading a pipe would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: is no file"):
        read_table(tmp_path / "pipe")


def test_parquet_with_columns_of_one_name_is_refused(tmp_path):
    """CSV with such columns is refused too."""
    written = io.BytesIO()
    table = pyarrow.table([pyarrow.array(["x"])] * 2, names=["a", "a"])
    pyarrow.parquet.write_table(table, written)
    with pytest.raises(InputError, match="several columns are called 'a'"):
        read_table(file(tmp_path, written.getvalue()))


def test_a_csv_of_one_column_is_read(tmp_path):
    """Its header has no delimiter."""
    table = read_table(file(tmp_path, b'prompt\r\n"Sing, please."\r\nDance.\r\n'))
    assert values(table) == [{"prompt": "Sing, please."}, {"prompt": "Dance."}]


def test_the_index_of_a_csv_is_left_out(tmp_path):
    """pandas writes the index as numbers under an empty name."""
    assert values(read_table(file(tmp_path, pd.DataFrame(ROWS).to_csv().encode()))) == ROWS
