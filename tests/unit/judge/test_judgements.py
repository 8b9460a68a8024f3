"""Judgements are drawn, kept raw, retried and read again."""

import pandas as pd

from srlm_kedro.engines.generation.base import NO_ROOM, Completion, Sampling
from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.judge.judgements import COLUMNS, judge_responses, merge_attempts, reparse
from tests.unit.fakes import M1, FakeEngine

TEMPLATE = "Q: {instruction}\nA: {response}\nEnd with Score: 5 or less"


def _responses(*ids: str) -> pd.DataFrame:
    rows = [(name, f"ask {name}", f"answer {name}") for name in ids]
    return pd.DataFrame(rows, columns=["response_id", "prompt", "response"])


def _judge(engine, table, n=3, retries=0):
    return judge_responses(
        engine, M1, TEMPLATE, table, Sampling(n=n), seed=1, retries=retries
    ).whole()


def test_each_response_is_judged_by_itself():
    """There is one request per response, with prompt and response in their places."""
    engine = FakeEngine(lambda request, sample: f"Fine.\nScore: {sample}")
    judged = _judge(engine, _responses("a", "b"))
    assert [request.prompt for request in engine.requests] == [
        "Q: ask a\nA: answer a\nEnd with Score: 5 or less",
        "Q: ask b\nA: answer b\nEnd with Score: 5 or less",
    ]
    assert judged.columns.tolist() == COLUMNS
    assert judged["score"].tolist() == [0, 1, 2, 0, 1, 2]
    assert judged["text"].eq([f"Fine.\nScore: {k}" for k in (0, 1, 2)] * 2).all()


def test_the_prompt_is_never_searched_for_a_score():
    """The rubric's 5 is no score if the judge states none."""
    judged = _judge(FakeEngine(lambda request, sample: "Well."), _responses("a"), n=1)
    assert judged["score"].isna().all()
    assert judged["reason"].tolist() == ["no_score"]


def test_only_what_is_missing_is_asked_again():
    """A judgement without a score is drawn again with its own request id. Others are kept."""

    def say(request, sample):
        first = request.id == "a-j" and sample != 1
        return "Score: 3" if first else "Score: 2" if request.id == "a-j1-a2" else "No."

    engine = FakeEngine(say)
    judged = _judge(engine, _responses("a"), retries=3)
    assert [request.id for request in engine.requests] == ["a-j", "a-j1-a1", "a-j1-a2"]
    assert [sampling.n for sampling in engine.samplings] == [3, 1, 1]
    assert judged["attempt"].tolist() == [0, 0, 0, 1, 2]
    assert merge_attempts(judged)["score"].tolist() == [3, 3, 2]


def test_retries_end():
    """Without any score, the last attempt has None, and every text is kept."""
    judged = _judge(FakeEngine(lambda request, sample: "No."), _responses("a"), n=2, retries=2)
    assert judged["attempt"].tolist() == [0, 0, 1, 1, 2, 2]
    last = merge_attempts(judged)
    assert last["score"].isna().all()
    assert last["attempt"].tolist() == [2, 2]


def test_scores_can_be_read_again_from_the_raw_text():
    """Wrong scores and reasons are corrected without a judge, also those of cut texts."""
    cut = Completion("Score: 4", 3, "length")
    engine = FakeEngine(lambda request, sample: cut if sample else "Score: 4")
    judged = _judge(engine, _responses("a", "b"), n=2)
    spoilt = judged.assign(score=9.0, reason="ok")
    pd.testing.assert_frame_equal(reparse(spoilt), judged)
    assert judged["reason"].tolist() == ["ok", "cut_off"] * 2


def test_a_table_without_judgements_can_be_read_too():
    """Without responses there are no judgements."""
    judged = _judge(FakeEngine(lambda request, sample: ""), _responses())
    assert judged.empty
    assert reparse(judged).empty
    assert merge_attempts(judged).empty


def test_the_scripted_engine_judges():
    """It gives the same judgements twice, most of them with a score."""
    one, other = (
        _judge(ScriptedEngine(unparsed=0.3), _responses(*"abcdef"), retries=2) for _ in range(2)
    )
    pd.testing.assert_frame_equal(one, other)
    assert one["score"].notna().any()
    assert one["score"].isna().any()


def test_a_response_without_room_has_no_score_and_is_not_asked_again():
    """The table says why. Other judgements are asked again as usual."""
    engine = FakeEngine(lambda request, sample: NO_ROOM if request.id == "a-j" else "No.")
    judged = _judge(engine, _responses("a", "b"), n=2, retries=1)
    assert all(request.optional for request in engine.requests)
    assert [request.id for request in engine.requests] == ["a-j", "b-j", "b-j0-a1", "b-j1-a1"]
    assert judged[judged["response_id"] == "a"]["finish"].tolist() == ["no_room"] * 2
    assert reparse(judged)["score"].isna().all()
