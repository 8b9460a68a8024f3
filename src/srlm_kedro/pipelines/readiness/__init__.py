"""Readiness: whether the loop can work with a model and seed data, before it costs anything."""

from collections.abc import Callable

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.readiness.learning import expect_eft, expect_trainings
from srlm_kedro.pipelines.readiness.measures import measure_answers, measure_form, measure_writing
from srlm_kedro.pipelines.readiness.nodes import conclude
from srlm_kedro.pipelines.readiness.trying import (
    answer_prompts,
    check_own_answers,
    judge_and_check_own_answers,
    judge_by_criteria,
    judge_in_words,
    judge_own_answers,
    sample_rankings,
    try_writing,
)

_SIZED = ["params:readiness", "params:seed"]
_ASKED = ["judge_engine", "params:eft"]
_FORMS = ("worded", "criteria")
_FIGURES = (*_FORMS, "answer", "writing", "eft", "training")


def create_pipeline(loop: LoopParams) -> Pipeline:
    """`policy`, `judge`, `writer`, `ift`, `eft_ranked`, ... -> `readiness_table`, ...

    The texts and judgements are kept as `readiness_<name>`, what is measured of them as
    `readiness_<name>_figures`, and all in one page as `readiness_summary`.

    Args:
        loop: Its `judge_form` says which prompt `asked` is; its `reward`, who judges responses.
    """
    return _judge(loop) + _answers(loop) + _writing(loop) + _learning(loop) + _conclusion()


def _judge(loop: LoopParams) -> Pipeline:
    """The judge on human rankings, in both forms."""
    sampled = Node(
        sample_rankings,
        ["eft_ranked", "ift", "params:eft", *_SIZED],
        ["readiness_rankings", "readiness_other_rankings"],
        name="sample_rankings",
    )
    words = Node(
        judge_in_words,
        ["judge", _rankings("worded", loop), "judge_prompt", *_ASKED, *_SIZED],
        ["readiness_worded", "readiness_worded_note"],
        name="judge_in_words",
    )
    criteria = Node(
        judge_by_criteria,
        ["judge", _rankings("criteria", loop), "criteria_prompt", *_ASKED, "params:seed"],
        ["readiness_criteria", "readiness_criteria_note"],
        name="judge_by_criteria",
    )
    return Pipeline([sampled, words, criteria, *(_measured(form, loop) for form in _FORMS)])


def _rankings(form: str, loop: LoopParams) -> str:
    """What is judged: less in the form that the loop does not use."""
    return "readiness_rankings" if form == loop.judge_form else "readiness_other_rankings"


def _measured(form: str, loop: LoopParams) -> Node:
    tables = [_rankings(form, loop), f"readiness_{form}", f"readiness_{form}_note"]
    name = f"measure_{form}_judge"
    return Node(measure_form, [*tables, *_SIZED], f"readiness_{form}_figures", name=name)


def _answers(loop: LoopParams) -> Pipeline:
    """Responses to IFT prompts, and the pairs that their rewards give."""
    drawn = ["policy", "ift", "generation_engine", "params:responses", *_SIZED]
    judged = ["judge", "readiness_responses", "asked", "judge_engine", "params:judging"]
    judges: dict[str, tuple[Callable, list[str]]] = {
        "judge": (judge_own_answers, [*judged, "params:seed"]),
        "checked": (check_own_answers, ["checker", "readiness_responses", "params:judging"]),
        "both": (judge_and_check_own_answers, ["checker", *judged, "params:seed"]),
    }
    judge, inputs = judges[loop.reward]
    given = ["readiness_judgements", "readiness_judgements_note"]
    return Pipeline(
        [
            Node(answer_prompts, drawn, "readiness_responses", name="answer_prompts"),
            Node(judge, inputs, given, name="judge_own_answers"),
            Node(
                measure_answers,
                ["readiness_responses", *given, "params:judging", "params:pairs"],
                "readiness_answer_figures",
                name="measure_answers",
            ),
        ]
    )


def _writing(loop: LoopParams) -> Pipeline:
    """The prompts that the next iteration would begin with."""
    inputs = ["writer", "policy", "ift", "eft_ranked", "few_shot_prompt", "generation_engine"]
    inputs += ["params:prompts", *_SIZED]
    inputs += ["criteria_prompt"] if loop.judge_form == "criteria" else []
    written = "readiness_written_prompts"
    return Pipeline(
        [
            Node(try_writing, inputs, written, name="try_writing"),
            Node(
                measure_writing,
                [written, "policy", "params:prompts"],
                "readiness_writing_figures",
                name="measure_writing",
            ),
        ]
    )


def _learning(loop: LoopParams) -> Pipeline:
    """What training would get."""
    tables = ["eft_ranked", "ift", "readiness_rankings", f"readiness_{loop.judge_form}"]
    given = ["asked", "criteria_prompt", "params:loop", "params:eft", "params:seed"]
    found = [f"readiness_{name}_figures" for name in ("eft", "answer", "writing")]
    return Pipeline(
        [
            Node(expect_eft, [*tables, *given], "readiness_eft_figures", name="expect_eft"),
            Node(
                expect_trainings,
                ["ift", *found, "params:sft", "params:dpo"],
                "readiness_training_figures",
                name="expect_trainings",
            ),
        ]
    )


def _conclusion() -> Pipeline:
    figures = [f"readiness_{name}_figures" for name in _FIGURES]
    groups = ("loop", "eft", "judging", "responses", "prompts", "readiness")
    return Pipeline(
        [
            Node(
                conclude,
                ["policy", *figures, *(f"params:{name}" for name in groups)],
                ["readiness_table", "readiness_summary"],
                name="conclude",
            )
        ]
    )
