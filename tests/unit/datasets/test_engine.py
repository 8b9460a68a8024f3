"""Engines in the catalog."""

import json

import pytest
from kedro.io import DataCatalog, DatasetError

from srlm_kedro.datasets.engine import EngineDataset
from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.records import Checkpoint

HERE = "tests.unit.datasets.test_engine"
SECRET = {"api_key": "sk-very-secret"}


class Caller:
    """An engine that needs a key."""

    def __init__(self, model: str = "m", batch: int = 1, credentials: dict | None = None):
        self.model, self.batch, self.credentials = model, batch, credentials
        self.released = 0

    def release(self) -> None:
        self.released += 1


class Referee:
    """An engine that uses another one."""

    def __init__(self, judge: Caller):
        self.judge = judge


def entry(**options) -> EngineDataset:
    return EngineDataset(f"{HERE}.Caller", **options)


def nested(credentials: dict | None = None, batch: int = 1) -> EngineDataset:
    judge = {
        "engine": f"{HERE}.Caller",
        "options": {"model": "big"},
        "resources": {"batch": batch},
    }
    return EngineDataset(f"{HERE}.Referee", options={"judge": judge}, credentials=credentials)


def test_an_engine_is_built_once():
    """Options and resources reach the constructor; a second load gives the same engine."""
    dataset = entry(options={"model": "big"}, resources={"batch": 8})
    engine = dataset.load()
    assert (engine.model, engine.batch) == ("big", 8)
    assert dataset.load() is engine


def test_unknown_options_are_refused():
    """The message names the mistyped option and the known ones."""
    with pytest.raises(DatasetError, match=r"no option modl\. Known options: model, batch\."):
        entry(options={"modl": "big"}).load()


def test_resources_do_not_make_results_stale():
    """Only the class and its options are part of the fingerprint, at every depth."""
    assert entry(resources={"batch": 8}).fingerprint() == entry().fingerprint()
    assert entry(options={"model": "big"}).fingerprint() != entry().fingerprint()
    assert nested(batch=8).fingerprint() == nested().fingerprint()


def test_credentials_reach_the_engine_and_nothing_else():
    """The engine gets the key; it is not shown and is no part of the fingerprint."""
    dataset = entry(credentials=SECRET)
    assert dataset.load().credentials == SECRET
    shown = repr(dataset) + str(dataset) + json.dumps(dataset.fingerprint())
    assert "sk-very-secret" not in shown
    assert dataset.fingerprint() == entry().fingerprint()


def test_kedro_finds_the_credentials_by_name():
    """The catalog's entry has a name; the values are in credentials.yml."""
    catalog = DataCatalog.from_config(
        {
            "judge": {
                "type": "srlm_kedro.datasets.engine.EngineDataset",
                "engine": f"{HERE}.Caller",
                "credentials": "server",
            }
        },
        credentials={"server": SECRET},
    )
    assert catalog.load("judge").credentials == SECRET
    assert "sk-very-secret" not in repr(catalog)


def test_errors_do_not_show_credentials():
    """The message about a refused option does not contain the key."""
    with pytest.raises(DatasetError) as caught:
        entry(options={"modl": 1}, credentials=SECRET).load()
    assert "sk-very-secret" not in str(caught.value) + repr(caught.value.__cause__)


def test_an_engine_within_an_engine_is_built_and_gets_the_credentials():
    """The options of a referee name its generation engine."""
    judge = nested(credentials=SECRET).load().judge
    assert (judge.model, judge.credentials) == ("big", SECRET)


def test_credentials_within_an_engine_are_refused():
    """Kedro resolves names of credentials only at the top of an entry; the message says so."""
    judge = {"engine": f"{HERE}.Caller", "credentials": "server"}
    with pytest.raises(DatasetError, match="belong at the top of the entry"):
        EngineDataset(f"{HERE}.Referee", options={"judge": judge}).load()


def test_credentials_that_nobody_takes_are_refused():
    """A key without an effect is an error."""
    dataset = EngineDataset(
        "srlm_kedro.engines.generation.scripted.ScriptedEngine", credentials=SECRET
    )
    with pytest.raises(DatasetError, match="takes no credentials"):
        dataset.load()


def test_freeing_releases_a_built_engine_only():
    """An engine that was never built is not built to be freed."""
    dataset = entry()
    dataset.free()
    assert dataset._built is None
    engine = dataset.load()
    dataset.free()
    assert engine.released == 1
    assert dataset.load() is engine


def test_kedros_own_release_keeps_the_engine():
    """Kedro releases datasets between nodes; a loaded model stays until it is freed."""
    dataset = entry()
    engine = dataset.load()
    dataset.release()
    assert engine.released == 0
    assert dataset.load() is engine


def test_an_engine_that_holds_nothing_needs_no_release():
    """An engine without release() can be freed too."""
    dataset = nested()
    dataset.load()
    dataset.free()
    scripted = EngineDataset("srlm_kedro.engines.generation.scripted.ScriptedEngine")
    assert isinstance(scripted.load(), ScriptedEngine)


def test_an_option_may_be_the_text_of_a_file(tmp_path):
    """The engine gets the text, and another text changes the recipe."""
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Who?", "utf-8")
    scripted = {"engine": "srlm_kedro.engines.generation.scripted.ScriptedEngine"}
    options = {"engine": scripted, "model": {"filepath": str(prompt)}}
    dataset = EngineDataset("srlm_kedro.referee.llm_judge.LlmJudge", options)
    before = dataset.fingerprint()
    assert "Who?" in str(before)
    assert dataset.load()._model.name == "Who?"
    prompt.write_text("What?", "utf-8")
    assert dataset.fingerprint() != before


def test_a_models_folder_is_known_by_its_content(tmp_path):
    """Another model at the same path changes the recipe; notes of download tools do not."""
    (tmp_path / "config.json").write_text("{}", "utf-8")
    scripted = {"engine": "srlm_kedro.engines.generation.scripted.ScriptedEngine"}
    options = {"engine": scripted, "model_path": str(tmp_path)}
    dataset = EngineDataset("srlm_kedro.referee.llm_judge.LlmJudge", options)
    before = dataset.fingerprint()
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "note").write_text("today", "utf-8")
    assert dataset.fingerprint() == before
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert dataset.fingerprint() != before


def test_ifevals_file_is_known_by_its_content(tmp_path):
    """Other prompts at the same path change the recipe."""
    file = tmp_path / "ifeval.jsonl"
    options = {"ifeval_file": str(file)}
    dataset = EngineDataset("srlm_kedro.engines.published.lm_eval.LmEvalEngine", options)
    without = dataset.fingerprint()
    file.write_text("{}", "utf-8")
    before = dataset.fingerprint()
    file.write_text("[]", "utf-8")
    assert without != before != dataset.fingerprint()


SCRIPTED = "srlm_kedro.engines.generation.scripted.ScriptedEngine"


def test_shards_are_kept_until_they_are_forgotten(tmp_path):
    """A generation engine keeps its completions in the folder that its entry names."""
    dataset = EngineDataset(SCRIPTED, shards={"folder": str(tmp_path / "s"), "completions": 2})
    request = Request("a", "Say something")
    rows = dataset.load().generate(Checkpoint(tmp_path, "m1"), [request] * 3, Sampling(), 0)
    assert rows == ScriptedEngine().generate(
        Checkpoint(tmp_path, "m1"), [request] * 3, Sampling(), 0
    )
    assert list((tmp_path / "s").iterdir())
    dataset.forget()
    assert list((tmp_path / "s").iterdir()) == []


def test_shards_are_no_part_of_the_recipe(tmp_path):
    """The folder and the size of shards cannot make a result stale."""
    plain = EngineDataset(SCRIPTED)
    assert EngineDataset(SCRIPTED, shards={"folder": "s"}).fingerprint() == plain.fingerprint()


def test_an_engine_without_unfinished_work_forgets_nothing():
    """The engine is not built yet, or it has no forget()."""
    entry().forget()
    built = entry()
    built.load()
    built.forget()
    assert built.load().released == 0
