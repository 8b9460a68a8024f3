"""Outputs in AlpacaEval's format, preferences, figures and the leaderboard."""

from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner

from srlm_kedro.engines.published.base import COLUMNS
from srlm_kedro.engines.published.scripted import ScriptedAnnotator
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.pipelines.published.alpaca_eval import COLUMNS as LEADERBOARD
from srlm_kedro.pipelines.published.alpaca_eval import (
    AlpacaEvalParams,
    annotate_alpaca_outputs,
    collect_leaderboard,
    create_leaderboard_pipeline,
    create_pipeline,
    describe_model,
    draw_alpaca_outputs,
    measure_alpaca_outputs,
)
from srlm_kedro.records import Checkpoint
from tests.unit.fakes import M1, FakeEngine

ASKS = ["Name a colour.", "Name a fruit.", "Say hello.", "Count to three."]
SET = [
    {"instruction": ask, "output": "ten chars.", "generator": "base", "dataset": "own"}
    for ask in ASKS
]
LONG, SHORT, EQUAL = "eleven char", "nine char", "chars. ten"
SAID = dict(zip(ASKS, [LONG, SHORT, EQUAL, LONG], strict=True))
NO_DIFFICULTY = pd.DataFrame()


def drawn(engine=None, **knobs):
    engine = engine or FakeEngine(lambda request, _: SAID[request.prompt])
    return draw_alpaca_outputs(M1, SET, engine, AlpacaEvalParams(**knobs), 0)


def annotated(annotator=None):
    return annotate_alpaca_outputs(drawn(), SET, annotator or ScriptedAnnotator())


def measured(table, annotator=None, **knobs):
    annotator = annotator or ScriptedAnnotator()
    return measure_alpaca_outputs(table, NO_DIFFICULTY, annotator, AlpacaEvalParams(**knobs))


class LengthController(ScriptedAnnotator):
    """An annotator with a length-controlled win rate."""

    def control_length(self, annotations, difficulty):
        return {"length_controlled_win_rate": 12.5}


def test_outputs_come_in_the_format_of_the_benchmark():
    """There is one per instruction, in the order of the set, with the model as generator."""
    rows = drawn()
    assert [row["instruction"] for row in rows] == ASKS
    assert rows[0] == {
        "instruction": "Name a colour.",
        "output": LONG,
        "generator": "m1",
        "dataset": "own",
    }


def test_knobs_of_sampling_reach_the_engine():
    """Temperature and length."""
    engine = FakeEngine(lambda request, _: "text")
    drawn(engine, sampling={"temperature": 0.1, "max_new_tokens": 7})
    assert (engine.samplings[0].temperature, engine.samplings[0].max_new_tokens) == (0.1, 7)


def test_each_instruction_has_one_output():
    """Two samples are refused, because the benchmark compares one."""
    with pytest.raises(ValueError, match="less than or equal to 1"):
        AlpacaEvalParams(sampling={"n": 2})


def test_all_faults_of_the_set_are_told_at_once():
    """Missing keys, a repeated instruction and a second generator are refused before any work."""
    bad = [*SET, SET[0], {"instruction": "Sing."}, {**SET[0], "instruction": "?", "generator": "b"}]
    with pytest.raises(InputError) as refusal:
        draw_alpaca_outputs(M1, bad, FakeEngine(lambda *_: ""), AlpacaEvalParams(), 0)
    message = str(refusal.value)
    assert "item 6 of the list: output: Field required; generator: Field required" in message
    assert "occurs twice: 'Name a colour.'" in message
    assert "several generators: base, b" in message


@pytest.mark.parametrize("nothing", [[], {}, {"instruction": "a"}])
def test_a_set_without_rows_is_refused(nothing):
    """An empty or another file than the benchmark's."""
    with pytest.raises(InputError, match="a JSON list of objects"):
        draw_alpaca_outputs(M1, nothing, FakeEngine(lambda *_: ""), AlpacaEvalParams(), 0)


def test_annotations_put_the_model_second():
    """2 where the model is better, 1 where the reference is, 1.5 for a draw."""
    table = annotated()
    assert table.columns.tolist() == COLUMNS
    assert table["instruction"].tolist() == ASKS
    assert table["output_2"].tolist() == list(SAID.values())
    assert set(table["generator_1"]) == {"base"}
    assert table["preference"].tolist() == [2, 1, 1.5, 2]


def test_figures_by_hand():
    """Wins of 100, 0, 50 and 100%: mean 62.5, standard error 47.87 / 2."""
    metrics, row = measured(annotated())
    assert metrics == {
        "alpaca_eval/win_rate": 62.5,
        "alpaca_eval/standard_error": pytest.approx(23.9357, abs=1e-4),
        "alpaca_eval/length_controlled": 0,
        "alpaca_eval/mean_characters": (11 + 9 + 10 + 11) / 4,
        "alpaca_eval/annotated": 4,
        "alpaca_eval/failed": 0,
    }
    assert row.loc[0, ["model", "source", "win_rate"]].tolist() == ["m1", "run", 62.5]


def test_an_instruction_without_a_preference_is_counted_not_guessed():
    """It does not change the win rate of the others."""
    table = annotated()
    table.loc[1, "preference"] = None
    metrics, _ = measured(table, max_failed=0.25)
    assert metrics["alpaca_eval/win_rate"] == pytest.approx(100 * 2.5 / 3)
    assert (metrics["alpaca_eval/annotated"], metrics["alpaca_eval/failed"]) == (3, 1)


def test_too_many_failures_stop_the_run():
    """The message has the share, the limit and the annotator's completion."""
    table = annotated()
    table.loc[1, ["preference", "raw_completion"]] = [None, "I like both"]
    with pytest.raises(GateError, match=r"25% of 4 .*max_failed` = 0.1.*I like both"):
        measured(table, max_failed=0.1)


def test_without_any_preference_there_is_no_win_rate():
    """This holds even if the limit allows it."""
    metrics, row = measured(annotated(ScriptedAnnotator(failed=1.0)), max_failed=1.0)
    assert "alpaca_eval/win_rate" not in metrics
    assert metrics["alpaca_eval/failed"] == 4
    assert row["win_rate"].isna().all()


def test_a_length_controlled_win_rate_is_told_where_there_is_one():
    """As a metric and in the leaderboard."""
    metrics, row = measured(annotated(), LengthController())
    assert metrics["alpaca_eval/length_controlled_win_rate"] == 12.5
    assert metrics["alpaca_eval/length_controlled"] == 4
    assert row["length_controlled_win_rate"].tolist() == [12.5]
    assert "alpaca_eval/length_controlled_win_rate" not in measured(annotated())[0]


def test_the_leaderboard_stands_beside_the_paper():
    """Sorted by win rate; what the paper does not print is missing."""
    figures = {"win_rate": 17.0, "annotated": 805.0, "mean_characters": 1000.0}
    table = collect_leaderboard(describe_model("m2", figures), describe_model("m1", {}))
    assert table.columns.tolist() == LEADERBOARD
    names = table["model"].tolist()
    assert names[:5] == [
        "GPT-4 0314",
        "Mistral Medium",
        "Self-Rewarding 70B M3",
        "Claude 2",
        "m2",
    ]
    assert names[-1] == "m1"
    paper = table[table["source"] == "paper"]
    assert len(paper) == 10
    assert paper["mean_characters"].dropna().tolist() == [2552, 1552, 1092]


def test_a_share_of_failures_is_a_share():
    """The scripted annotator refuses what is none."""
    with pytest.raises(InputError, match="failed = 2"):
        ScriptedAnnotator(failed=2)


def test_the_stage_runs_from_model_to_leaderboard():
    """Two models, one annotator, through Kedro."""
    given = {
        "alpaca_eval_set": SET,
        "alpaca_difficulty": NO_DIFFICULTY,
        "alpaca_annotator": ScriptedAnnotator(),
        "generation_engine": FakeEngine(lambda request, _: SAID[request.prompt]),
        "params:alpaca_eval": AlpacaEvalParams(),
        "params:seed": 0,
    }
    models = {name: Checkpoint(Path(name), name) for name in ("m1", "m2")}
    stages = create_leaderboard_pipeline(list(models))
    for name in models:
        stage = create_pipeline()
        shared = stage.inputs() - {"model"}
        inputs = {free: free for free in shared if not free.startswith("params:")}
        knobs = {free for free in shared if free.startswith("params:")}
        stages += Pipeline(stage, namespace=name, inputs=inputs, parameters=knobs)
    given |= {f"{name}.model": model for name, model in models.items()}
    catalog = DataCatalog({name: MemoryDataset(value) for name, value in given.items()})
    made = SequentialRunner().run(stages, catalog)
    board = made["leaderboard"].load()
    assert board[board["source"] == "run"]["model"].tolist() == ["m1", "m2"]
    assert made["m2.alpaca_eval_metrics"].load()["alpaca_eval/win_rate"] == 62.5


def test_the_stage_needs_these_and_makes_those():
    """These are the names that the loop wires."""
    stage, board = create_pipeline(), create_leaderboard_pipeline(["m1", "m2"])
    assert stage.inputs() == {
        *("model", "alpaca_eval_set", "alpaca_difficulty", "generation_engine"),
        *("alpaca_annotator", "params:alpaca_eval", "params:seed"),
    }
    assert stage.outputs() == {"alpaca_eval_metrics", "alpaca_row"}
    assert board.inputs() == {"m1.alpaca_row", "m2.alpaca_row"}
    assert board.outputs() == {"leaderboard"}
