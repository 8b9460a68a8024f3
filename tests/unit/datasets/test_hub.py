"""A model on the hub; the hub is a small server on this machine."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from kedro.io import DatasetError

from srlm_kedro.datasets.hub import HubCheckpointDataset
from tests.unit.datasets.test_checkpoint import safetensors

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "model.safetensors": safetensors(),
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b'{"version": "1.0"}',
    "pytorch_model.bin": b"pickle",
    "modeling.py": b"print()",
}


class _Hub(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self, body=True):
        self.asked.append(self.path)
        name = self.path.rpartition("/")[2].partition("?")[0]
        if self.path.startswith("/api/models/people/tiny/tree/"):
            files = [
                {"type": "file", "path": file, "size": len(content), "oid": file}
                for file, content in FILES.items()
            ]
            self._answer(json.dumps(files))
        elif self.path.startswith("/api/models/people/tiny/"):
            siblings = [{"rfilename": file} for file in FILES]
            self._answer(json.dumps({"id": "people/tiny", "sha": COMMIT, "siblings": siblings}))
        elif self.path.startswith("/people/tiny/resolve/") and name in FILES:
            self._answer(FILES[name], body)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def do_HEAD(self):
        self.do_GET(body=False)

    def _answer(self, content, body=True):
        content = content.encode() if isinstance(content, str) else content
        self.send_response(200)
        self.send_header("ETag", f'"{len(content)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch):
    """A hub with one model; the fixture is the list of requested addresses."""
    handler = type("Hub", (_Hub,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    resolve = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", resolve)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    yield handler.asked
    server.shutdown()
    server.server_close()


def dataset(tmp_path, name="people/tiny", **options):
    return HubCheckpointDataset(hub=name, cache_dir=str(tmp_path), **options)


def test_the_model_is_downloaded_once_without_pickles_and_code(hub, tmp_path):
    """The handle's folder has only weights, configuration and tokenizer."""
    m0 = dataset(tmp_path)
    assert hub == []
    first = m0.load()
    assert {file.name for file in first.path.iterdir()} == {
        "model.safetensors",
        "config.json",
        "tokenizer.json",
    }
    assert first.name == "m0"
    asked = len(hub)
    assert m0.load() == first
    assert len(hub) == asked


def test_without_a_network_it_comes_from_the_cache(hub, tmp_path, monkeypatch):
    """The download of an earlier run is enough."""
    first = dataset(tmp_path).load()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = len(hub)
    assert dataset(tmp_path).load() == first
    assert len(hub) == asked


def test_a_model_that_is_not_there_is_named(hub, tmp_path):
    """The message says what to correct."""
    with pytest.raises(DatasetError, match=r"(?s)people/none .*Correct `hub` and `revision`"):
        dataset(tmp_path, "people/none").load()


def test_the_fingerprint_asks_nobody(hub, tmp_path):
    """The fingerprint is the name and the revision."""
    prints = [dataset(tmp_path, revision=r).fingerprint() for r in (None, COMMIT, COMMIT)]
    assert prints[0] != prints[1] == prints[2]
    assert hub == []


def test_what_is_no_checkpoint_is_refused(hub, tmp_path, monkeypatch):
    """A folder without safetensors is no checkpoint."""
    monkeypatch.delitem(FILES, "model.safetensors")
    with pytest.raises(DatasetError, match=r"holds no \*.safetensors"):
        dataset(tmp_path).load()
