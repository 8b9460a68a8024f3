"""The study: figures of each stage of an iteration."""

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.pipelines.study import (
    create_iteration_pipeline,
    create_rubric_pipeline,
    create_self_judging_pipeline,
)
from srlm_kedro.pipelines.study.accuracy import accuracy, accuracy_figures
from srlm_kedro.pipelines.study.movement import measure_movement, movement_figures
from srlm_kedro.pipelines.study.self_judging import (
    StudyParams,
    choose_own,
    judge_own,
    measure_own,
    reward_own,
)
from srlm_kedro.pipelines.study.truth import (
    assess_candidates,
    measure_judge,
    pair_figures,
    pair_truth,
    summarise_study,
    tie_figures,
    tied_groups,
)
from srlm_kedro.pipelines.study.writing import describe_prompts, prompt_figures, word_distance
from srlm_kedro.records import Checkpoint
from srlm_kedro.referee.base import COLUMNS as TRUTH
from tests.unit.fakes import M1, FakeEngine

NAN = float("nan")
M2 = Checkpoint(Path("m2"), "m2")
JUDGE_PROMPT = "Review {instruction} and {response}, then conclude with Score:"
ERRORS = {"i": "items_wrong", "c": "constraints_missed", "v": "voice_missed", "e": "extras"}


@dataclass(frozen=True)
class Said:
    score: float | None
    reasons: tuple[str, ...] = ()
    items_wrong: bool | None = False
    constraints_missed: float | None = 0.0
    voice_missed: bool | None = False
    extras: bool | None = False


class Referee:
    """Gives each response its length as score."""

    def __init__(self):
        self.asked = []

    def assess_all(self, pairs):
        self.asked += pairs
        return [Said(len(response), items_wrong=len(response) < 2) for _, response in pairs]


class Knowing(Referee):
    """A referee that understands prompts which start with a kind of task."""

    def understands(self, prompt):
        return self.kind(prompt) is not None

    def kind(self, prompt):
        first = prompt.split()[0]
        return first if first in ("list", "sort") else None


def candidates(*groups):
    """Judged responses with true scores, from groups of (reward, score, letters of errors)."""
    rows = [
        {"prompt_id": f"p{p}", "prompt": f"ask {p}", "response_id": f"p{p}-r{r}", "reward": reward}
        | {"score": score, **{name: float(letter in wrong) for letter, name in ERRORS.items()}}
        for p, group in enumerate(groups)
        for r, (reward, score, wrong) in enumerate(group)
    ]
    return pd.DataFrame(rows)


def unknown(table):
    """The same by a referee that does not tell kinds of error."""
    return table.assign(**dict.fromkeys(ERRORS.values(), NAN))


def told(table):
    """{kind: (pairs, right, tied, wrong)} of an accuracy table."""
    return {row.kind: (row.pairs, row.right, row.tied, row.wrong) for row in table.itertuples()}


def test_a_judge_is_right_tied_or_wrong_on_pairs_of_different_truth():
    """Three responses have three pairs; equal scores and different prompts have none."""
    table = accuracy(
        candidates([(5, 5, ""), (5, 3, "i"), (1, 4, "c")], [(2, 2, ""), (4, 2, "")]), "m2"
    )
    assert told(table)["all"] == (3, pytest.approx(100 / 3), *[pytest.approx(100 / 3)] * 2)
    assert table["model"].unique().tolist() == ["m2"]


def test_a_kind_counts_pairs_that_differ_in_it_alone():
    """A pair that differs in two kinds of error counts for neither."""
    found = told(accuracy(candidates([(5, 5, ""), (5, 4, "i"), (3, 3, "c")]), "m2"))
    assert found["items"] == (1, 0, 100, 0)
    assert found["constraints"] == (1, 100, 0, 0)
    assert found["all"][0] == 3
    assert found["voice"][0] == 0
    assert math.isnan(found["voice"][1])


def test_pairs_that_differ_in_a_kind_but_not_in_score_tell_nothing():
    """Responses with equal true scores are not counted."""
    assert told(accuracy(candidates([(5, 3, "v"), (1, 3, "")]), "m2"))["voice"][0] == 0


def test_a_response_without_reward_or_score_is_in_no_pair():
    """Unknown scores are not counted, and unknown kinds do not differ."""
    table = candidates([(NAN, 5, ""), (2, NAN, ""), (3, 3, "i"), (1, 1, "")])
    assert told(accuracy(table, "m2"))["all"] == (1, 100, 0, 0)
    assert told(accuracy(unknown(table), "m2"))["items"][0] == 0
    assert told(accuracy(unknown(table), "m2"))["all"][0] == 1
    assert told(accuracy(table.assign(extras=NAN), "m2"))["items"][0] == 1


def test_figures_of_a_judge_leave_out_shares_of_nothing():
    """The counts are reported all the same."""
    figures = accuracy_figures(accuracy(candidates([(5, 5, ""), (5, 4, "i")]), "m2"), "own")
    assert figures["own_tied"] == figures["own_tied_items"] == 100
    assert figures["own_pairs_voice"] == 0
    assert "own_right_voice" not in figures


def test_groups_tie_for_a_reason():
    """The true scores tie, one kind differs, several do, none does, or the scores are unknown."""
    table = candidates(
        [(4, 3, ""), (4, 3, "i")],
        [(4, 3, ""), (4, 2, "i"), (4, 2, "i")],
        [(4, 3, ""), (4, 2, "iv")],
        [(4, 3, "i"), (4, 2, "i")],
        [(4, NAN, ""), (4, NAN, "")],
        [(4, 3, ""), (5, 3, "")],
        [(4, 3, ""), (NAN, 3, "")],
    )
    ties = tied_groups(table, "m2")
    whys = ["truth_ties", "items", "several", "score", "unknown"]
    assert dict(zip(ties["prompt_id"], ties["why"], strict=True)) == {
        f"p{p}": why for p, why in enumerate(whys)
    }
    assert ties["responses"].tolist() == [2, 3, 2, 2, 2]
    assert tie_figures(ties) == {"tied_groups": 5, "ties_true": 25}
    assert tie_figures(tied_groups(candidates([(1, 1, ""), (2, 2, "")]), "m2")) == {
        "tied_groups": 0
    }


def test_pairs_are_true_where_the_chosen_is_better():
    """By score and by each kind; a pair that the referee does not know is not counted."""
    table = candidates(
        [(5, 5, ""), (1, 3, "i")],
        [(5, 2, "iv"), (1, 4, "v")],
        [(5, 3, ""), (1, 3, "i")],
        [(5, NAN, ""), (1, NAN, "")],
    )
    table.loc[table["score"].isna(), TRUTH] = NAN
    ids = table["response_id"].to_list()
    pairs = pd.DataFrame({"chosen_id": ids[0::2], "rejected_id": ids[1::2]})
    found = pair_truth(pairs, table, "m2").set_index("kind")
    third = pytest.approx(100 / 3)
    assert found.loc["score", ["pairs", "better", "equal", "worse"]].tolist() == [3, *[third] * 3]
    assert found.loc["items", ["better", "equal", "worse"]].tolist() == [
        pytest.approx(200 / 3),
        0,
        third,
    ]
    assert found.loc["voice", "equal"] == 100
    figures = pair_figures(found.reset_index())
    assert figures["pairs_true"] == figures["pairs_worse_items"] == third
    blind = pair_figures(pair_truth(pairs, unknown(table), "m2"))
    assert set(blind) == {"pairs_true", "pairs_false"}


def judged(*prompts):
    rows = [
        (f"p{p}", f"p{p}-r{r}", prompt, "x" * (r + 1), float(r), "ok")
        for p, prompt in enumerate(prompts)
        for r in range(2)
    ]
    columns = ["prompt_id", "response_id", "prompt", "response", "reward", "reason"]
    return pd.DataFrame(rows, columns=columns)


def test_candidates_get_their_truth_where_the_referee_understands_the_prompt():
    """It is not asked about other prompts, and all rows are kept."""
    referee, table = Knowing(), judged("list a", "who am I", "sort b")
    found = assess_candidates(table, referee, StudyParams(), 0)
    assert [prompt for prompt, _ in referee.asked] == ["list a"] * 2 + ["sort b"] * 2
    assert found["score"].tolist()[:2] == [1, 2]
    assert found["score"].isna().tolist() == [False, False, True, True, False, False]
    assert found["items_wrong"].tolist()[4:] == [1, 0]
    pd.testing.assert_frame_equal(found[table.columns], table)


def test_a_referee_is_not_asked_about_what_was_not_judged():
    """A cut response is not assessed; its row stays without a score."""
    referee, table = Knowing(), judged("list a")
    table.loc[0, ["reward", "reason"]] = [NAN, "cut"]
    found = assess_candidates(table, referee, StudyParams(), 0)
    assert referee.asked == [("list a", "xx")]
    assert found["score"].isna().tolist() == [True, False]


def test_a_referee_is_asked_about_so_many_prompts_by_the_seed():
    """All candidates of each are assessed, for any prompt if the referee knows no world."""
    table = judged(*(f"say {n}" for n in range(20)))

    def asked(seed, prompts=3):
        referee = Referee()
        assess_candidates(table, referee, StudyParams(prompts=prompts), seed)
        return referee.asked

    assert len(asked(0)) == 6
    assert asked(0) == asked(0) != asked(1)
    assert len(asked(0, prompts=None)) == 40


IFT = pd.DataFrame({"prompt": ["list two red birds", "sort one two"]})


def test_prompts_are_valid_of_a_kind_and_near_to_the_seed():
    """ROUGE-L F of the nearest: 2 * 2 / (3 + 4) of a prompt with two words of four in order."""
    prompts = pd.DataFrame(
        {"prompt_id": ["a", "b", "c"], "prompt": ["list old birds", "Sort one two!", "hm, no"]}
    )
    facts = describe_prompts(prompts, IFT, Knowing())
    assert facts["valid"].tolist() == [1, 0, 0]
    assert facts["nearest"].tolist() == [pytest.approx(4 / 7), 1, 0]
    figures = prompt_figures(facts, prompts, IFT)
    assert figures["prompts_valid"] == pytest.approx(100 / 3)
    assert figures["prompts_kinds"] == 1
    assert figures["prompts_nearest"] == pytest.approx(11 / 21)
    assert figures["prompts_distinct_bigrams"] == 100
    assert 0 < figures["prompts_distance"] < 1


def test_who_knows_no_world_says_nothing_of_validity():
    """The other figures need no referee."""
    prompts = pd.DataFrame({"prompt_id": ["a", "b"], "prompt": ["one two one two", "one two"]})
    figures = prompt_figures(describe_prompts(prompts, IFT, Referee()), prompts, IFT)
    assert not {"prompts_valid", "prompts_kinds"} & set(figures)
    assert figures["prompts_distinct_bigrams"] == 50


@pytest.mark.parametrize(
    ("texts", "others", "distance"),
    [
        ([["a", "b"]], [["b"], ["a"]], 0),
        ([["a"]], [["b"]], 1),
        # Of (1, 0) and (1/2, 1/2), by hand: H(3/4, 1/4) - H(1/2, 1/2) / 2.
        ([["a"]], [["a", "b"]], math.sqrt(2 - 0.75 * math.log2(3) - 0.5)),
    ],
)
def test_the_distance_of_words_is_jensen_and_shannons(texts, others, distance):
    """It is 0 for equal frequencies and 1 without a common word."""
    assert word_distance(texts, others) == pytest.approx(distance, abs=1e-7)


class Trainer:
    """M2 finds everything a nat a word more probable than M1 does, `bad` two nats less."""

    def log_probs(self, model, examples):
        far = model.name == "m2"
        self.asked = examples
        return [
            -10.0 + far * (-2.0 if one.completion == "bad" else len(one.completion.split()))
            for one in examples
        ]


def test_movement_is_the_change_of_log_probability():
    """A response in the mean, and a token; greedy and cut-off responses are left out."""
    answers = pd.DataFrame(
        [
            ("a", "sampled", "stop", "one two", 3),
            ("b", "sampled", "stop", "one two three four", 5),
            ("c", "sampled", "length", "one " * 90, 90),
            ("d", "greedy", "stop", "one " * 90, 90),
        ],
        columns=["response_id", "mode", "finish", "response", "tokens"],
    ).assign(prompt="ask", model="m2")
    pair = {
        "prompt": "ask",
        "chosen": "good",
        "rejected": "bad",
        "chosen_id": "x",
        "rejected_id": "y",
        "chosen_finish": "stop",
        "rejected_finish": "length",
    }
    trainer = Trainer()
    table = measure_movement(M2, M1, answers, pd.DataFrame([pair]), trainer)
    assert [one.complete for one in trainer.asked] == [True, True, True, False]
    assert table["text"].tolist() == ["sampled", "sampled", "chosen", "rejected"]
    assert table["response_id"].tolist() == ["a", "b", "x", "y"]
    assert table["before"].tolist() == [-10] * 4
    assert movement_figures(table) == {
        **{"kl": 3, "kl_token": 6 / 8},
        **{"logp_chosen_moved": 1, "logp_rejected_moved": -2},
    }


def eval_scores(scores, mode="sampled"):
    rows = [
        {"prompt_id": f"e{p}", "prompt": "ask", "response_id": f"m1-e{p}-{mode}{r}", "mode": mode}
        | {"response": f"said {score}", "score": score, **dict.fromkeys(ERRORS.values(), 0.0)}
        for p, group in enumerate(scores)
        for r, score in enumerate(group)
    ]
    return pd.DataFrame(rows)


def own(table, say, **knobs):
    engine = FakeEngine(say)
    evaluation = EvaluationParams(retries=0, **knobs)
    asked = choose_own(table, StudyParams(), 0)
    judgements = judge_own(M1, asked, JUDGE_PROMPT, engine, evaluation, 0)
    return engine, *measure_own(M1, reward_own(asked, judgements))


def test_all_models_judge_their_answers_to_the_same_prompts():
    """As many as asked for, drawn by the seed; null asks for all."""

    def chosen(limit, seed=0, scores=(5.0, 3.0)):
        table = eval_scores([list(scores)] * 9)
        made = choose_own(table, StudyParams(own_prompts=limit), seed)
        assert made.groupby("prompt_id").size().eq(2).all()
        return set(made["prompt_id"])

    assert len(chosen(4)) == 4
    assert chosen(4) == chosen(4, scores=(1.0, 2.0))
    assert chosen(4) != chosen(4, seed=1)
    assert len(chosen(None)) == len(chosen(80)) == 9


def test_a_model_judges_its_own_sampled_answers_k_times():
    """It orders one pair rightly and one not; greedy answers and single ones are not judged."""
    table = pd.concat(
        [eval_scores([[5.0, 3.0], [4.0, 2.0], [1.0]]), eval_scores([[5.0, 1.0]], "greedy")],
        ignore_index=True,
    )

    def say(request, k):
        return (
            "Score: 1"
            if "said 4" in request.prompt
            else "Score: 4"
            if "5" in request.prompt
            else "Score: 2"
        )

    engine, found, figures = own(table, say, judging={"n": 2})
    assert engine.models == ["m1"]
    assert len(engine.requests) == 4
    assert engine.samplings[0].n == 2
    assert told(found)["all"] == (2, 50, 0, 50)
    assert found["model"].unique().tolist() == ["m1"]
    assert (figures["study/own_right"], figures["study/own_unrewarded"]) == (50, 0)


def test_a_judgement_without_a_score_is_counted_and_in_no_pair():
    """A missing reward is not a number."""
    _, found, figures = own(eval_scores([[5.0, 3.0]]), lambda request, k: "no idea")
    assert told(found)["all"][0] == 0
    assert figures["study/own_unrewarded"] == 2


def test_where_nobody_knows_the_truth_nothing_is_judged():
    """A referee that only compares gives no score, so that nothing is judged."""
    table = eval_scores([[NAN, NAN]])
    asked = choose_own(table, StudyParams(), 0)
    judgements = judge_own(M1, asked, JUDGE_PROMPT, ScriptedEngine(), EvaluationParams(), 0)
    assert judgements.empty
    found, figures = measure_own(M1, reward_own(asked, judgements))
    assert told(found)["all"][0] == 0
    assert "study/own_right" not in figures


def test_all_figures_of_an_iteration_carry_the_name_of_the_study():
    """All figures are there but those that do not exist."""
    table = assess_candidates(judged("list a", "sort b"), Knowing(), StudyParams(), 0)
    ids = table["response_id"].to_list()
    pairs = pd.DataFrame({"chosen_id": ids[1::2], "rejected_id": ids[0::2]})
    prompts = table.drop_duplicates("prompt_id")[["prompt_id", "prompt"]]
    facts = describe_prompts(prompts, IFT, Knowing())
    moved = pd.DataFrame({"text": ["sampled"], "tokens": [2], "before": [-3.0], "after": [-1.0]})
    figures = summarise_study(*measure_judge(M1, table, pairs), facts, prompts, IFT, moved)
    assert all(name.startswith("study/") for name in figures)
    assert not pd.Series(figures).isna().any()
    assert {name: figures[f"study/{name}"] for name in ("judge_right", "pairs_true", "kl")} == {
        **{"judge_right": 100, "pairs_true": 100, "kl": 2}
    }
    assert measure_judge(M1, table, pairs)[0]["model"].unique().tolist() == ["m2"]


def test_the_stage_needs_these_and_makes_those():
    """These are the names that the loop wires."""
    iteration, own_stage = create_iteration_pipeline(), create_self_judging_pipeline()
    needed = {name for name in iteration.inputs() if not name.startswith("params:")}
    assert needed == {
        *("model", "policy", "ift", "referee", "training_engine", "eval_responses"),
        *("prompts", "judged_responses", "pairs"),
    }
    assert iteration.outputs() == {"study_metrics"}
    assert own_stage.outputs() == {"own_accuracy", "own_metrics"}
    rubric = create_rubric_pipeline()
    assert rubric.outputs() == {"rubric_metrics"}
    assert {"eft_eval", "reward_modelling", "params:rubric"} <= rubric.inputs()
