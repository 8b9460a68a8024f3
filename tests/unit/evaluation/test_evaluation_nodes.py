"""Responses to held-out prompts, their assessment, and the figures."""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest

from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.judge.judgements import COLUMNS as JUDGEMENT_COLUMNS
from srlm_kedro.judge.statistics import measure_reward_modelling
from srlm_kedro.pipelines.evaluation import create_head_to_head_pipeline, create_pipeline
from srlm_kedro.pipelines.evaluation.nodes import (
    COLUMNS,
    assess_responses,
    draw_eval_responses,
    judge_eft_eval,
    measure_model,
)
from srlm_kedro.pipelines.evaluation.params import EvalSampling, EvaluationParams
from srlm_kedro.records import Checkpoint

MODEL = Checkpoint(Path("nowhere"), "m1")
PROMPTS = pd.DataFrame(
    {
        "id": ["e1", "e2"],
        "prompt": ["list two fruits", "reverse cat dog"],
        "kind": ["list", "reverse"],
        "seen": [True, False],
    }
)
JUDGE_PROMPT = "Review {instruction} and {response}, then conclude with Score:"
EFT_EVAL = pd.DataFrame(
    {
        "prompt_id": ["f1", "f1"],
        "prompt": ["ask", "ask"],
        "response_id": ["f1-r0", "f1-r1"],
        "response": ["good", "bad"],
        "rank": [0, 1],
    }
)


@dataclass(frozen=True)
class Said:
    score: int | None = 5
    reasons: tuple[str, ...] = ("It is right.", "It is polite.")
    items_wrong: bool | None = False
    constraints_missed: float | None = 0.0
    voice_missed: bool | None = False
    extras: bool | None = False


class Referee:
    """A referee that gives a fixed assessment, or one by response."""

    def __init__(self, said=None):
        self.said = said or {}

    def assess_all(self, pairs):
        return [self.said.get(response, Said()) for _, response in pairs]


def drawn(**knobs):
    return draw_eval_responses(MODEL, PROMPTS, ScriptedEngine(), EvaluationParams(**knobs), 0)


def told(rows):
    """`eval_scores` out of (prompt number, mode, text, what the referee says)."""
    table = pd.DataFrame(
        [
            {
                "model": "m1",
                "seen": bool(PROMPTS["seen"][number]),
                "mode": mode,
                "prompt": "ask",
                "response": text,
                "tokens": len(text),
                "finish": "stop",
            }
            for number, mode, text, _ in rows
        ]
    )
    return assess_responses(table, Referee({text: said for _, _, text, said in rows}))


def judged():
    row = measure_reward_modelling(EFT_EVAL, judgements())
    return row


def judgements(**knobs):
    return judge_eft_eval(
        MODEL, EFT_EVAL, JUDGE_PROMPT, ScriptedEngine(), EvaluationParams(**knobs), 0
    )


def test_each_prompt_gets_sampled_responses_and_a_greedy_one():
    """Four sampled responses and a greedy one, with ids that are unique over models."""
    table = drawn()
    assert list(table.columns) == COLUMNS
    assert table.groupby(["prompt_id", "mode"]).size().to_dict() == {
        ("e1", "greedy"): 1,
        ("e1", "sampled"): 4,
        ("e2", "greedy"): 1,
        ("e2", "sampled"): 4,
    }
    assert table["response_id"].is_unique
    assert table["response_id"][0] == "m1-e1-s0"
    assert table.drop_duplicates("prompt_id")["seen"].tolist() == [True, False]


def test_knobs_of_sampling_reach_the_engine():
    """Number and length of the responses, and whether there is a greedy one."""
    table = drawn(sampling=EvalSampling(n=2, max_new_tokens=3), greedy=False)
    assert len(table) == 4
    assert set(table["mode"]) == {"sampled"}
    assert table["tokens"].max() <= 3


def test_the_same_seed_draws_the_same_responses():
    """The responses depend on the seed only."""
    pd.testing.assert_frame_equal(drawn(), drawn())


def test_the_referee_says_what_is_true_of_each_response():
    """In the order of the responses, with reasons as one text."""
    table = assess_responses(drawn(), Referee({drawn()["response"][1]: Said(score=2)}))
    assert table["score"].tolist()[:2] == [5.0, 2.0]
    assert table["reasons"][0] == "It is right. It is polite."
    assert table["items_wrong"].dtype == float


def test_what_a_referee_cannot_tell_is_missing_not_zero():
    """A language model as a referee may give only a score, or none."""
    mute = Said(None, (), None, None, None, None)
    table = told([(0, "sampled", "a", mute), (0, "sampled", "b", Said(score=4))])
    assert table["score"].isna().tolist() == [True, False]
    figures = measure_model(table, judged())
    assert (figures["eval/mean_score"], figures["eval/unscored"]) == (4, 1)


def test_every_ranked_response_is_judged_k_times():
    """Raw judgements, as in the loop, that name the model."""
    table = judgements()
    assert set(JUDGEMENT_COLUMNS) < set(table.columns)
    assert table.groupby("response_id").size().tolist() == [3, 3]
    assert set(table["model"]) == {"m1"}


def test_knobs_of_judging_reach_the_judge():
    """K, and the retries of judgements without a score."""
    silent = ScriptedEngine(unparsed=1.0)
    knobs = EvaluationParams(judging={"n": 2}, retries=1)
    table = judge_eft_eval(MODEL, EFT_EVAL, JUDGE_PROMPT, silent, knobs, 0)
    assert len(table) == 2 * 2 * 2
    assert table["attempt"].max() == 1


def test_figures_by_hand():
    """Greedy and sampled, seen and unseen are apart, errors are by kind."""
    good, bad = (
        Said(),
        Said(score=2, items_wrong=True, constraints_missed=0.5, voice_missed=True, extras=True),
    )
    figures = measure_model(
        told(
            [
                (0, "sampled", "aa", good),
                (1, "sampled", "bbbb", bad),
                (0, "greedy", "cccccccc", replace(good, score=3)),
            ]
        ),
        judged(),
    )
    expected = {
        "mean_score": 3.5,
        "greedy_score": 3,
        "mean_score_seen": 5,
        "mean_score_unseen": 2,
        "perfect": 0.5,
        "score_2": 0.5,
        "score_5": 0.5,
        "score_0": 0,
        "items_wrong": 0.5,
        "constraints_missed": 0.25,
        "voice_missed": 0.5,
        "extras": 0.5,
        "mean_length": 3,
    }
    assert {name: figures[f"eval/{name}"] for name in expected} == expected
    metrics = {"pairwise_accuracy", "exact_match", "spearman", "kendall", "judge_n", "judge_pairs"}
    assert {f"eval/{name}" for name in metrics} <= set(figures)


def test_a_figure_that_does_not_exist_is_left_out():
    """Without greedy responses and unseen kinds there are no such means."""
    figures = measure_model(told([(0, "sampled", "a", Said())]), judged())
    assert "eval/greedy_score" not in figures
    assert "eval/mean_score_unseen" not in figures
    assert all(isinstance(value, float) for value in figures.values())


def test_unknown_knobs_are_refused():
    """A mistyped name is an error."""
    with pytest.raises(ValueError, match="resample"):
        EvaluationParams(resample=10)


def test_the_stage_needs_these_and_makes_those():
    """These are the names that the loop wires."""
    stage, duel = create_pipeline(), create_head_to_head_pipeline()
    needed = {"model", "eval_prompts", "referee", "eft_eval", "judge_prompt", "generation_engine"}
    assert {name for name in stage.inputs() if not name.startswith("params:")} == needed
    assert stage.outputs() == {"eval_metrics"}
    assert {"model_scores", "previous_scores", "baseline_scores"} < duel.inputs()
    assert duel.all_outputs() == {"verdicts", "head_to_head", "head_to_head_metrics"}


def test_a_limit_steers_nothing_that_an_engine_makes():
    """Another `max_unparsed` remakes only nodes without an engine."""
    loose, strict = EvaluationParams(max_unparsed=1.0), EvaluationParams()
    assert loose.recipe(engine=True) == strict.recipe(engine=True)
    assert loose.recipe() != strict.recipe()
