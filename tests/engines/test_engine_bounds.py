"""Options of engines in the catalog: every number has bounds, and the page lists them all."""

import math
from pathlib import Path

import pytest
from kedro.io import DatasetError

from srlm_kedro.commands.bounds import engine_numbers
from srlm_kedro.datasets.engine import EngineDataset

ROOT = Path(__file__).parents[2]
ENGINES = "srlm_kedro.engines"
TRANSFORMERS = f"{ENGINES}.generation.transformers.TransformersEngine"
SCRIPTED = f"{ENGINES}.generation.scripted.ScriptedEngine"
TRL = f"{ENGINES}.training.trl.TrlEngine"


def test_every_number_of_every_engine_has_bounds():
    """This holds for all engines that an environment names, and for their shards."""
    engines = engine_numbers(ROOT / "conf")
    assert len(engines) > 10
    named = {f"{name}: {one.name}": one for name, found in engines.items() for one in found}
    assert f"{TRANSFORMERS}: memory_gib" in named
    assert [name for name, one in named.items() if not (one.low and one.high)] == []


@pytest.mark.parametrize(
    ("engine", "options", "said"),
    [
        (TRANSFORMERS, {"max_rows": 0}, "`max_rows`: Input should be greater than or equal to 1"),
        (TRANSFORMERS, {"memory_gib": math.nan}, "`memory_gib`: Input should be a finite number"),
        (TRANSFORMERS, {"memory_gib": -1}, "`memory_gib`: Input should be greater than 0"),
        (TRANSFORMERS, {"threads": True}, "`threads`: a number is wanted here"),
        (TRANSFORMERS, {"dtype": "flaot32"}, "`dtype`: Input should be 'float32'"),
        (
            f"{ENGINES}.training.trl.TrlEngine",
            {"checkpoint_seconds": math.inf},
            "finite number",
        ),
        (f"{ENGINES}.published.lm_eval.LmEvalEngine", {"batch_size": -8}, "`batch_size`"),
        (
            f"{ENGINES}.generation.servers.openai.OpenAIEngine",
            {"base_url": "http://127.0.0.1:9/v1", "extra_body": {"min_p": math.nan}},
            "`extra_body`: a number is not finite",
        ),
        (
            "srlm_kedro.referee.llm_judge.LlmJudge",
            {"engine": {"engine": SCRIPTED}, "temperature": -1},
            "`temperature`: Input should be greater than or equal to 0",
        ),
        (
            "srlm_kedro.referee.llm_judge.LlmJudge",
            {"engine": {"engine": SCRIPTED, "options": {"score": 99}}},
            "`score`: Input should be less than or equal to 10",
        ),
    ],
)
def test_options_out_of_bounds_are_refused_before_the_engine_is_built(engine, options, said):
    """The message says what was found; an engine within an engine is checked too."""
    with pytest.raises(DatasetError, match=said) as told:
        EngineDataset(engine, options).load()
    assert "Correct the engine's entry in the catalog" in str(told.value)


def test_all_options_out_of_bounds_are_told_at_once():
    """The message lists each option with what was found."""
    with pytest.raises(DatasetError, match=r"(?s)`threads`.*found 0.*`max_rows`.*found -5"):
        EngineDataset(TRANSFORMERS, {"threads": 0}, {"max_rows": -5}).load()


def test_shards_have_bounds_too(tmp_path):
    """A shard of no completions would never be full."""
    shards = {"folder": str(tmp_path), "completions": 0}
    with pytest.raises(DatasetError, match="`completions`: Input should be greater"):
        EngineDataset(SCRIPTED, shards=shards).load()


def test_a_number_that_yaml_reads_as_a_text_is_one():
    """`1e2` has no dot, so YAML gives its text; the engine gets the number, its recipe stays."""
    dataset = EngineDataset(TRANSFORMERS, resources={"memory_gib": "1e2"})
    assert dataset.load()._memory_gib == 100.0
    assert dataset.fingerprint() == EngineDataset(TRANSFORMERS).fingerprint()


class Plain:
    """A user's own engine, without types."""

    def __init__(self, rows, step=1):
        self.rows = rows


def test_an_engine_without_types_gets_what_stands_in_the_catalog():
    """Its options are not checked, except that numbers must be finite."""
    name = f"{__name__}.Plain"
    assert EngineDataset(name, {"rows": "many"}).load().rows == "many"
    with pytest.raises(DatasetError, match="`rows`: a number is not finite"):
        EngineDataset(name, {"rows": [1, {"x": math.inf}]}).load()
