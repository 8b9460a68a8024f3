"""Texts that cannot fit are found before the first training, in the engines' own tokens."""

import logging
from pathlib import Path

import pandas as pd
import pytest

from srlm_kedro.engines.generation.scripted import ScriptedEngine as Sampler
from srlm_kedro.engines.training.params import DpoParams, SftParams
from srlm_kedro.engines.training.scripted import ScriptedTrainer as Trainer
from srlm_kedro.errors import InputError
from srlm_kedro.judge.criteria import CriteriaPrompt, ListedCriteria
from srlm_kedro.pipelines.checks.lengths import check_lengths
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.pipelines.judging.nodes import JudgingParams
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.prompts.params import PromptsParams
from srlm_kedro.pipelines.responses import ResponsesParams
from srlm_kedro.pipelines.selection.nodes import SelectionParams
from srlm_kedro.records import Checkpoint, Criterion

M0 = Checkpoint(Path("m0"), "m0")
JUDGE = "Review {instruction} {response} Score:"
CRITERIA = CriteriaPrompt(
    "{response} {criterion}", ListedCriteria((Criterion("good", "Is it good?"),))
)
SHORT = {"sampling": {"max_new_tokens": 5}}


def words(count):
    return "word " * count


def ift(*lengths):
    rows = [(f"i{place}", words(length), "yes") for place, length in enumerate(lengths)]
    return pd.DataFrame(rows, columns=["prompt_id", "prompt", "response"])


def eft(*lengths):
    rows = [("e", "ask", f"e-r{place}", words(length)) for place, length in enumerate(lengths)]
    rows += [(f"e{other}", f"ask{other}", f"e{other}-r0", "yes") for other in range(3)]
    return pd.DataFrame(rows, columns=["prompt_id", "prompt", "response_id", "response"])


def evaluated(*lengths):
    rows = [(f"v{place}", words(length)) for place, length in enumerate(lengths)]
    return pd.DataFrame(rows, columns=["id", "prompt"])


def check(positions=None, **given):
    knobs = {
        "ift": ift(*[3] * 20),
        "eft_ranked": eft(3, 4),
        "eval_prompts": evaluated(3),
        "judge_prompt": JUDGE,
        "few_shot_prompt": "{tasks}\nTask:",
        "generation_engine": Sampler(positions=positions),
        "training_engine": Trainer(),
        "loop": LoopParams(),
        "sft": SftParams(max_length=40),
        "dpo": DpoParams(max_length=40),
        "eft": EftParams(**SHORT),
        "prompts": PromptsParams(**SHORT),
        "responses": ResponsesParams(**SHORT),
        "judging": JudgingParams(**SHORT),
        "evaluation": EvaluationParams(judging={"max_new_tokens": 5}, **SHORT),
        "selection": SelectionParams(judging={"max_new_tokens": 5}, **SHORT),
    }
    return check_lengths(M0, **{**knobs, **given})


def refused(positions=None, **given):
    with pytest.raises(InputError) as caught:
        check(positions, **given)
    return str(caught.value)


def test_texts_that_fit_pass():
    """The model itself has a limit, or none."""
    assert check() == check(60) == {"checked": True}


@pytest.mark.parametrize(
    ("positions", "given", "told"),
    [
        (None, {"ift": ift(*[3] * 19, 50)}, ["ift i19: 52 tokens > max_length = 40", "sft.max_le"]),
        (None, {"eft_ranked": eft(3, 37)}, ["eft e-r1: 41 tokens > max_length", "sft.max_length"]),
        (60, {"eft_ranked": eft(3, 52)}, ["eft e-r1: 56 prompt tokens + 5 new ones > 60"]),
        (60, {"eval_prompts": evaluated(55)}, ["eval_prompts v0: 56", "`evaluation.sampling.max"]),
        (60, {"selection": SelectionParams(sampling={"max_new_tokens": 60})}, ["`selection.samp"]),
        (60, {"prompts": PromptsParams(sampling={"max_new_tokens": 40})}, ["few-shot", "fewer"]),
        (60, {"responses": ResponsesParams(sampling={"max_new_tokens": 60})}, ["`responses.sampl"]),
        (60, {"judging": JudgingParams(sampling={"max_new_tokens": 60})}, ["judging.max_unparsed"]),
        (
            60,
            {"eft": EftParams(sampling={"max_new_tokens": 60})},
            ["`eft.sampling.max_new_tokens`"],
        ),
        (None, {"dpo": DpoParams(max_length=4)}, ["`dpo.max_length` (now 4)", "dpo.max_too_long"]),
    ],
)
def test_each_kind_of_text_is_measured_against_its_limit(positions, given, told):
    """The message says which row, its tokens, the limit, and what to change."""
    message = refused(positions, **given)
    for words_ in told:
        assert words_ in message


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"eval_prompts": evaluated()}, ["there are no evaluation prompts"]),
        (
            {"ift": ift(3, 3, 3, 3, 3)},
            ["IFT has 5 prompts, and a few-shot prompt needs 8 demonstrations"],
        ),
        (
            {"eft": EftParams(eval_prompts=4)},
            ["EFT has 4 prompts, and 4 are held back", "to learn"],
        ),
        ({"eft": EftParams(eval_fraction=0.1)}, ["0 are held back", "no judge could be measured"]),
    ],
)
def test_too_few_rows_are_refused_before_the_first_training(given, told):
    """This also holds for an export, whose rows are counted only after the selection."""
    message = refused(**given)
    for words_ in told:
        assert words_ in message
    assert check(ift=ift(3, 3, 3, 3, 3), loop=LoopParams(iterations=1))


def test_all_faults_are_told_at_once():
    """One message has the faults of all kinds."""
    message = refused(60, ift=ift(*[3] * 19, 50), eval_prompts=evaluated(70), eft_ranked=eft(99))
    for name in ("ift i19", "eval_prompts v0", "eft e-r0"):
        assert name in message


def test_what_the_loop_leaves_out_is_not_measured():
    """There is no EFT, no validation, and the writer and the judge are other models."""
    long = {"sampling": {"max_new_tokens": 60}}
    assert check(eft_ranked=eft(3, 37), loop=LoopParams(eft="none"))
    assert check(60, selection=SelectionParams(**long), loop=LoopParams(when_worse="off"))
    assert check(60, prompts=PromptsParams(**long), loop=LoopParams(prompt_generator="fixed"))
    assert check(60, judging=JudgingParams(**long), loop=LoopParams(judge="external"))
    assert check(60, eft=EftParams(**long), loop=LoopParams(eft="ranking"))


def test_a_judgement_that_may_become_too_long_is_told_and_no_fault(caplog):
    """There is room for a judgement, but not for the longest."""
    with caplog.at_level(logging.WARNING, logger="srlm_kedro"):
        assert check(eft_ranked=eft(3, 35))
    assert "1 of 5 ranked responses leave less than 5 tokens" in caplog.text


def test_the_judgement_that_a_rank_stands_for_is_measured_as_it_is(caplog):
    """With its 11 words, 24 + 4 of the judge prompt fit into 40 tokens, without a warning."""
    ranking = {"loop": LoopParams(eft="ranking"), "eft": EftParams()}
    with caplog.at_level(logging.WARNING, logger="srlm_kedro"):
        assert check(eft_ranked=eft(3, 24), **ranking)
    assert caplog.text == ""
    assert "eft e-r1: 41 tokens" in refused(eft_ranked=eft(3, 26), **ranking)


@pytest.mark.parametrize("way", ["baseline", "labels"])
def test_an_answer_to_a_criterion_needs_room_for_one_token(way, caplog):
    """Whatever the longest judgement in words may be: 52 + 3 words, the opening, and the answer."""
    long = {"max_new_tokens": 50}
    asked = {
        **{"judge_prompt": CRITERIA, "loop": LoopParams(judge_form="criteria", eft=way)},
        **{"eft": EftParams(sampling=long), "judging": JudgingParams(sampling=long)},
        **{"evaluation": EvaluationParams(judging=long, **SHORT), "sft": SftParams(max_length=60)},
        **{"ift": ift(*[3] * 20).assign(response=words(52)), "dpo": DpoParams(max_length=60)},
    }
    with caplog.at_level(logging.WARNING, logger="srlm_kedro"):
        assert check(57, eft_ranked=eft(3, 52), **asked)
    assert caplog.text == ""
    message = refused(56, eft_ranked=eft(3, 52), **asked)
    assert "1 of 5 ranked responses" in message
    assert "20 of 20 IFT examples in the judge prompt" in message
    assert "56 prompt tokens + 1 new ones > 56" in message
    assert "max_new_tokens" not in message
    tight = asked | {"sft": SftParams(max_length=56)}
    assert "eft e-r1: 57 tokens > max_length = 56" in refused(eft_ranked=eft(3, 52), **tight)
