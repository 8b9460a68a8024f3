"""N candidates are drawn for each prompt."""

import pandas as pd
import pytest
from pydantic import ValidationError

from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.pipelines.responses import COLUMNS, ResponsesParams
from tests.unit.fakes import M1, FakeEngine
from tests.unit.in_memory import draw_responses

PROMPTS = pd.DataFrame({"prompt_id": ["m2-p0001", "m2-p0002"], "prompt": ["Name two", "Say hi"]})


def test_every_prompt_gets_its_candidates():
    """One row per candidate, in the order of the prompts, with ids made of the prompt's id."""
    engine = FakeEngine(lambda request, sample: f"{request.prompt} {sample}")
    table = draw_responses(M1, PROMPTS, engine, ResponsesParams(sampling={"n": 2}), seed=0)
    assert table.columns.tolist() == COLUMNS
    assert table["response_id"].tolist() == [
        *("m2-p0001-r0", "m2-p0001-r1"),
        *("m2-p0002-r0", "m2-p0002-r1"),
    ]
    assert table["response"].tolist() == ["Name two 0", "Name two 1", "Say hi 0", "Say hi 1"]
    assert all(request.chat for request in engine.requests)


def test_the_defaults_are_the_papers():
    """N is 4, temperature 0.7 and top-p 0.9, also if another parameter is set."""
    sampling = ResponsesParams(sampling={"max_new_tokens": 9}).sampling
    assert (sampling.n, sampling.temperature, sampling.top_p) == (4, 0.7, 0.9)


def test_one_candidate_makes_no_pair():
    """N below 2 is refused before any work."""
    with pytest.raises(ValidationError):
        ResponsesParams(sampling={"n": 1})


def test_the_same_seed_draws_the_same():
    """The same seed gives the same table, and another seed another one."""
    tables = [
        draw_responses(M1, PROMPTS, ScriptedEngine(), ResponsesParams(), seed) for seed in (1, 1, 2)
    ]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not tables[0].equals(tables[2])
