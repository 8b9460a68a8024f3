"""Seed data into tables, and what is refused."""

import pandas as pd
import pytest

from srlm_kedro.errors import InputError
from srlm_kedro.pipelines.ift import prepare_eft, prepare_ift, refuse_faulty_seed


def ift(*prompts):
    rows = [{"id": f"i{n}", "prompt": p, "response": "r"} for n, p in enumerate(prompts)]
    return pd.DataFrame(rows)


def eft(*prompts):
    both = [{"text": "good", "rank": 0}, {"text": "bad", "rank": 1}]
    return pd.DataFrame(
        [{"id": f"e{n}", "prompt": p, "responses": both} for n, p in enumerate(prompts)]
    )


def test_ift_keeps_prompt_and_response():
    """The id becomes prompt_id."""
    assert prepare_ift(ift("a")).to_dict("records") == [
        {"prompt_id": "i0", "prompt": "a", "response": "r"}
    ]


def test_eft_has_a_row_for_each_ranked_response():
    """Response ids are unique and contain the prompt's id."""
    table = prepare_eft(eft("a", "b"))
    assert list(table["response_id"]) == ["e0-r0", "e0-r1", "e1-r0", "e1-r1"]
    assert list(table["rank"]) == [0, 1, 0, 1]


def test_sound_tables_pass():
    """Different prompts in different tables are accepted."""
    refuse_faulty_seed({"ift_seed": ift("a", "b"), "eft_seed": eft("c")})


def test_all_faults_of_all_tables_are_told_at_once():
    """Empty, repeated and shared prompts, whatever their case and spacing."""
    with pytest.raises(InputError, match="4 faults") as refusal:
        refuse_faulty_seed({"ift_seed": ift("a b", "A  b ", " "), "eft_seed": eft("C", "a B")})
    said = str(refusal.value)
    assert "ift_seed, id i2: the prompt is empty" in said
    assert "ift_seed, id i1" in said
    assert "ift_seed and eft_seed both hold" in said


def test_repeated_ids_and_empty_tables_are_refused():
    """Ids name rows; a table without rows is no seed data."""
    twice = ift("a", "b").assign(id="same")
    with pytest.raises(InputError, match="id same occurs twice"):
        refuse_faulty_seed({"ift_seed": twice})
    with pytest.raises(InputError, match="holds no rows"):
        refuse_faulty_seed({"ift_seed": ift().reindex(columns=["id", "prompt"])})
