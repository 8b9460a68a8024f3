"""`kedro run --pipeline=readiness`: whether the loop can work, told before it is paid for."""

import pandas as pd
import pytest

from srlm_kedro.errors import InputError


def verdicts(project, folder="data"):
    table = pd.read_csv(project.path / folder / "08_reporting/readiness/table.csv")
    return table.set_index("question")


def test_m0_is_tried_on_a_fresh_clone(project, capsys):
    """It is made if the project makes it; nothing is trained or recorded, and the page is shown."""
    project.run("readiness")
    told = verdicts(project)
    assert {"accuracy in words", "accuracy by criteria", "pairs", "new prompts"} <= set(told.index)
    shown = capsys.readouterr().out
    assert "Readiness of M0 for this loop" in shown
    assert (project.path / "data/08_reporting/readiness/summary.txt").read_text("utf-8") in shown
    assert not (project.path / "data/06_models/sft").exists()


def test_a_model_of_the_chain_is_tried_by_name(founded, capsys):
    """Nothing is made but the page; a second run finds it fresh and shows it again."""
    founded.run("readiness", params={"readiness": {"model": "m1"}})
    assert "Readiness of M1 for this loop" in capsys.readouterr().out
    told = verdicts(founded)
    assert "examples of EFT" not in told.index
    texts = founded.path / "data/07_model_output/readiness/responses.parquet"
    assert pd.read_parquet(texts)["response_id"].nunique() == 16 * 4
    before = texts.stat().st_mtime_ns
    founded.run("readiness", params={"readiness": {"model": "m1"}})
    assert texts.stat().st_mtime_ns == before
    assert "Readiness of M1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"model": "m2"}, "m2 is not there; there are m0, sft, m1. Try one of these"),
        ({"model": "gpt"}, "parameter `readiness.model`: String should match"),
        ({"ties": {"ready": 0.5, "doubtful": 0.2}}, "must not be above doubtful"),
        ({"rankingz": 3}, "did you mean `rankings`"),
    ],
)
def test_what_cannot_be_tried_is_refused(founded, params, message):
    """Before any work, with what there is."""
    with pytest.raises(InputError, match=message):
        founded.run("readiness", params={"readiness": params})
    assert not (founded.path / "data/08_reporting/readiness").exists()


def test_a_judge_without_a_score_is_told_before_it_costs_a_run(project):
    """The engine never states one: the page names the reason and the way out."""
    engine = {
        "type": "srlm_kedro.datasets.engine.EngineDataset",
        "engine": "srlm_kedro.engines.generation.scripted.ScriptedEngine",
        "options": {"unparsed": 1.0},
    }
    project.configure("catalog", generation_engine=engine)
    project.run("readiness")
    row = verdicts(project).loc["scores in words"]
    assert (row["verdict"], row["value"]) == ("not ready", 0)
    assert "loop.eft: ranking" in row["advice"]
