"""What holds for every format: the same table gives the same rows, or is refused."""

import csv
import gzip
import io
import json
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srlm_kedro.datasets.rows.reader import read_table
from srlm_kedro.datasets.seed import seed_table
from srlm_kedro.errors import InputError
from srlm_kedro.pipelines.ift import EftRow, EvalRow, IftRow

from .texts import sound_text

WORDS = st.sampled_from(
    ["p", "Grüße, 你好", "a\nb", '"', "7", "true", "null", "[1]", "{x", " é ", "x;y"]
)
TEXTS = WORDS | sound_text.filter(lambda text: "\r" not in text)
"""pandas puts no quotes around a carriage return, and such a CSV is refused."""
BLANKS = st.sampled_from(["", " ", "\n\t", "\u200b"])
IDS = st.one_of(
    st.lists(st.none() | st.integers(-(10**12), 10**12), max_size=4),
    st.lists(st.none() | st.sampled_from(["", " ", "007", "a b", "1.5", "NaN"]), max_size=4),
)
RANKS = st.lists(
    st.sampled_from([0, 1, 2.0, 3.0, 0.5, -1, None, float("nan")]), min_size=2, max_size=3
)


IFT = st.fixed_dictionaries(
    {"prompt": TEXTS | BLANKS | st.none()}, optional={"response": TEXTS | BLANKS | st.none()}
)
EFT = st.builds(
    lambda prompt, ranks, texts: {
        "prompt": prompt,
        "responses": [f"{n} {texts}" for n in range(len(ranks))],
        "ranks": ranks,
    },
    *(TEXTS, RANKS, TEXTS),
)
PAIRS = st.fixed_dictionaries({"prompt": TEXTS, "chosen": TEXTS, "rejected": TEXTS})
CHATS = st.builds(
    lambda prompt, one, two: {
        "chosen": [_said("user", prompt), _said("assistant", one)],
        "rejected": [_said("user", prompt), _said("assistant", two)],
    },
    *(TEXTS, TEXTS | BLANKS, TEXTS),
)
EVAL = st.fixed_dictionaries(
    {"prompt": TEXTS}, optional={"kind": TEXTS | st.none(), "seen": st.booleans() | st.none()}
)


def _said(role, content):
    return {"role": role, "content": content}


def _with_ids(rows, ids):
    """Some rows have an id, some a null, some have none."""
    named = [{"id": name} | row for name, row in zip(ids, rows, strict=False)]
    return named + rows[len(ids) :]


def _tables(record, rows):
    return st.tuples(
        st.just(record), st.builds(_with_ids, st.lists(rows, min_size=1, max_size=4), IDS)
    )


CASES = st.one_of(
    _tables(IftRow, IFT),
    _tables(EftRow, EFT),
    _tables(EftRow, PAIRS),
    _tables(IftRow, PAIRS),
    _tables(EftRow, CHATS),
    _tables(EvalRow, EVAL),
)


def _cell(value):
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _csv(rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=csv.QUOTE_ALL)
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return written.getvalue().encode()


def _parquet(rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    written = io.BytesIO()
    pa.parquet.write_table(table, written)
    return written.getvalue()


def _csv_of_pandas(rows):
    lists = pd.DataFrame(rows).map(
        lambda cell: json.dumps(cell) if isinstance(cell, list) else cell
    )
    return lists.to_csv(index=False).encode()


WRITERS = {
    "JSON lines": lambda rows: "\n".join(map(json.dumps, rows)).encode(),
    "JSON array": lambda rows: json.dumps(rows, ensure_ascii=False).encode(),
    "CSV": _csv,
    "Parquet": _parquet,
    "CSV of pandas": _csv_of_pandas,
    "Parquet of pandas": lambda rows: pd.DataFrame(rows).to_parquet(),
}


@pytest.fixture(scope="module")
def file():
    """One file for all examples."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "data"


def _read(file, content, record):
    file.write_bytes(content)
    try:
        return seed_table(read_table(file), record, None).to_dict("records")
    except InputError:
        return "refused"


FORMS = ["JSON array", "CSV", "Parquet", "CSV of pandas", "Parquet of pandas"]


@pytest.mark.parametrize("form", FORMS)
@given(case=CASES)
def test_every_format_gives_the_rows_of_json_lines(file, form, case):
    """Ids and nulls, ranks and texts: read alike or refused alike, packed by gzip or not."""
    record, rows = case
    content = WRITERS[form](rows)
    wanted = _read(file, WRITERS["JSON lines"](rows), record)
    assert _read(file, content, record) == wanted
    assert _read(file, gzip.compress(content, 1), record) == wanted
