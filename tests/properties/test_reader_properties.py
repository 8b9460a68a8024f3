"""What holds for every file: it is read, or refused in words."""

import gzip
import json
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srlm_kedro.datasets.oasst import COLUMNS, oasst_table
from srlm_kedro.datasets.rows.dialogues import is_blank
from srlm_kedro.datasets.rows.reader import read_table
from srlm_kedro.datasets.rows.table import Table
from srlm_kedro.datasets.seed import SeedDataset, seed_table
from srlm_kedro.errors import InputError
from srlm_kedro.freshness.manifest import (
    content_digest,
    discard_manifest,
    manifest_path,
    output_fault,
    read_manifest,
    write_manifest,
)
from srlm_kedro.pipelines.ift import EftRow, EvalRow, IftRow
from tests.hostile import is_harmless

from .texts import any_text

RECORDS = [IftRow, EftRow, EvalRow]
FIELDS = st.sampled_from(["id", "prompt", "response", "responses", "ranks", "text", "rank", "kind"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**30, -1, 2**63])
    | st.floats()
    | any_text
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(FIELDS | any_text, inner, max_size=4)
    ),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(FIELDS, VALUES, max_size=4) | VALUES, max_size=4)
MESSAGES = st.fixed_dictionaries(
    {"message_id": st.sampled_from("abc"), "role": st.sampled_from(["prompter", "assistant"])},
    optional={
        "text": any_text,
        "parent_id": st.sampled_from("abcd") | st.none(),
        "rank": SCALARS,
        "labels": VALUES
        | st.fixed_dictionaries({"name": st.just(["spam"]), "value": VALUES})
        | st.fixed_dictionaries({"spam": VALUES | st.fixed_dictionaries({"value": VALUES})}),
        "replies": VALUES,
        "deleted": SCALARS,
        "review_result": SCALARS,
        "message_tree_id": SCALARS,
    },
)


def _json(value):
    return json.dumps(value, ensure_ascii=True).encode()


def _lines(rows):
    return b"\n".join(map(_json, rows))


def _csv(rows):
    mark = ",;\t"[len(rows) % 3]
    return "\n".join(mark.join(map(str, row)) for row in rows).encode("utf-8", "surrogatepass")


CELLS = st.lists(st.lists(FIELDS | any_text | st.integers(), min_size=1, max_size=4), max_size=5)
STARTS = st.sampled_from(
    [b"", b"PAR1", b"\x1f\x8b", b"\xef\xbb\xbf", b"[", b"{", b"a,b\n", b"\xff\xfe"]
)
FILES = (
    st.binary(max_size=200)
    | st.builds(lambda start, rest: start + rest, STARTS, st.binary(max_size=100))
    | st.builds(_lines, ROWS)
    | st.builds(_json, ROWS)
    | st.builds(_csv, CELLS)
    | st.builds(_lines, st.lists(MESSAGES, max_size=4))
)
FILES = FILES | FILES.map(gzip.compress)


@pytest.fixture(scope="module")
def file():
    """One file for all examples."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "data.txt"


def refusal(read):
    """What `read` gives, or None where it refuses in calm words of moderate length."""
    try:
        return read()
    except InputError as error:
        said = str(error)
        assert is_harmless(said)
        assert len(said) < 8000
        return None


@given(content=FILES)
def test_any_bytes_are_a_table_or_refused(file, content):
    """Rows that cannot be read keep their place and have a fault."""
    file.write_bytes(content)
    table = refusal(lambda: read_table(file))
    if table is not None:
        assert isinstance(table, Table)
        assert all((row.value is None) or not row.fault for row in table.rows)


@given(content=FILES, record=st.sampled_from(RECORDS), chosen=st.booleans())
def test_any_bytes_are_seed_rows_or_refused(file, content, record, chosen):
    """What is read has the record's columns, and can be written as UTF-8."""
    file.write_bytes(content)
    columns = {"prompt": "text"} if chosen else None
    table = refusal(lambda: seed_table(read_table(file), record, columns))
    if table is not None:
        assert list(table) == list(record.model_fields)
        table.to_json(orient="records").encode("utf-8")


@given(content=FILES)
def test_any_bytes_are_messages_or_refused(file, content):
    """An export in any form, or none."""
    file.write_bytes(content)
    table = refusal(lambda: oasst_table(read_table(file)))
    if table is not None:
        assert list(table) == COLUMNS


def _has_words(text):
    return not is_blank(_whole(text))


@given(
    rows=st.lists(
        st.tuples(any_text.filter(_has_words), any_text.filter(_has_words)), min_size=1, max_size=5
    )
)
def test_seed_rows_come_back_as_they_were_saved(file, rows):
    """Saving and loading is the identity for all text that UTF-8 can hold."""
    table = pd.DataFrame(
        [
            {"id": f"i{n}", "prompt": _whole(prompt), "response": _whole(response)}
            for n, (prompt, response) in enumerate(rows)
        ]
    )
    seed = SeedDataset(filepath=str(file), record=f"{IftRow.__module__}.IftRow")
    seed.save(table)
    pd.testing.assert_frame_equal(seed.load(), table)


def _whole(text):
    return text.encode("utf-8", "replace").decode("utf-8")


PARTS = st.dictionaries(any_text.map(_whole), any_text.map(_whole), max_size=4)


@given(parts=PARTS, content=st.binary(max_size=50))
def test_a_manifest_comes_back_as_it_was_written(file, parts, content):
    """Beside its output alone, until it is discarded."""
    file.write_bytes(content)
    notes = {"parts": parts, "seconds": 0.5}
    write_manifest(file, notes)
    sums = {"digest": content_digest(file), "files": {"": content_digest(file)}}
    assert read_manifest(file) == notes | sums
    assert output_fault(file) is None
    discard_manifest(file)
    assert read_manifest(file) is None


MANIFESTS = st.binary(max_size=100) | VALUES.map(_json) | st.integers(1, 20_000).map(b"[".__mul__)


@given(content=MANIFESTS)
def test_any_bytes_of_a_manifest_are_a_mapping_or_none(file, content):
    """A note that cannot be read is no note: what it lay beside is made again."""
    file.write_bytes(b"whole")
    manifest_path(file).write_bytes(content)
    found = read_manifest(file)
    assert found is None or isinstance(found, dict)
