"""A judge behind a real server: head-to-head and MT-Bench, from the catalog to the figures."""

from pathlib import Path

import pandas as pd
import pytest

from srlm_kedro.datasets.engine import EngineDataset
from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.pipelines.evaluation.comparisons import compare_with_elders
from srlm_kedro.pipelines.evaluation.head_to_head import settle_comparisons
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.pipelines.published.mt_bench import MtBenchParams, answer_questions, judge_answers
from srlm_kedro.pipelines.published.mt_bench_scores import measure_mt_bench
from srlm_kedro.records import Checkpoint
from tests.server import serve

pytest.importorskip("openai")

PROMPTS = Path(__file__).parents[2] / "conf/base/prompts"
EVALUATION = EvaluationParams(resamples=100, pairing="matched", max_unparsed=0.25)
KEY = {"api_key": "secret"}
MODULES = {"LlmJudge": "llm_judge", "LlmReferee": "llm_referee"}


def prompt(name):
    return (PROMPTS / f"{name}.txt").read_text("utf-8")


def judge(server, kind, journal=None, **options):
    """The judge that the catalog's entry makes."""
    engine = {
        "engine": "srlm_kedro.engines.generation.servers.openai.OpenAIEngine",
        "options": {"base_url": server.url},
        "resources": {"retries": 2, "backoff": 0.01, "journal": journal},
    }
    dataset = EngineDataset(
        f"srlm_kedro.referee.{MODULES[kind]}.{kind}",
        {"engine": engine, "model": "judge-4", **options},
        credentials=KEY,
    )
    return dataset.load()


def scores(model, answers):
    """`eval_scores` with one answer per prompt and without scores."""
    rows = [(f"{model}-{name}-s0", name, f"Do {name}.", text) for name, text in answers.items()]
    table = pd.DataFrame(rows, columns=["response_id", "prompt_id", "prompt", "response"])
    return table.assign(model=model, mode="sampled", sample=0, score=float("nan"))


def shown(messages):
    """The two answers of a comparison, in the order of the shipped prompt."""
    text = messages[-1]["content"]
    parts = (text.split(f"[Answer {n}]\n")[1].split(f"\n[End of answer {n}]")[0] for n in "AB")
    return tuple(parts)


def verdict(messages):
    """Decides by length; by order if both answers say `same`; not at all for `odd`."""
    first, second = shown(messages)
    if first == "odd, and first":
        return "I would rather not say. The request says [[A]], [[B]] or [[C]]."
    if first.startswith("same"):
        return "The first is better.\n[[A]]"
    return f"The longer one.\n\n[[{'A' if len(first) > len(second) else 'B'}]]"


@pytest.fixture(scope="module")
def compared():
    """Four comparisons in both orders, with the first call refused once; and the calls."""
    answers = {"a": "a long answer", "b": "short", "c": "same 1", "d": "odd, and first"}
    others = {"a": "short", "b": "a long answer", "c": "same 2", "d": "odd"}
    tables = scores("m1", answers), scores("sft", others), scores("sft", others)
    with serve(verdict, key="secret", faults=[429]) as server:
        referee = judge(server, "LlmReferee", compare_prompt=prompt("compare"))
        verdicts = compare_with_elders(*tables, referee, EVALUATION)
        calls = server.requests
    settled = settle_comparisons(*tables, verdicts, EVALUATION, 0)
    return verdicts, settled, calls


def test_each_pair_goes_over_the_wire_in_both_orders(compared):
    """The model of the catalog is asked greedily. A refused call is repeated."""
    _, _, calls = compared
    asked = [shown(call["messages"]) for call in calls]
    assert len(asked) == 8 + 1
    assert {(second, first) for first, second in asked} == set(asked)
    assert {(call["model"], call["temperature"]) for call in calls} == {("judge-4", 0)}


def test_disagreement_is_a_tie_and_silence_is_left_out(compared):
    """There is one prompt each: won, lost, decided by order, and without a verdict."""
    _, (table, metrics), _ = compared
    row = table.iloc[0]
    assert [row["win"], row["tie"], row["loss"]] == pytest.approx([100 / 3] * 3)
    assert row["n"] == 3
    assert (metrics["eval/verdicts"], metrics["eval/verdicts_unparsed"]) == (8, 1)
    assert metrics["eval/order_disagreement"] == pytest.approx(1 / 3)


def test_words_without_a_verdict_are_kept_with_the_reason(compared):
    """A person can find the judge's text, its answers and their order."""
    verdicts, _, _ = compared
    unread = verdicts[verdicts["verdict"].isna()].iloc[0]
    assert (unread["prompt_id"], unread["order"]) == ("d", "model_first")
    assert unread["reason"] == "conflicting"
    assert unread["text"].startswith("I would rather not say.")


def test_a_referee_behind_a_server_scores_when_told_how():
    """It uses the additive prompt, and its text is the reasons."""
    with serve(lambda messages: "It is right.\nScore: 4", key="secret") as server:
        referee = judge(
            server,
            "LlmReferee",
            compare_prompt=prompt("compare"),
            judge_prompt=prompt("judge"),
        )
        (opinion,) = referee.assess_all([("Do a.", "done")])
        assert "Do a." in server.requests[0]["messages"][-1]["content"]
    assert opinion.score == 4
    assert opinion.reasons == ("It is right.\nScore: 4",)


def test_what_was_paid_for_is_not_asked_again(tmp_path, monkeypatch):
    """With a journal a second run costs nothing, even if files in the working folder change."""
    monkeypatch.chdir(tmp_path)
    with serve(lambda messages: "Rating: [[7]]", key="secret") as server:
        for number in range(2):
            (tmp_path / "notes.txt").write_text(f"{number}" * (number + 1), "utf-8")
            said = judge(server, "LlmJudge", journal=str(tmp_path / "kept")).ask(["Grade a."])
            assert said[0].text == "Rating: [[7]]"
        assert len(server.requests) == 1


def test_mt_bench_through_a_server():
    """A question has two turns. The rating is read from the judge's text on the last one."""

    def grade(messages):
        second = "[Assistant, turn 2]" in messages[-1]["content"]
        return f"Fine.\nRating: [[{6 if second else 9}]]"

    questions = pd.DataFrame(
        {
            "id": ["81"],
            "category": ["writing"],
            "prompt": ["Write."],
            "follow_up": ["Shorter."],
            "reference": [[]],
        }
    )
    model = Checkpoint(Path("m1"), "m1")
    answers = answer_questions(model, questions, ScriptedEngine(), MtBenchParams(), 0)
    with serve(grade, key="secret") as server:
        grader = judge(server, "LlmJudge")
        judgements = judge_answers(questions, answers, grader, prompt("mt_bench"))
        assert {body["model"] for body in server.requests} == {"judge-4"}
    figures = measure_mt_bench(judgements, MtBenchParams())
    assert (figures["mt_bench/score"], figures["mt_bench/turn_2"]) == (7.5, 6)
