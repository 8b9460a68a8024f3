"""EFT: from human rankings to judgements that agree with them."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from srlm_kedro.engines.generation.base import NO_ROOM, Completion
from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.judge.judgements import COLUMNS as JUDGEMENTS
from srlm_kedro.pipelines.eft import create_pipeline
from srlm_kedro.pipelines.eft.nodes import judge_ranked, rank_as_judged, split_eft
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.eft.selection import COLUMNS, agreeing, select_eft, thinned
from tests.unit.fakes import M1, FakeEngine

TEMPLATE = "Q: {instruction}\nA: {response}\nScore: ?"
IFT = pd.DataFrame({"prompt_id": ["i0"], "prompt": ["Sing a song"], "response": ["la"]})
ALL = EftParams(thin_commonest=False)


def _ranked(*groups: list[int]) -> pd.DataFrame:
    rows = [
        (f"e{p}", f"ask {p}", f"e{p}-r{r}", f"answer {p} {r}", rank)
        for p, ranks in enumerate(groups)
        for r, rank in enumerate(ranks)
    ]
    columns = ["prompt_id", "prompt", "response_id", "response", "rank"]
    return pd.DataFrame(rows, columns=columns)


def _select(pool, said, eft=ALL, seed=0, n=1):
    """The stage on judgements by response id and sample: a score, a text, or a completion."""

    def say(request, sample):
        words = said[request.id.removesuffix("-j")]
        words = words[sample] if isinstance(words, list) else words
        return f"It is what it is.\nScore: {words}" if isinstance(words, int | float) else words

    eft = eft.model_copy(update={"sampling": eft.sampling.model_copy(update={"n": n})})
    judgements = judge_ranked(M1, pool, TEMPLATE, FakeEngine(say), eft, seed)
    return select_eft(pool, judgements, TEMPLATE, eft, seed)


def test_a_judgement_that_agrees_becomes_an_example():
    """The prompt is the filled judge prompt, the completion the raw judgement."""
    train, metrics = _select(_ranked([0, 1]), {"e0-r0": 4, "e0-r1": 2})
    assert train.columns.tolist() == COLUMNS
    assert train["prompt"][0] == "Q: ask 0\nA: answer 0 0\nScore: ?"
    assert train["completion"][0] == "It is what it is.\nScore: 4"
    assert train["score"].tolist() == [4, 2]
    assert train["rank"].tolist() == [0, 1]
    assert metrics["eft/kept_share"] == 1


AGREEMENT = [
    # ranks, scores, kept one by one, kept as a set
    ([0, 1], [4, 2], [1, 1], [1, 1]),
    ([0, 1], [2, 4], [0, 0], [0, 0]),
    ([0, 1], [3, 3], [0, 0], [0, 0]),
    ([0, 1, 2], [5, 3, 1], [1, 1, 1], [1, 1, 1]),
    ([0, 1, 2], [5, 1, 3], [1, 0, 0], [0, 0, 0]),
    ([0, 1, 2], [4, 4, 1], [1, 1, 1], [0, 0, 0]),
    ([0, 1, 2], [1, 3, 2], [0, 0, 0], [0, 0, 0]),
    ([1, 1], [4, 2], [0, 0], [0, 0]),
    ([0, 1, 1], [4, 2, 3], [1, 1, 1], [1, 1, 1]),
    ([0], [4], [0], [0]),
]


@pytest.mark.parametrize(("ranks", "scores", "example", "whole"), AGREEMENT)
def test_agreement_with_the_human_ranking(ranks, scores, example, whole):
    """Both rules of agreement, on one set of judgements."""
    judged = pd.DataFrame({"prompt_id": "e0", "k": 0, "rank": ranks, "score": scores})
    assert agreeing(judged, "example").tolist() == [bool(kept) for kept in example]
    assert agreeing(judged, "set").tolist() == [bool(kept) for kept in whole]


def test_samples_are_compared_within_their_own_set():
    """The first judgements agree with the ranking, the second ones do not."""
    said = {"e0-r0": [4, 1], "e0-r1": [2, 5]}
    train, metrics = _select(_ranked([0, 1]), said, n=2)
    assert train["score"].tolist() == [4, 2]
    assert metrics["eft/kept_share"] == 0.5
    assert metrics["eft/dropped_disagreeing"] == 2


sets = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=5)


@settings(max_examples=50, deadline=None)
@given(sets)
def test_a_set_that_agrees_agrees_one_by_one(pairs):
    """`set` is the stricter rule, apart from responses that people ranked equal to all others."""
    judged = pd.DataFrame(pairs, columns=["rank", "score"]).assign(prompt_id="e0", k=0)
    if agreeing(judged, "set").any():
        assert agreeing(judged, "example").all()


def test_what_is_no_example_is_dropped_and_counted():
    """Judgements without a score, a justification or an end, and repeated ones, are dropped."""
    said = {
        "e0-r0": ["It is as good as can be. Score: 5"] * 2,
        "e0-r1": ["It is quite bad, I think. Score: 1"] * 2,
        "e1-r0": ["I cannot say what this is worth.", "Score: 4"],
        "e1-r1": ["Not bad at all, though not good. Score: 8/10"] * 2,
        "e2-r0": [Completion("It is good. Score: 5\nIt is good. It is", 9, "length"), 4],
        "e2-r1": [2, 3],
    }
    train, metrics = _select(_ranked([0, 1], [0, 1], [0, 1]), said, n=2)
    assert train["response_id"].tolist() == ["e0-r0", "e0-r1", "e2-r0", "e2-r1"]
    assert metrics["eft/judgements"] == 12
    assert metrics["eft/unparsed_no_score"] == 1
    assert metrics["eft/unparsed_wrong_scale"] == 2
    assert metrics["eft/dropped_bare"] == 1
    assert metrics["eft/dropped_runs_on"] == 1
    assert metrics["eft/dropped_duplicate"] == 2
    assert metrics["eft/dropped_disagreeing"] == 1
    drops = [name for name in metrics if "dropped" in name or "unparsed" in name]
    assert metrics["eft/kept"] + sum(metrics[name] for name in drops) == metrics["eft/judgements"]


def test_the_commonest_score_is_thinned_to_the_second_commonest():
    """Which ones go is drawn by the seed; the others keep their order."""
    table = pd.DataFrame({"score": [4.0] * 30 + [3.0] * 8 + [1.0] * 2})
    kept = thinned(table, seed=1)
    assert kept["score"].value_counts().to_dict() == {4.0: 8, 3.0: 8, 1.0: 2}
    assert kept.index.is_monotonic_increasing
    pd.testing.assert_frame_equal(kept, thinned(table, seed=1))
    assert not kept.index.equals(thinned(table, seed=2).index)


@pytest.mark.parametrize("scores", [[4.0], [4.0, 4.0], [4.0, 4.0, 3.0, 3.0, 1.0], []])
def test_there_is_not_always_something_to_thin(scores):
    """A single score, or two equally common ones, are not thinned."""
    table = pd.DataFrame({"score": scores})
    assert len(thinned(table, seed=0)) == len(scores)


def test_thinning_is_a_knob():
    """It is on by default, its drops are counted, and it can be switched off."""
    pool = _ranked(*[[0, 1, 2]] * 4)
    said = {row.response_id: [5, 3, 3][row.rank] for row in pool.itertuples()}
    train, metrics = _select(pool, said, EftParams())
    assert (metrics["eft/score_3"], metrics["eft/score_5"]) == (4, 4)
    assert metrics["eft/dropped_thinned"] == 4
    assert len(_select(pool, said)[0]) == len(train) + 4


def test_too_few_examples_stop_the_run():
    """The message says why the judgements were dropped."""
    with pytest.raises(GateError, match=r"eft: 0 of 2 judgements.*2 disagreeing"):
        _select(_ranked([0, 1]), {"e0-r0": 1, "e0-r1": 2})


def test_the_gate_names_all_reasons_and_the_ways_out():
    """As a model that cannot judge yet ends the run: cut, without a score, out of range, bare."""
    texts = {
        "e0-r0": ("The response is long and", "length"),
        "e0-r1": ("I like this response very much.", "stop"),
        "e1-r0": ("It has all of it. Score: 9", "stop"),
        "e1-r1": ("Score: 3", "stop"),
    }
    rows = [
        (name, 0, 0, text, finish, "", float("nan"), "") for name, (text, finish) in texts.items()
    ]
    judgements = pd.DataFrame(rows, columns=JUDGEMENTS)
    eft = EftParams(sampling={"max_new_tokens": 48})
    with pytest.raises(GateError) as told:
        select_eft(_ranked([0, 1], [0, 1]), judgements, TEMPLATE, eft, seed=0)
    message = str(told.value)
    assert message.startswith("eft: 0 of 4 judgements are left as examples")
    for reason in ("cut_off", "no_score", "out_of_range", "bare"):
        assert f"1 {reason} (" in message
    assert "Raise `eft.sampling.max_new_tokens` (now 48): it ended 1 of them." in message
    for way in ("`loop.eft: ranking`", "`loop.judge_form: criteria`", "a model that follows"):
        assert way in message


def test_a_judging_without_hope_is_given_up_after_its_first_judgements():
    """A tenth of 1,000 responses is judged, in vain; with 1 all are, and the same are judged."""
    pool = _ranked(*[[0, 1]] * 500)
    engine = ScriptedEngine(judge_marker="Score", unparsed=1.0)
    with pytest.raises(GateError, match=r"eft: none of the first 100 of 1000 .*100 no_score"):
        judge_ranked(M1, pool, TEMPLATE, engine, EftParams(), 0)
    judged = judge_ranked(M1, pool, TEMPLATE, engine, EftParams(give_up_at=1), 0)
    assert len(judged) == 1000


def test_judgements_that_nobody_could_learn_from_are_no_hope_either():
    """A bare score is parsed, but is no example; with `min_words: 0` it is one."""
    pool = _ranked(*[[0, 1]] * 500)
    engine = ScriptedEngine(judge_marker="Score", unparsed=0.0)
    short = EftParams(sampling={"max_new_tokens": 1000}, min_words=900)
    with pytest.raises(GateError, match=r"100 bare \(they are a score without a justification"):
        judge_ranked(M1, pool, TEMPLATE, engine, short, 0)
    lenient = short.model_copy(update={"min_words": 0})
    assert len(judge_ranked(M1, pool, TEMPLATE, engine, lenient, 0)) == 1000


def test_the_gate_does_not_blame_the_token_limit_for_what_it_did_not_end():
    """Judgements against the human order need no more tokens."""
    with pytest.raises(GateError) as told:
        _select(_ranked([0, 1]), {"e0-r0": 1, "e0-r1": 2})
    assert "max_new_tokens" not in str(told.value)
    assert "2 disagreeing (their score is not in the order" in str(told.value)


def test_the_split_is_by_prompt_and_the_seeds_alone():
    """All responses of a prompt are on one side, whatever the order of the rows."""
    ranked = _ranked(*[[0, 1, 2]] * 8)
    pool, held = split_eft(ranked, IFT, EftParams(), seed=5)
    assert held["prompt_id"].nunique() == 2
    assert not set(pool["prompt"]) & set(held["prompt"])
    assert len(pool) + len(held) == len(ranked)
    _, again = split_eft(ranked[::-1], IFT, EftParams(), seed=5)
    assert set(again["prompt_id"]) == set(held["prompt_id"])
    assert split_eft(ranked, IFT, EftParams(eval_prompts=3), 5)[1]["prompt_id"].nunique() == 3


def test_prompts_of_ift_are_refused():
    """The message has the prompt, also if only case and spaces differ."""
    ranked = _ranked([0, 1], [0, 1])
    ranked.loc[ranked["prompt_id"] == "e1", "prompt"] = " sing  a SONG"
    with pytest.raises(InputError, match=r"1 prompts occur in IFT too") as refused:
        split_eft(ranked, IFT, EftParams(), seed=0)
    assert "e1:" in str(refused.value)


def test_a_split_that_leaves_nothing_is_refused():
    """It is refused if all prompts are to be held back."""
    with pytest.raises(InputError, match="none is left"):
        split_eft(_ranked([0, 1]), IFT, EftParams(eval_prompts=1), seed=0)


def test_there_is_one_way_to_say_the_split():
    """A share and a number together are refused before any work."""
    with pytest.raises(ValidationError, match="eval_prompts = null lets the fraction count"):
        EftParams(eval_prompts=3, eval_fraction=0.5)


def test_the_pipeline_has_the_agreed_names():
    """Free inputs and outputs of the stage."""
    pipeline = create_pipeline()
    assert pipeline.inputs() == {
        *("eft_ranked", "ift", "baseline", "judge_prompt", "generation_engine"),
        *("params:eft", "params:seed"),
    }
    assert pipeline.outputs() == {"eft_train", "eft_eval", "eft_metrics"}


def test_ranks_become_scores_from_five_to_one():
    """The best response to a prompt gets 5, the worst 1; equal ranks get equal scores."""
    pool = pd.DataFrame(
        [
            ("p", "r0", 3),
            ("p", "r1", 0),
            ("p", "r2", 1),
            ("p", "r3", 1),
            ("q", "r4", 1),
            ("q", "r5", 4),
        ],
        columns=["prompt_id", "response_id", "rank"],
    )
    judged = rank_as_judged(pool).set_index("response_id")
    assert judged["score"].to_dict() == {"r0": 1, "r1": 5, "r2": 3, "r3": 3, "r4": 5, "r5": 1}
    assert judged.loc["r2", "text"].startswith("People put this response in place 2 of 3.")
    assert set(judged["reason"]) == {"ok"}


def test_a_response_that_the_baseline_could_not_judge_is_counted():
    """It has a reason of its own, apart from judgements without a score."""
    said = {"e0-r0": 4, "e0-r1": 2, "e0-r2": NO_ROOM}
    train, metrics = _select(_ranked([0, 1, 2]), said)
    assert train["response_id"].tolist() == ["e0-r0", "e0-r1"]
    assert (metrics["eft/dropped_no_room"], metrics["eft/unparsed_no_score"]) == (1, 0)
