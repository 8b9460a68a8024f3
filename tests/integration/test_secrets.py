"""A server's key lies in the credentials that the user wrote, and in nothing that a run leaves."""

import base64
import gzip
import json
import logging
import os
import signal
import sqlite3
import traceback
import zipfile
from contextlib import closing
from urllib.parse import quote

import pandas as pd
import pytest

from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.errors import InputError
from tests.integration.secrets import files_with, shown_in
from tests.integration.test_command_line import invoke
from tests.server import serve

KEY = "sk-Qx7\"Ww/9+vT%3d'Zr\\uJ8=&kL-2m"
"""Each spelling of it (JSON, URL, Python) is another one."""
CREDENTIALS = "conf/test/credentials.yml"


def ask(project, url):
    """The judge of this project is a server that wants the key."""
    shards = {"folder": "data/unfinished/shards", "completions": 16}
    engine = {
        "type": "srlm_kedro.datasets.engine.EngineDataset",
        "engine": "srlm_kedro.engines.generation.servers.openai.OpenAIEngine",
        "options": {"base_url": url},
        "resources": {"retries": 0, "journal": "data/07_model_output/journal"},
        "credentials": "judge_server",
        "shards": shards,
    }
    served = {"type": "srlm_kedro.datasets.models.ServedModelDataset", "name": "judge"}
    project.configure("catalog", **{"external_judge_engine": engine, "judge.model": served})


@pytest.fixture
def keyed(project, monkeypatch):
    """A project whose judge is a server that wants the key, which the environment holds too."""
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    project.configure("parameters", loop={"judge": "external"})
    project.configure("credentials", judge_server={"api_key": KEY})
    return project


def killing(runs):
    """A fault of the server: the run dies in the middle of its judging."""

    def fault(number, body):
        if number == 60:
            os.kill(runs[0].pid, signal.SIGKILL)

    return fault


def logged(caplog):
    """All records, with what they carry beside their text."""
    return [caplog.text, *(str(vars(record)) for record in caplog.records)]


def test_a_run_leaves_no_key_behind_however_it_ends(keyed, caplog, capfd):
    """Refused by the server, which repeats the key; killed in the middle; finished."""
    # At DEBUG Kedro itself writes out what hooks are told, credentials among it.
    caplog.set_level(logging.INFO, "kedro.framework.hooks.manager")
    for logger in (None, "srlm_kedro", "kedro"):  # each call sets the handler's level too
        caplog.set_level(logging.DEBUG, logger)

    with serve(ScriptedEngine(), key="another") as server:
        ask(keyed, server.url)
        with pytest.raises(InputError, match=r"status 401.*\*\*\*") as refused:
            keyed.run("iteration")
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    told = traceback.TracebackException.from_exception(refused.value, capture_locals=True)
    assert not shown_in("".join([*told.format(), *logged(caplog)]).encode(), KEY)
    assert files_with(keyed.path, KEY) == {CREDENTIALS}

    keyed.configure("credentials", judge_server={"api_key": "${oc.env:JUDGE_KEY}"})
    runs = []
    with serve(ScriptedEngine(), key=KEY, faults=killing(runs)) as server:
        ask(keyed, server.url)
        runs.append(keyed.start("--pipeline=iteration"))
        said = runs[0].communicate()
        assert runs[0].returncode == -signal.SIGKILL, said[-1]
        assert list(keyed.path.glob("data/unfinished/shards/**/*.*"))
        assert list(keyed.path.glob("data/07_model_output/journal/*"))
        assert not files_with(keyed.path, KEY)
        keyed.run("iteration")
    assert (keyed.path / "data/06_models/m2/model.json").exists()
    assert not files_with(keyed.path, KEY)
    said = [*said, *logged(caplog), *capfd.readouterr()]
    assert not shown_in("".join(said).encode(), KEY)


def test_a_key_among_the_parameters_is_refused_without_a_trace(project):
    """There is no parameter for it, and neither the message nor a file repeats it."""
    done = invoke(project, f"--params=api_key={KEY}")
    assert done.exit_code == 1
    assert "`api_key` is unknown" in done.output
    assert not shown_in(done.output.encode(), KEY)
    assert not files_with(project.path, KEY)


@pytest.mark.parametrize("text", [KEY, f"Cut: {KEY[:18]}", json.dumps(KEY), quote(KEY, safe="")])
def test_a_key_is_found_wherever_it_hides(tmp_path, text):
    """What looks for it sees all spellings, packed or in the middle of another text."""
    (tmp_path / "plain").write_text(f"It is {text}.")
    for shift in "", "a", "ab":
        packed = base64.b64encode(f"Bearer {shift}{text}!".encode())
        (tmp_path / f"base64{shift}").write_bytes(packed)
    with gzip.open(tmp_path / "gzip", "wt") as packed:
        packed.write(text * 100)
    with zipfile.ZipFile(tmp_path / "zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner", text * 100)
    pd.DataFrame({"n": [1, 2], "t": [text, None]}).to_parquet(tmp_path / "table")
    with closing(sqlite3.connect(tmp_path / "database")) as database:
        database.execute("create table tags (value)")
        database.execute("insert into tags values (?)", ["x" * 4070 + text])
        database.commit()
    planted = {path.name for path in tmp_path.iterdir()}
    (tmp_path / "innocent").write_text("It is sk-***.")
    assert files_with(tmp_path, KEY) == planted
