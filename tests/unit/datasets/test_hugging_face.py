"""Seed data as Hugging Face datasets, without a network."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import datasets
import pandas as pd
import pytest
from kedro.io import DataCatalog, DatasetError

from srlm_kedro.datasets.hugging_face import HubSeedDataset
from srlm_kedro.datasets.seed import SeedDataset
from srlm_kedro.errors import InputError
from srlm_kedro.pipelines.ift import create_pipeline
from srlm_kedro.running.input_faults import data_faults

IFT = "srlm_kedro.pipelines.ift.IftRow"
EFT = "srlm_kedro.pipelines.ift.EftRow"
ROWS = [{"instruction": "p", "output": "r", "n": 1}, {"instruction": "q", "output": "s", "n": None}]
COLUMNS = {"prompt": "instruction", "response": "output"}
WANTED = [
    {"id": "ift-0001", "prompt": "p", "response": "r"},
    {"id": "ift-0002", "prompt": "q", "response": "s"},
]


@pytest.fixture(autouse=True)
def _quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def json_lines(path, rows=ROWS):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def loaded(path, **options):
    seed = HubSeedDataset(path=str(path), **{"record": IFT, "columns": COLUMNS, **options})
    return seed.load().to_dict("records")


def test_a_local_file_gives_the_table_that_seed_datasets_give(tmp_path):
    """The rows pass the same checks."""
    path = json_lines(tmp_path / "train.jsonl")
    assert loaded(path) == WANTED
    same = SeedDataset(str(path), IFT, columns=COLUMNS).load()
    pd.testing.assert_frame_equal(HubSeedDataset(IFT, str(path), columns=COLUMNS).load(), same)


def test_a_bare_file_name_is_enough(tmp_path, monkeypatch):
    """The name is relative to the working directory."""
    json_lines(tmp_path / "train.jsonl")
    monkeypatch.chdir(tmp_path)
    assert loaded("train.jsonl") == WANTED


def test_a_local_folder_gives_the_split_that_is_named(tmp_path):
    """The names of files tell their splits, as on the hub."""
    json_lines(tmp_path / "data/train.jsonl", ROWS[:1])
    json_lines(tmp_path / "data/test.jsonl", ROWS[1:])
    assert loaded(tmp_path / "data", split="train") == WANTED[:1]
    assert loaded(tmp_path / "data", split="test")[0]["prompt"] == "q"
    with pytest.raises(DatasetError, match=r"several splits. Name one as `split`: train, test"):
        loaded(tmp_path / "data")
    with pytest.raises(DatasetError, match=r"no split dev. Name one as `split`: train, test"):
        loaded(tmp_path / "data", split="dev")


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: datasets.DatasetDict(only=data)])
def test_what_save_to_disk_wrote_is_read(tmp_path, wrap):
    """One split needs no name; lists of mappings survive."""
    ranked = {"prompt": "p", "responses": [{"text": "x", "rank": 1}, {"text": "y", "rank": 0}]}
    wrap(datasets.Dataset.from_list([ranked])).save_to_disk(tmp_path / "saved")
    assert loaded(tmp_path / "saved", record=EFT, columns=None) == [{"id": "eft-0001"} | ranked]


def test_rows_that_do_not_fit_are_told_with_their_number(tmp_path):
    """The message is the same as for every other seed table."""
    path = json_lines(tmp_path / "train.jsonl", [ROWS[0], {"instruction": "q", "output": ""}])
    with pytest.raises(DatasetError, match=r"train.jsonl, row 2: response: String should have"):
        loaded(path)


def test_pairs_and_joined_columns_come_from_datasets_too(tmp_path):
    """`columns`, `drop` and `ignore` work as for every other seed table."""
    chat = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "good"}]
    rows = [
        {"instruction": "p", "input": "i", "output": "r", "n": 1},
        {"instruction": "q", "input": "", "output": " ", "n": 2},
    ]
    path = json_lines(tmp_path / "train.jsonl", rows)
    joined = COLUMNS | {"prompt": ["instruction", "input"]}
    found = loaded(path, columns=joined, drop=["blank response"], ignore=["n"])
    assert [row["prompt"] for row in found] == ["p\n\ni"]
    with pytest.raises(DatasetError, match="text would be lost: `input` in 1"):
        loaded(path, drop=["blank response"])
    pair = {"chosen": chat, "rejected": [*chat[:1], {"role": "assistant", "content": "bad"}]}
    datasets.Dataset.from_list([pair]).save_to_disk(tmp_path / "saved")
    (row,) = loaded(tmp_path / "saved", record=EFT, columns=None)
    assert row["responses"] == [{"text": "good", "rank": 0}, {"text": "bad", "rank": 1}]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("train.jsonl", b'{"instruction": "p"', "the dataset cannot be read"),
        ("train.parquet", b"PAR1 and no more", "the dataset cannot be read"),
        ("train.unknown", b"?", "the dataset cannot be read"),
        (".hidden", b"", "the dataset cannot be read"),
    ],
)
def test_damaged_data_is_refused_by_name(tmp_path, name, content, said):
    """The message says which folder, what is wrong, and what to do."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=f"{tmp_path.name}: {said}"):
        loaded(tmp_path)


def test_a_missing_path_is_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    """`data/seed` looks like a hub name; only `hub` is one."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match="data/seed is not there"):
        loaded("data/seed")


def test_a_local_folder_calls_nobody_even_if_it_asks_to(tmp_path):
    """A README can name files elsewhere; they are not downloaded."""
    asked = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/train.jsonl"
        text = f"---\nconfigs:\n- config_name: default\n  data_files: {url}\n---\n"
        json_lines(tmp_path / "data/train.jsonl")
        (tmp_path / "data/README.md").write_text(text, "utf-8")
        assert loaded(tmp_path / "data") == WANTED
        server.shutdown()
    assert asked == []


def test_the_hub_without_a_network_is_refused_with_advice(monkeypatch):
    """The message has the name and says what to do."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    seed = HubSeedDataset(IFT, hub="nobody/nothing", revision="main")
    with pytest.raises(DatasetError, match="nobody/nothing: the dataset cannot be read"):
        seed.load()


def test_path_or_hub_is_given_and_not_both():
    """There must be exactly one source."""
    for both in ({}, {"path": "a", "hub": "b/c"}):
        with pytest.raises(InputError, match="give either `path`"):
            HubSeedDataset(IFT, **both)


def test_a_changed_file_or_entry_is_another_fingerprint(tmp_path):
    """What was made from the dataset becomes stale."""
    path = json_lines(tmp_path / "train.jsonl")

    def marks(**options):
        return HubSeedDataset(IFT, **options).fingerprint()

    before = marks(path=str(path))
    assert marks(path=str(path)) == before
    assert marks(path=str(path), split="train") != before
    assert marks(path=str(path), columns=COLUMNS) != before
    assert marks(path=str(path), drop=["several turns"]) != before
    json_lines(path, ROWS[:1])
    assert marks(path=str(path)) != before
    assert marks(hub="a/b", revision="1") != marks(hub="a/b", revision="2")


def test_seed_data_of_all_sources_is_compared(tmp_path):
    """A prompt in two tables is found before any work, whatever their source."""
    json_lines(tmp_path / "train.jsonl")
    json_lines(
        tmp_path / "eft.jsonl", [{"q": "P", "responses": ["x", "y"], "ranks": [0, 1], "more": 1}]
    )
    mapping = {"prompt": "q", "responses": "responses", "ranks": "ranks"}
    entries = {
        "ift_seed": {
            "type": "srlm_kedro.datasets.hugging_face.HubSeedDataset",
            **{"path": str(tmp_path / "train.jsonl"), "record": IFT, "columns": COLUMNS},
        },
        "eft_seed": {
            "type": "srlm_kedro.datasets.seed.SeedDataset",
            **{"filepath": str(tmp_path / "eft.jsonl"), "record": EFT, "columns": mapping},
        },
    }
    (told,) = data_faults(create_pipeline(), DataCatalog.from_config(entries), {}, {})
    assert "eft_seed and ift_seed both hold the prompt 'P'" in told
    entries["ift_seed"]["path"] = "nowhere"
    (told,) = data_faults(create_pipeline(), DataCatalog.from_config(entries), {}, {})
    assert "nowhere is not there" in told


def test_what_would_be_lost_or_left_out_is_told_before_any_work(tmp_path):
    """One refusal covers all tables."""
    chat = [{"role": role, "content": "x"} for role in ("user", "assistant", "user", "assistant")]
    json_lines(tmp_path / "pairs.jsonl", [{"chosen": chat, "rejected": chat}])
    json_lines(tmp_path / "alpaca.jsonl", [{"instruction": "p", "input": "i", "output": "r"}])
    kind = "srlm_kedro.datasets.seed.SeedDataset"
    entries = {
        "ift_seed": {
            **{"type": kind, "filepath": str(tmp_path / "alpaca.jsonl")},
            **{"record": IFT, "columns": COLUMNS},
        },
        "eft_seed": {"type": kind, "filepath": str(tmp_path / "pairs.jsonl"), "record": EFT},
    }
    pairs, alpaca = data_faults(create_pipeline(), DataCatalog.from_config(entries), {}, {})
    assert "`drop: [several turns]`" in pairs
    assert "text would be lost: `input` in 1" in alpaca
