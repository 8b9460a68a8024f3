"""Few-shot prompts, rounds of writing, ids and counts."""

import logging
from decimal import Decimal

import pandas as pd
import pytest

from srlm_kedro.engines.generation.base import NO_ROOM, Completion
from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.judge.criteria import CriteriaPrompt
from srlm_kedro.pipelines.prompts import create_pipeline
from srlm_kedro.pipelines.prompts.nodes import WRITTEN, accept_prompts, write_prompts
from srlm_kedro.pipelines.prompts.params import PromptsParams
from srlm_kedro.records import Checkpoint, Criterion
from tests.unit.fakes import M1, FakeEngine

WORDS = [f"word{n}" for n in range(400)]
IFT = pd.DataFrame(
    [(f"i{n}", f"seed prompt\nnumber {n}", "yes") for n in range(10)],
    columns=["prompt_id", "prompt", "response"],
)
EFT = pd.DataFrame({"prompt_id": ["e0", "e0"], "prompt": ["Which birds can swim well?"] * 2})
EARLIER = pd.DataFrame(
    {
        "prompt_id": [f"m2-p{n}" for n in range(5)],
        "prompt": [f"own prompt {n} of mine" for n in range(5)],
    }
)
NO_EARLIER = pd.DataFrame({"prompt_id": [], "prompt": []})
TEMPLATE = "Write tasks.\n{tasks}\nTask:\n"


def _new(request, sample):
    """A prompt of four words that no other request gets."""
    place = (int(request.id[-5:]) * 3 + sample) * 4
    return " ".join(WORDS[place : place + 4])


def _write(engine, earlier=NO_EARLIER, policy=M1, writer=M1, template=TEMPLATE, seed=0, **knobs):
    params = PromptsParams(**{"count": 5, "max_written": 50, **knobs})
    known = IFT, EFT, earlier
    return write_prompts(writer, policy, *known, template, engine, params, seed, {})


def _accept(written, earlier=NO_EARLIER, policy=M1, **knobs):
    params = PromptsParams(**{"count": 5, "max_written": 50, **knobs})
    return accept_prompts(written, earlier, policy, params)


def _demonstrations(prompt: str) -> list[str]:
    lines = prompt.split("\n")
    assert lines[0] == "Write tasks."
    assert lines[-1] == "Task:"
    return [line.removeprefix("Task: ") for line in lines[1:-1]]


def test_the_first_iteration_shows_ift_alone():
    """Each request has eight different demonstrations, each on one line."""
    engine = FakeEngine(_new)
    _write(engine)
    shown = [_demonstrations(request.prompt) for request in engine.requests]
    assert all(len(set(tasks)) == 8 for tasks in shown)
    assert all(task.startswith("seed prompt number") for tasks in shown for task in tasks)
    assert len({tuple(tasks) for tasks in shown}) == len(shown)
    assert not any(request.chat for request in engine.requests)


@pytest.mark.parametrize(("earlier", "own"), [(EARLIER, 2), (EARLIER[:1], 1)])
def test_later_iterations_show_two_of_the_models_own(earlier, own):
    """6 come from IFT and 2 from earlier iterations, or more from IFT if these are fewer."""
    engine = FakeEngine(_new)
    _write(engine, earlier)
    for request in engine.requests:
        tasks = _demonstrations(request.prompt)
        assert sum(task.startswith("own prompt") for task in tasks) == own
        assert len(tasks) == 8


def test_writing_ends_with_enough():
    """Exactly `count` are accepted; good ones after them count as surplus."""
    written = _write(FakeEngine(_new))
    prompts, known, drops, metrics = _accept(written)
    assert prompts["prompt_id"].tolist() == [f"m2-p000{n}" for n in range(1, 6)]
    assert set(drops["reason"]) == {"surplus"}
    assert metrics["prompts/accepted"] == 5
    assert metrics["prompts/written"] == len(written) == 5 + len(drops)
    assert metrics["prompts/short_of_count"] == 0
    pd.testing.assert_frame_equal(known, prompts)


def test_rounds_go_on_until_there_are_enough():
    """After refusals, later rounds ask again with new ids."""
    engine = FakeEngine(lambda r, s: _new(r, s) if int(r.id[-5:]) % 4 == 0 else "no")
    written = _write(engine)
    ids = [request.id for request in engine.requests]
    assert len(engine.samplings) > 1
    assert len(set(ids)) == len(ids)
    assert (written["reason"] == "ok").sum() == 5


def test_a_budget_that_is_spent_warns(caplog):
    """At `max_written` the run goes on, logs a warning and counts the missing prompts."""
    engine = FakeEngine(lambda r, s: "Sing the same old song")
    written = _write(engine, max_written=20)
    with caplog.at_level(logging.WARNING):
        prompts, _, drops, metrics = _accept(written, max_written=20)
    assert (len(prompts), len(written)) == (1, 20)
    assert drops["reason"].tolist() == ["duplicate"] * 19
    assert metrics["prompts/short_of_count"] == 4
    assert metrics["prompts/rejected_duplicate"] == 19
    assert "4 short of `prompts.count`" in caplog.text


def test_too_few_prompts_stop_the_run():
    """The message says how many, why, and what to raise."""
    written = _write(FakeEngine(lambda r, s: "no"), max_written=20)
    with pytest.raises(GateError) as refused:
        _accept(written, max_written=20)
    assert str(refused.value).startswith("m2.prompts: 0 of 20 written prompts were accepted")
    assert "20 too_short" in str(refused.value)
    assert "`prompts.max_written` (now 20)" in str(refused.value)


def test_everything_written_is_kept():
    """The table has the raw text, the prompt in it, and the reason."""
    cut = Completion(" Tell me about", 3, "length")
    written = _write(FakeEngine(lambda r, s: cut), max_written=3)
    assert written.columns.tolist() == WRITTEN
    assert written.iloc[0].tolist() == [
        *("m2-w00000", 0, " Tell me about", "length", "", "Tell me about", "cut_off")
    ]


def test_known_prompts_are_refused():
    """Those of IFT, of EFT and of earlier iterations."""
    texts = ["seed prompt number 3", "Which birds can swim well?", "own prompt 1 of mine"]
    engine = FakeEngine(lambda r, s: texts[int(r.id[-5:]) % 3])
    written = _write(engine, EARLIER, max_written=6)
    assert set(written["reason"]) == {"duplicate"}


def test_known_prompts_grow():
    """They are all earlier prompts and the new ones."""
    prompts, known, _, _ = _accept(_write(FakeEngine(_new), EARLIER), EARLIER)
    assert known["prompt"].tolist() == [*EARLIER["prompt"], *prompts["prompt"]]


def test_several_continuations_share_their_demonstrations():
    """With `sampling.n` of 3 there are a third as many requests."""
    engine = FakeEngine(_new)
    written = _write(engine, count=6, max_written=50, sampling={"n": 3})
    assert engine.samplings[0].n == 3
    assert len(written) == 3 * len(engine.requests)
    assert engine.samplings[0].temperature == 0.6


def test_the_iteration_is_the_policys_whoever_writes():
    """The policy M2 gives the prompts of M3, though M0 writes; schedules use M3's values."""
    m0, m2 = Checkpoint(M1.path, "m0"), Checkpoint(M1.path, "m2")
    engine = FakeEngine(_new)
    written = _write(engine, policy=m2, writer=m0, count=[5, 2])
    prompts, *_ = _accept(written, policy=m2, count=[5, 2])
    assert prompts["prompt_id"].tolist() == ["m3-p0001", "m3-p0002"]
    assert set(engine.models) == {"m0"}


def test_a_chat_writer_gets_a_users_turn():
    """`chat` reaches the requests."""
    engine = FakeEngine(_new)
    _write(engine, chat=True)
    assert all(request.chat for request in engine.requests)


def test_the_seed_decides():
    """The same seed gives the same table, another seed other demonstrations."""
    one, same, other = (_write(ScriptedEngine(repeated=0.2), seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert not one.equals(other)


def test_the_novelty_limit_is_exact_from_a_file():
    """0.7 in YAML is exactly seven tenths."""
    limit = PromptsParams(filters={"max_rouge_l": 0.7}).filters.max_rouge_l
    assert limit == Decimal("0.7")
    assert limit.as_integer_ratio() == (7, 10)


@pytest.mark.parametrize(
    ("template", "knobs", "said"),
    [
        ("no place", {}, r"\{tasks\} must appear in it once"),
        (TEMPLATE, {"ift_demonstrations": 60}, "needs 62 demonstrations, and IFT has"),
    ],
)
def test_a_few_shot_prompt_that_cannot_be_filled_is_refused(template, knobs, said):
    """It lacks `{tasks}`, or needs more demonstrations than IFT has prompts."""
    engine = FakeEngine(_new)
    with pytest.raises(InputError, match=said):
        _write(engine, template=template, **knobs)
    assert not engine.requests


def test_the_pipeline_has_the_agreed_names():
    """Free inputs and outputs of the stage."""
    pipeline = create_pipeline()
    assert pipeline.inputs() == {
        *("writer", "policy", "ift", "eft_ranked", "earlier_prompts", "few_shot_prompt"),
        *("policy_checked", "generation_engine", "params:prompts", "params:seed"),
    }
    assert pipeline.outputs() == {"prompts", "known_prompts", "prompt_drops", "prompt_metrics"}


def test_demonstrations_without_room_count_as_written_and_refused():
    """Others are drawn in their place, within the same budget."""

    def say(request, sample):
        return NO_ROOM if int(request.id[-5:]) % 2 else _new(request, sample)

    engine = FakeEngine(say)
    written = _write(engine)
    _, _, drops, metrics = _accept(written)
    assert all(request.optional for request in engine.requests)
    assert metrics["prompts/accepted"] == 5
    assert metrics["prompts/rejected_no_room"] == drops["reason"].eq("no_room").sum() > 0
    none = _write(FakeEngine(lambda request, sample: NO_ROOM))
    assert len(none) == 50
    with pytest.raises(GateError, match="Refused: 50 no_room") as told:
        _accept(none)
    assert "prompts.ift_demonstrations" in str(told.value)


def test_the_gate_counts_every_reason_and_names_the_way_out():
    """A user reads why prompts were refused, in words, and which parameters help."""
    written = pd.DataFrame(
        {"prompt": list("abcdef"), "reason": ["similar"] * 3 + ["cut_off"] * 2 + ["empty"]}
    )
    with pytest.raises(GateError) as told:
        _accept(written)
    message = str(told.value)
    assert "3 similar (a known prompt is too much like them), 2 cut_off" in message
    assert "1 empty" in message
    for knob in ("sampling.max_new_tokens", "sampling.temperature", "max_written"):
        assert f"prompts.{knob}" in message


class ByWord:
    """Knows a criterion for prompts with an even word."""

    def criteria(self, instruction):
        even = [word for word in instruction.split() if word[-1] in "02468"]
        return [Criterion("even", f"Is it {word}?") for word in even]


def test_prompts_without_criteria_are_refused_where_a_judge_is_asked_by_criteria():
    """Nobody could judge their responses; what else is wrong with them comes first."""
    texts = ["Tell me about birds 2", "Why is water often 1", "no"]
    engine = FakeEngine(lambda r, s: texts[int(r.id[-5:]) % 3])
    params = PromptsParams(count=5, max_written=3)
    judge = CriteriaPrompt("{response} {criterion}", ByWord())
    known = IFT, EFT, NO_EARLIER
    for asked, reasons in (
        (judge, ["ok", "no_criteria", "too_short"]),
        (None, ["ok", "ok", "too_short"]),
    ):
        written = write_prompts(M1, M1, *known, TEMPLATE, engine, params, 0, {}, asked)
        assert written["reason"].tolist() == reasons
        *_, metrics = _accept(written, max_written=3)
        assert metrics.get("prompts/rejected_no_criteria") == (1 if asked else None)


def test_the_criteria_reach_the_filters():
    """Only where the judge is asked by criteria."""
    assert "criteria_prompt" in create_pipeline(by_criteria=True).inputs()
    assert "criteria_prompt" not in create_pipeline().inputs()
