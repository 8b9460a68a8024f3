"""MT-Bench: two turns, each rated from 1 to 10."""

import json
from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DatasetError

from srlm_kedro.datasets.seed import SeedDataset
from srlm_kedro.engines.generation.base import Completion
from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.pipelines.published.mt_bench import (
    ANSWERS,
    JUDGEMENTS,
    MtBenchParams,
    answer_questions,
    create_pipeline,
    judge_answers,
)
from srlm_kedro.pipelines.published.mt_bench_scores import (
    create_pipeline as create_scores_pipeline,
)
from srlm_kedro.pipelines.published.mt_bench_scores import measure_mt_bench
from srlm_kedro.referee.llm_judge import LlmJudge

from ..fakes import M1, FakeEngine

PROMPT = "Reference: {reference}\nTalk: {conversation}\nRating: [[n]]"
SHIPPED = Path(__file__).parents[3] / "conf/base/prompts/mt_bench.txt"
RECORD = "srlm_kedro.pipelines.published.mt_bench.MtBenchQuestion"
ROWS = [
    {"question_id": 81, "category": "writing", "turns": ["Write.", "Shorter."]},
    {
        "question_id": 111,
        "category": "math",
        "turns": ["1 + 1?", "Doubled?"],
        "reference": ["2", "4"],
    },
]


@pytest.fixture
def questions(tmp_path):
    return load(tmp_path, ROWS)


def load(folder, rows):
    file = folder / "questions.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return SeedDataset(str(file), RECORD).load()


def answered(questions, engine=None, **knobs):
    engine = engine or FakeEngine(lambda request, sample: f"<{request.prompt}>")
    return answer_questions(M1, questions, engine, MtBenchParams(**knobs), 0)


def judge_of(said):
    """A judge whose completion is a function of the prompt."""
    return LlmJudge(FakeEngine(lambda request, sample: said(request.prompt)))


def judged(questions, said, prompt=PROMPT):
    return judge_answers(questions, answered(questions), judge_of(said), prompt)


def test_the_benchmarks_own_file_is_read(questions):
    """Numbers as ids become text, and a missing reference becomes an empty one."""
    assert questions["id"].tolist() == ["81", "111"]
    assert questions["follow_up"].tolist() == ["Shorter.", "Doubled?"]
    assert questions["reference"].tolist() == [[], ["2", "4"]]


def test_questions_can_be_written_back(questions, tmp_path):
    """They have the fields of the record, which can be read too."""
    dataset = SeedDataset(str(tmp_path / "again.jsonl"), RECORD)
    dataset.save(questions)
    pd.testing.assert_frame_equal(dataset.load(), questions)


@pytest.mark.parametrize(
    "change",
    [{"turns": ["one"]}, {"turns": ["a", ""]}, {"category": ""}, {"reference": "2"}, {"more": 1}],
)
def test_questions_of_another_shape_are_refused_with_their_line(tmp_path, change):
    """Two turns each, and nothing unknown."""
    with pytest.raises(DatasetError, match="line 2"):
        load(tmp_path, [ROWS[0], ROWS[1] | change])


def test_the_second_turn_is_asked_in_view_of_the_first(questions):
    """Its request has the first turn and its answer."""
    engine = FakeEngine(lambda request, sample: f"<{request.prompt}>")
    table = answered(questions, engine)
    assert list(table.columns) == ANSWERS
    assert table["turn"].tolist() == [1, 1, 2, 2]
    assert table["answer"].tolist() == ["<Write.>", "<1 + 1?>", "<Shorter.>", "<Doubled?>"]
    assert [request.history for request in engine.requests] == [
        (),
        (),
        (("Write.", "<Write.>"),),
        (("1 + 1?", "<1 + 1?>"),),
    ]


def test_knobs_reach_the_engine(questions):
    """Temperature and length; more than one answer a turn cannot be asked for."""
    engine = FakeEngine(lambda request, sample: "Yes.")
    answered(questions, engine, sampling={"temperature": 0.3, "max_new_tokens": 9})
    assert {(one.temperature, one.max_new_tokens, one.n) for one in engine.samplings} == {
        (0.3, 9, 1)
    }
    with pytest.raises(ValueError, match="less than or equal to 1"):
        MtBenchParams(sampling={"n": 2})


def test_the_same_seed_draws_the_same_answers(questions):
    """Another seed draws other answers if they are sampled."""
    sampled = {"sampling": {"temperature": 0.7}}
    again = [answered(questions, ScriptedEngine(), **sampled) for _ in range(2)]
    pd.testing.assert_frame_equal(*again)
    other = answer_questions(M1, questions, ScriptedEngine(), MtBenchParams(**sampled), 1)
    assert other["answer"].tolist() != again[0]["answer"].tolist()


def test_the_judge_sees_the_conversation_up_to_the_turn(questions):
    """The prompt has the references up to this turn, or says that none is known."""
    asked = []
    judged(questions, lambda prompt: asked.append(prompt) or "[[5]]")
    first, sums, second, doubled = asked
    assert "None is known." in first
    assert "Shorter." not in first
    assert first.index("Write.") < first.index("<Write.>")
    assert "[Turn 1]\n2" in sums
    assert "[Turn 2]" not in sums
    assert second.index("<Write.>") < second.index("Shorter.") < second.index("<Shorter.>")
    assert "[Turn 2]\n4" in doubled


def test_an_answer_is_no_template(questions):
    """An answer that looks like a placeholder is not filled."""
    table = answered(questions).assign(answer="{reference}")
    asked = []
    judge_answers(questions, table, judge_of(lambda p: asked.append(p) or "[[5]]"), PROMPT)
    assert "{reference}" in asked[0]


def test_figures_by_hand(questions):
    """Means are over all turns, by turn and by category; judgements without a rating enter none."""

    def said(prompt):
        if "Doubled" in prompt:
            return "I would rather not say."
        return "[[4]]" if "Shorter" in prompt else "Rating: [[7]]" if "Write" in prompt else "[[9]]"

    table = judged(questions, said)
    assert list(table.columns) == JUDGEMENTS
    assert table["reason"].tolist() == ["ok", "ok", "ok", "no_score"]
    assert measure_mt_bench(table, MtBenchParams(max_unparsed=0.25)) == {
        "mt_bench/score": pytest.approx(20 / 3),
        "mt_bench/turn_1": 8,
        "mt_bench/turn_2": 4,
        "mt_bench/writing": 5.5,
        "mt_bench/math": 9,
        "mt_bench/n": 3,
        "mt_bench/unparsed": 1,
    }


def test_too_many_judgements_without_a_rating_stop_the_run(questions):
    """The message says how many, which first, and what to do; a lower limit is no new judging."""
    table = judged(questions, lambda prompt: "[[7]]" if "Doubled" in prompt else "Out: [[11]]")
    with pytest.raises(GateError, match=r"m1.mt_bench_judgements: 75% of 4 .*out_of_range.*81"):
        measure_mt_bench(table, MtBenchParams())
    assert measure_mt_bench(table, MtBenchParams(max_unparsed=0.8))["mt_bench/score"] == 7
    assert MtBenchParams(max_unparsed=0.8).recipe(engine=True) == MtBenchParams().recipe(
        engine=True
    )


def test_nothing_read_is_no_score(questions):
    """The run stops without any rating, whatever the limit."""
    with pytest.raises(GateError, match="100% of 4"):
        measure_mt_bench(judged(questions, lambda prompt: "Hm."), MtBenchParams(max_unparsed=1))


def test_a_judgement_that_was_cut_carries_no_rating(questions):
    """The raw text and why it ended are kept, and are what is read."""
    judge = LlmJudge(FakeEngine(lambda request, sample: Completion("[[7]]", 3, "length")))
    table = judge_answers(questions, answered(questions), judge, PROMPT)
    assert set(table["reason"]) == {"cut_off"}
    whole = measure_mt_bench(table.assign(finish="stop"), MtBenchParams())
    assert whole["mt_bench/score"] == 7


def test_faulty_questions_and_prompts_are_refused(questions):
    """Before anything is drawn or paid for."""
    with pytest.raises(InputError, match="81 occurs twice"):
        answered(pd.concat([questions, questions]))
    with pytest.raises(InputError, match="no rows"):
        answered(questions.iloc[:0])
    with pytest.raises(InputError, match=r"(?s)2 faults.*\{reference\}.*double brackets"):
        judged(questions, lambda prompt: "[[7]]", prompt="{conversation}")


def test_the_shipped_prompt_is_accepted(questions):
    """It has both placeholders, and no number that could be parsed as a rating."""
    asked = []
    judged(questions, lambda p: asked.append(p) or "[[6]]", SHIPPED.read_text("utf-8"))
    assert all("[[n]]" in prompt for prompt in asked)


def test_the_stage_needs_these_and_makes_those():
    """The free names that are wired for each model."""
    stage = create_pipeline() + create_scores_pipeline()
    needed = {"model", "mt_bench_questions", "generation_engine"}
    needed |= {"mt_bench_judge", "mt_bench_prompt", "params:mt_bench", "params:seed"}
    assert stage.inputs() == needed
    made = {"mt_bench_answers", "mt_bench_judgements", "mt_bench_metrics"}
    assert stage.all_outputs() == made
