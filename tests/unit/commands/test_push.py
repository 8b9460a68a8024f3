"""A model is sent to a hub completely or not at all."""

import base64
import json
import shutil
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest
from click.testing import CliRunner
from kedro.io import DataCatalog
from kedro_datasets.pandas import ParquetDataset

from srlm_kedro.commands.push import Upload, pack, send
from srlm_kedro.datasets.models import CheckpointDataset
from srlm_kedro.errors import InputError
from srlm_kedro.freshness.manifest import manifest_path, write_manifest

TOKEN = "hf_secret"


class Hub:
    """What a stand-in hub received: repositories, files by name, tokens."""

    def __init__(self) -> None:
        self.created: list[dict] = []
        self.files: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()
        self.url = ""


@contextmanager
def serve(refuse: int = 0) -> Iterator[Hub]:
    """A hub on this machine that accepts every file, or refuses with a status."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            hub.tokens.add(self.headers["Authorization"])
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(refuse or 200, {} if refuse else self._take(body))

        def do_GET(self):
            found = {"sha": "0" * 40, "siblings": [], "id": "someone/model"}
            self._answer(refuse or 200, {} if refuse else found)

        def _take(self, body):
            if self.path == "/api/repos/create":
                hub.created.append(json.loads(body))
                return {"url": f"{hub.url}/someone/model"}
            if "/preupload/" in self.path:
                named = json.loads(body)["files"]
                marks = {"uploadMode": "regular", "shouldIgnore": False}
                return {"files": [{"path": file["path"], **marks} for file in named]}
            if "/commit/" in self.path:
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        value = line["value"]
                        hub.files[value["path"]] = base64.b64decode(value["content"])
                return {"commitUrl": f"{hub.url}/someone/model/commit/1", "commitOid": "1"}
            return {}

        def _answer(self, status, value):
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def weights(value: float) -> bytes:
    """A safetensors file of one number."""
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    return struct.pack("<Q", len(header)) + header + struct.pack("<f", value)


@pytest.fixture
def catalog(tmp_path) -> DataCatalog:
    """M2 with a card that came after its manifest, and its pairs."""
    folder, table = tmp_path / "models/m2", tmp_path / "input/m2/pairs.parquet"
    folder.mkdir(parents=True)
    table.parent.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    (folder / "model.safetensors").write_bytes(weights(1.0))
    pd.DataFrame({"prompt": ["a"], "chosen": ["b"], "rejected": ["c"]}).to_parquet(table)
    for path in (folder, table):
        write_manifest(path, {})
    card = folder / "README.md"
    card.write_text("# M2\n")
    write_manifest(card, {})
    return DataCatalog(
        {
            "m2.model": CheckpointDataset(str(folder), "m2"),
            "m2.pairs": ParquetDataset(filepath=str(table)),
            "m3.model": CheckpointDataset(str(tmp_path / "models/m3"), "m3"),
        }
    )


def model_folder(catalog):
    return catalog.load("m2.model").path


@pytest.fixture
def own_hub(monkeypatch) -> Iterator[Hub]:
    """Sets the hub's address and the user's token in the environment."""
    with serve() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


def test_a_model_goes_with_its_card_and_without_notes(catalog):
    """Manifests are not sent; the pairs are a data set of their own."""
    model, pairs = pack(catalog, "m2", "someone/model", pairs=True)
    assert model.files == ("README.md", "config.json", "model.safetensors", "tokenizer.json")
    assert (pairs.repo, pairs.kind, pairs.files) == (
        "someone/model-pairs",
        "dataset",
        ("pairs.parquet",),
    )
    assert [p.kind for p in pack(catalog, "m2", "someone/model", pairs=False)] == ["model"]


def test_a_listing_tells_files_and_bytes(catalog):
    """What a dry run shows."""
    listing = pack(catalog, "m2", "someone/model", pairs=False)[0].listing()
    assert "model someone/model, 112 bytes" in listing
    assert "66  model.safetensors" in listing


def test_what_is_not_there_is_refused(catalog):
    """M3 was never made; M2 without a manifest is incomplete."""
    with pytest.raises(InputError, match=r"m3\.model is missing"):
        pack(catalog, "m3", "someone/model", pairs=False)
    manifest_path(model_folder(catalog)).unlink()
    with pytest.raises(InputError, match="missing or incomplete"):
        pack(catalog, "m2", "someone/model", pairs=False)


def test_a_changed_model_is_refused(catalog):
    """Otherwise other weights would be sent under the model's name."""
    (model_folder(catalog) / "model.safetensors").write_bytes(weights(2.0))
    with pytest.raises(InputError, match="differs from its manifest"):
        pack(catalog, "m2", "someone/model", pairs=False)


def test_a_scripted_model_is_refused(catalog):
    """It has neither config.json nor weights, so nobody could load it."""
    folder = model_folder(catalog)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "model.json").write_text("{}")
    write_manifest(folder, {})
    with pytest.raises(InputError, match="m2 is no Hugging Face model: the scripted engine"):
        pack(catalog, "m2", "someone/model", pairs=False)


def test_a_hub_receives_every_file_bit_for_bit(catalog, own_hub):
    """A real upload to a server on this machine, with the user's token."""
    model, pairs = pack(catalog, "m2", "someone/model", pairs=True)
    assert send(model, private=True) == f"{own_hub.url}/someone/model"
    send(pairs, private=False)
    held = {name: (model.folder / name).read_bytes() for name in model.files}
    held["pairs.parquet"] = (pairs.folder / "pairs.parquet").read_bytes()
    assert own_hub.files == held
    assert own_hub.created[0]["name"] == "model"
    assert [made["visibility"] for made in own_hub.created] == ["private", "public"]
    assert own_hub.created[1]["type"] == "dataset"
    assert own_hub.tokens == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_the_hub_is_a_message(catalog, monkeypatch, status):
    """The message names the hub, the status and what to do, but never the token."""
    with serve(refuse=status) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        with pytest.raises(InputError, match=f"HTTP {status}") as caught:
            send(pack(catalog, "m2", "someone/model", pairs=False)[0], private=False)
    assert hub.url in str(caught.value)
    assert "hf auth login" in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_a_hub_that_is_not_there_is_a_message(catalog, monkeypatch):
    """No server listens on the port."""
    with serve() as hub:
        pass
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    with pytest.raises(InputError, match="was not written to"):
        send(pack(catalog, "m2", "someone/model", pairs=False)[0], private=False)


def test_a_name_that_no_hub_takes_is_a_message(tmp_path, own_hub):
    """The name must be `owner/name`."""
    with pytest.raises(InputError, match="was not written to"):
        send(Upload("a/b/c", "model", tmp_path, ()), private=False)


def test_the_command_explains_itself():
    """`kedro push --help` names every option."""
    from srlm_kedro.cli import cli

    shown = CliRunner().invoke(cli, ["push", "--help"]).output
    for option in ("--model", "--repo", "--private", "--pairs", "--dry-run", "--env", "--params"):
        assert option in shown
