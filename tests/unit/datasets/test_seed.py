"""Seed tables in every format."""

import json
import re

import pandas as pd
import pytest
import yaml
from kedro.io import DatasetError

from srlm_kedro.datasets.seed import SeedDataset

IFT = "srlm_kedro.pipelines.ift.IftRow"
EFT = "srlm_kedro.pipelines.ift.EftRow"


def dataset(path, lines, record=IFT):
    path.write_bytes(b"\n".join(lines) + b"\n")
    return SeedDataset(filepath=str(path), record=record)


def row(**changes):
    return json.dumps({"id": "a", "prompt": "p", "response": "r"} | changes).encode()


def test_rows_come_back_as_they_were_saved(tmp_path):
    """Loading gives what was saved, in any script."""
    table = pd.DataFrame([{"id": "a", "prompt": "Grüße, 你好", "response": "line\nbreak"}])
    seed = SeedDataset(filepath=str(tmp_path / "ift.jsonl"), record=IFT)
    seed.save(table)
    pd.testing.assert_frame_equal(seed.load(), table)
    assert "你好" in (tmp_path / "ift.jsonl").read_text("utf-8")


def test_rows_that_were_edited_are_kept_where_others_are_saved(tmp_path, caplog):
    """Beside the new ones, each time under another name; the same rows again keep nothing."""
    file = tmp_path / "ift.jsonl"
    seed = dataset(file, [row(response="edited")])
    edited = file.read_bytes()
    for response in ("made", "made", "made otherwise"):
        seed.save(pd.DataFrame([{"id": "a", "prompt": "p", "response": response}]))
    assert (tmp_path / "ift.jsonl.before-1").read_bytes() == edited
    assert b'"made"' in (tmp_path / "ift.jsonl.before-2").read_bytes()
    assert len(list(tmp_path.iterdir())) == 3
    assert "held other rows; they are kept as ift.jsonl.before-1" in caplog.text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{not json", "not a JSON object"),
        (b"[1, 2]", "valid dictionary"),
        (b'\xff\xfe{"id": 1}', "UTF-8"),
        (row(response=""), "response: String should have at least 1 character"),
        (row(id=True), "id: Input should be a valid string, found True: write it as a text"),
        (row(prompt=7), 'prompt: Input should be a valid string, found 7: write it as a text, "7"'),
        (row(reward=5), "reward: Extra inputs"),
        (b'{"id": "a", "prompt": "p"}', "response: Field required"),
    ],
)
def test_a_bad_row_is_refused_with_file_and_line(tmp_path, line, said):
    """The message says which file, which line, and what is wrong with it."""
    with pytest.raises(DatasetError, match=f"ift.jsonl, line 2: .*{said}"):
        dataset(tmp_path / "ift.jsonl", [row(), line, row()]).load()


def test_all_bad_rows_are_told_at_once(tmp_path):
    """All faults are counted, and five are shown."""
    with pytest.raises(DatasetError, match="7 bad rows") as refusal:
        dataset(tmp_path / "ift.jsonl", [b"{x"] * 7).load()
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


RANKED = [{"text": "x", "rank": 1}, {"text": "y", "rank": 0}]
EVAL = "srlm_kedro.pipelines.ift.EvalRow"


def brought(path, content, record=IFT, **options):
    path.write_bytes(content)
    return SeedDataset(filepath=str(path), record=record, **options).load().to_dict("records")


def written(rows):
    """The same rows in every format."""
    frame = pd.DataFrame(rows)
    return {
        "JSON lines": "\n".join(map(json.dumps, rows)).encode(),
        "JSON array": json.dumps(rows).encode(),
        "Parquet": frame.to_parquet(),
        "CSV": frame.map(lambda x: json.dumps(x) if isinstance(x, list) else x)
        .to_csv(index=False)
        .encode(),
    }


@pytest.mark.parametrize("form", ["JSON lines", "JSON array", "Parquet", "CSV"])
def test_ift_comes_from_any_format_with_columns_of_other_names(tmp_path, form):
    """`columns` maps fields to columns; other columns are ignored, and rows are numbered."""
    rows = [{"instruction": "p, q", "output": "r"}, {"instruction": "7", "output": "8"}]
    content = written([{**row_, "source": "web"} for row_ in rows])[form]
    columns = {"prompt": "instruction", "response": "output"}
    assert brought(tmp_path / "file", content, columns=columns) == [
        {"id": "ift-0001", "prompt": "p, q", "response": "r"},
        {"id": "ift-0002", "prompt": "7", "response": "8"},
    ]


@pytest.mark.parametrize("form", ["JSON lines", "JSON array", "Parquet", "CSV"])
@pytest.mark.parametrize(
    "ranking", [{"responses": RANKED}, {"responses": ["x", "y"], "ranks": [1, 0]}]
)
def test_eft_comes_from_either_form_of_ranking(tmp_path, form, ranking):
    """A ranking is a list of texts with ranks, or parallel lists; CSV has it as JSON."""
    content = written([{"id": "e", "prompt": "p"} | ranking])[form]
    assert brought(tmp_path / "file", content, EFT) == [
        {"id": "e", "prompt": "p", "responses": RANKED}
    ]


@pytest.mark.parametrize("ranks", [[0], 0, None])
def test_lists_that_are_not_parallel_are_refused(tmp_path, ranks):
    """Each response must have a rank."""
    row_ = {"prompt": "p", "responses": ["x", "y"], "ranks": ranks}
    with pytest.raises(DatasetError, match=r"line 1: .*lists of the same length"):
        brought(tmp_path / "file", json.dumps(row_).encode(), EFT)


@pytest.mark.parametrize("form", ["JSON lines", "JSON array", "Parquet", "CSV"])
def test_ranks_that_are_whole_are_ranks(tmp_path, form):
    """A rank may be written as a float; a fraction is refused, and the message shows it."""
    row_ = {"id": "e", "prompt": "p", "responses": ["x", "y"]}
    content = written([row_ | {"ranks": [1.0, 0.0]}])[form]
    assert brought(tmp_path / "file", content, EFT)[0]["responses"] == RANKED
    broken = {0.5: "should be whole .0 is best., found 0.5", float("nan"): "A rank should be given"}
    for rank, said in broken.items():
        content = written([row_ | {"ranks": [rank, 0.0]}])[form]
        with pytest.raises(DatasetError, match=rf"responses.0.rank: .*{said}"):
            brought(tmp_path / "file", content, EFT)


@pytest.mark.parametrize("blank", ["", " \n", "\u3000\t", "\u200b\ufeff"])
@pytest.mark.parametrize("form", ["JSON lines", "JSON array", "Parquet", "CSV"])
def test_a_response_of_blanks_is_none(tmp_path, form, blank):
    """A blank response is refused, or dropped by the entry; a blank prompt is always refused."""
    rows = [{"prompt": "p", "response": blank}, {"prompt": "q", "response": "r"}]
    content = written(rows)[form]
    with pytest.raises(DatasetError, match=r"response: (Text should hold more|String should have)"):
        brought(tmp_path / "file", content)
    (kept,) = brought(tmp_path / "file", content, drop=["blank response"])
    assert (kept["id"], kept["prompt"]) == ("ift-0002", "q")
    content = written([{"prompt": blank, "response": "r"}])[form]
    with pytest.raises(DatasetError, match="prompt: Text should hold more than blanks"):
        brought(tmp_path / "file", content, drop=["blank response"])


def test_ids_are_numbers_texts_or_missing(tmp_path):
    """A whole number loses its point; a blank or null id counts as left out."""
    ids = [3, 4.0, None, float("nan"), " ", "x"]
    rows = [{"id": id_, "prompt": f"p{n}", "response": "r"} for n, id_ in enumerate(ids)]
    content = "\n".join(map(json.dumps, rows)).encode()
    found = [row_["id"] for row_ in brought(tmp_path / "file", content)]
    assert found == ["3", "4", "ift-0003", "ift-0004", "ift-0005", "x"]


@pytest.mark.parametrize("id_", [True, 1.5, [1], {"a": 1}, float("inf")])
def test_what_is_no_number_and_no_text_is_no_id(tmp_path, id_):
    """The message has the line."""
    content = json.dumps({"id": id_, "prompt": "p", "response": "r"}).encode()
    with pytest.raises(DatasetError, match="line 1: id: Input should be a valid string"):
        brought(tmp_path / "file", content)


def test_a_list_as_python_writes_it_is_told_apart_from_text(tmp_path):
    """pandas writes chat messages like this into a CSV file."""
    messages = [{"content": "p", "role": "user"}, {"content": "r", "role": "assistant"}]
    content = pd.DataFrame([{"chosen": messages, "rejected": messages}]).to_csv(index=False)
    with pytest.raises(DatasetError, match="chosen: a list as Python writes it"):
        brought(tmp_path / "file", content.encode(), EFT)


@pytest.mark.parametrize("form", ["JSON lines", "JSON array", "Parquet", "CSV"])
def test_kind_and_seen_of_held_out_prompts_have_defaults(tmp_path, form):
    """A prompt is enough; given values are kept."""
    bare = brought(tmp_path / "file", written([{"prompt": "p", "id": "a"}])[form], EVAL)
    assert bare == [{"id": "a", "prompt": "p", "kind": "", "seen": True}]
    full = {"id": "a", "prompt": "p", "kind": "k", "seen": False}
    assert brought(tmp_path / "file", written([full])[form], EVAL) == [full]


def test_numbers_are_ids_as_text(tmp_path):
    """Other tables number their rows."""
    content = written([{"id": 7, "prompt": "p", "response": "r"}])
    for form in content:
        assert brought(tmp_path / "file", content[form])[0]["id"] == "7"


@pytest.mark.parametrize("form", ["JSON array", "Parquet", "CSV"])
def test_further_columns_are_refused_unless_columns_chooses(tmp_path, form):
    """Otherwise nobody would notice a mistyped or forgotten column."""
    content = written([{"id": "a", "prompt": "p", "response": "r", "reward": "5"}])[form]
    said = r'else is there: `ignore: \["reward"\]`[^~]*reward: Extra inputs'
    with pytest.raises(DatasetError, match=said):
        brought(tmp_path / "file", content)
    kept = brought(tmp_path / "file", content, ignore=["reward"])
    assert kept == [{"id": "a", "prompt": "p", "response": "r"}]
    assert brought(tmp_path / "file", content, columns={}) == kept


def test_the_advice_for_further_columns_works_where_one_belongs_to_the_prompt(tmp_path):
    """The advice of the message works as it is, for all columns at once."""
    row_ = {"prompt": "p", "response": "r", "input": "i", "n: odd": 1}
    content = json.dumps(row_).encode()
    with pytest.raises(DatasetError) as refusal:
        brought(tmp_path / "file", content)
    options = yaml.safe_load(
        re.search(r"`(ignore: .*?)`", str(refusal.value).split("there:")[1])[1]
    )
    (kept,) = brought(tmp_path / "file", content, **options)
    assert (kept["prompt"], kept["response"]) == ("p", "r")


def test_a_column_that_is_ignored_is_another_reading(tmp_path):
    """An ignored id column gives other ids, so the fingerprint changes."""
    path = tmp_path / "file"
    path.write_bytes(row())
    reading = SeedDataset(str(path), IFT, ignore=["id"])
    assert reading.load()["id"].tolist() == ["ift-0001"]
    assert reading.fingerprint() != SeedDataset(str(path), IFT, ignore=["x"]).fingerprint()


def test_a_column_that_is_not_there_is_told_once_with_those_that_are(tmp_path):
    """The message does not repeat the fault for each row."""
    content = written([{"question": "p", "output": "r"}] * 9)["JSON lines"]
    with pytest.raises(
        DatasetError, match=r"no column `instruction` .for prompt.*question, output"
    ):
        brought(tmp_path / "file", content, columns={"prompt": "instruction"})


def test_faults_of_csv_carry_their_line(tmp_path):
    """The header is line 1."""
    with pytest.raises(DatasetError, match="line 3: response: String should have at least 1"):
        brought(tmp_path / "file", b"prompt,response\np,r\nq,\n")


def test_half_a_character_is_refused(tmp_path):
    """Half a surrogate pair could not be written again."""
    with pytest.raises(DatasetError, match=r"line 1: .*surrogates"):
        brought(tmp_path / "file", rb'{"id": "a", "prompt": "\ud83d", "response": "r"}')


def test_another_choice_of_columns_is_another_table(tmp_path):
    """Another mapping changes the fingerprint; a table without options counts by its file."""
    path = tmp_path / "file"
    content = written([{"q": "p", "a": "r"}])["CSV"]
    path.write_bytes(content)
    marks = [
        SeedDataset(str(path), IFT, columns=columns).fingerprint()
        for columns in ({"prompt": "q"}, {"prompt": "a"})
    ]
    assert marks[0] != marks[1]
    path.write_bytes(content + content)
    assert SeedDataset(str(path), IFT, columns={"prompt": "q"}).fingerprint() != marks[0]
    assert not hasattr(SeedDataset(str(path), IFT), "fingerprint")


def test_a_table_read_by_columns_is_not_overwritten(tmp_path):
    """The file belongs to the user."""
    seed = SeedDataset(str(tmp_path / "file"), IFT, columns={})
    with pytest.raises(DatasetError, match="cannot be saved"):
        seed.save(pd.DataFrame([{"id": "a", "prompt": "p", "response": "r"}]))
