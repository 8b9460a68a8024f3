"""What the figures mean: ready, doubtful or not ready, and what helps."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import pandas as pd

from srlm_kedro.errors import counted
from srlm_kedro.judge import refusals
from srlm_kedro.pipelines.pairs import DROPS
from srlm_kedro.pipelines.prompts.filters import REASONS
from srlm_kedro.pipelines.readiness.judge_verdicts import FORMS, judge_lines
from srlm_kedro.pipelines.readiness.lines import (
    NOT_ASKED,
    ORDER,
    Asked,
    Line,
    cut_line,
    percent,
)
from srlm_kedro.pipelines.readiness.measures import Figures
from srlm_kedro.pipelines.readiness.prediction import MICROWORLD, standard_error


def lines(figures: dict[str, Any], asked: Asked) -> list[Line]:
    """All questions in the order in which people ask them."""
    found: list[Line] = []
    for form in FORMS:
        found += judge_lines(figures[form], form, asked)
    found += _answers(figures["answers"], asked)
    found += _writing(figures["writing"], asked)
    found += _learning(figures["eft"], figures["trainings"], asked)
    return found


def table(found: Iterable[Line]) -> pd.DataFrame:
    """One row a line."""
    return pd.DataFrame([asdict(line) for line in found])


def overall(found: Iterable[Line]) -> str:
    """The worst verdict of those that the loop needs."""
    return max((line.verdict for line in found if line.needed), key=ORDER.index, default=NOT_ASKED)


def closing(verdict: str, gain: dict[str, float] | None) -> list[Line]:
    """The last rows of the table: the gain to expect, and the overall verdict."""
    rows = [Line("overall", verdict, True, "the worst of the lines that the loop needs")]
    if gain:
        found = "points of win minus loss, fitted on the microworld"
        ends = (gain["gain"], gain["low"], gain["high"], 0.0)
        rows.insert(0, Line("gain of the next model", NOT_ASKED, False, found, *ends))
    return rows


def predicted(figures: dict[str, Any], asked: Asked) -> dict[str, float] | None:
    """`gain`, `low` and `high` in points, and `accuracy` and `pair_yield`; None if unknown.

    With verified rewards the order is right by construction.
    """
    if asked.loop.reward == "checked":
        accuracy, error = 1.0, 0.0
    else:
        form = figures[asked.loop.judge_form]
        if not form.get("decided"):
            return None
        accuracy = form["pairwise_accuracy"]
        error = standard_error(form["pairwise_low"], form["pairwise_high"])
    low, high = MICROWORLD.interval(accuracy, error)
    return {
        "gain": MICROWORLD.gain(accuracy),
        "low": low,
        "high": high,
        "accuracy": accuracy,
        "pair_yield": figures["answers"]["pair_yield"],
    }


def _answers(own: Figures, asked: Asked) -> Iterator[Line]:
    bounds, needs = asked.readiness, asked.needs
    rewarded = needs.judges or asked.loop.reward == "checked"
    limit = asked.responses.sampling.max_new_tokens
    yield cut_line(
        *("responses cut off", own["cut_off"], own["responses"], asked),
        f"Raise `responses.sampling.max_new_tokens` (now {limit}), or give IFT shorter responses.",
    )
    ended = own.get("judgements_cut_off")
    if ended is not None and asked.loop.judge_form == "worded":
        limit = asked.judging.sampling.max_new_tokens
        advice = f"Raise `judging.sampling.max_new_tokens` (now {limit})."
        yield cut_line("judgements cut off", ended, own["judgements"], asked, advice, needs.judges)
    full = own["saturation"]
    if full is not None:
        verdict = bounds.saturation.verdict(full)
        yield Line(
            *("full scores", verdict, rewarded),
            *(f"{percent(full)} of its own responses get the full score.", full),
            cases=own["responses"],
            advice="" if verdict == "ready" else _fuller_advice(asked),
        )
    verdict = bounds.pair_yield.verdict(own["pair_yield"])
    found = f"{own['pairs']} of {own['prompts']} prompts give a pair."
    if own["refused"]:
        found += f" No response has a reward: {own['refused']}"
    elif own["without_pair"]:
        found += f" Without: {counted(own['without_pair'], DROPS)}."
    yield Line(
        *("pairs", verdict, rewarded, found, own["pair_yield"]),
        cases=own["prompts"],
        advice="" if verdict == "ready" or own["refused"] else _pair_advice(own, asked),
    )


def _writing(writing: Figures, asked: Asked) -> Iterator[Line]:
    limit = asked.prompts.sampling.max_new_tokens
    yield cut_line(
        *("prompts cut off", writing["cut_off"], writing["written"], asked),
        f"Raise `prompts.sampling.max_new_tokens` (now {limit}).",
    )
    verdict = asked.readiness.prompt_share.verdict(writing["expected"] / writing["count"])
    found = (
        f"{writing['accepted']} of {writing['written']} were accepted; at this rate "
        f"{writing['expected']:,} of the {writing['count']:,} in `prompts.count`."
    )
    if writing["refused"]:
        found += f" Refused: {counted(writing['refused'], REASONS)}."
    advice = (
        "Raise `prompts.max_written`, give other demonstrations (`few_shot_prompt` in the catalog),"
        " or let another model write (`loop.prompt_generator`: m0 or fixed)."
    )
    yield Line(
        *("new prompts", verdict, True, found, writing["accepted_share"]),
        cases=writing["written"],
        advice="" if verdict == "ready" else advice,
    )


def _learning(eft: Figures, trainings: dict[str, Figures], asked: Asked) -> Iterator[Line]:
    needs = asked.needs
    if needs.eft and asked.loop.eft == "baseline" and asked.loop.judge == "external":
        found = "not measured: the SFT baseline makes them, and another judge was asked here."
        yield Line("examples of EFT", NOT_ASKED, False, found)
    elif needs.eft:
        number, least = eft["examples"], asked.readiness.min_examples
        is_few = number < max(asked.eft.min_kept, 1)
        verdict = "not ready" if is_few else "ready" if number >= least else "doubtful"
        yield Line(
            *("examples of EFT", verdict, True, _eft_text(eft), float(number)),
            cases=eft.get("judgements", 0),
            advice="" if verdict == "ready" else _eft_advice(asked),
        )
    told = {"sft": "steps of the SFT baseline", "m1": "steps of M1"} if needs.before_m1 else {}
    told["next"] = "steps of DPO"
    for name, question in told.items():
        training = trainings[name]
        yield Line(
            *(question, "doubtful" if training["few"] else "ready"),
            needed=name != "next" or not needs.learns,
            found=f"{training['steps']} on {training['rows']:,} {training['of']}.",
            value=float(training["steps"]),
            cases=training["rows"],
            advice=training["few"],
        )


def _eft_text(eft: Figures) -> str:
    if eft["refused"]:
        return f"none: {eft['refused']}"
    known = "" if eft["exact"] else "about "
    basis = "of all" if eft["exact"] else "of a sample of"
    text = (
        f"{known}{eft['examples']:,}; {percent(eft['kept_share'])} {basis} "
        f"{eft['judgements']:,} are kept."
    )
    lost = f" Of no use: {refusals.in_words(eft['reasons'])}." if eft["reasons"] else ""
    return text + lost


def _eft_advice(asked: Asked) -> str:
    if asked.loop.eft == "baseline":
        by_labels = asked.loop.judge_form == "criteria"
        way = "`loop.eft: labels`, which needs points" if by_labels else "`loop.eft: ranking`"
        return f"Let M1 learn from the seed data's own ranks ({way}), or give more seed data."
    return "Give more ranked responses (`eft_seed` in the catalog)."


def _fuller_advice(asked: Asked) -> str:
    if asked.loop.reward == "checked":
        return "Take prompts that ask for more, or a stricter checker (`checker` in the catalog)."
    return f"Ask for more in the rubric; or take {asked.other_judge}."


def _pair_advice(own: Figures, asked: Asked) -> str:
    """What helps, for each reason; nothing that the loop has already or would refuse."""
    alone = asked.loop.reward == "checked"
    helps = {
        "few_complete": "Raise `responses.sampling.max_new_tokens`.",
        "narrow": "Lower `pairs.min_margin`"
        + ("." if alone else f"; or take {asked.other_judge}."),
        "tie": _tie_advice(asked),
        "identical": "Raise `responses.sampling.temperature`.",
        "short_group": _score_advice(asked),
    }
    return " ".join(helps[name] for name in own["without_pair"])


def _tie_advice(asked: Asked) -> str:
    if asked.loop.reward == "checked":
        return "Draw more responses to a prompt (`responses.sampling.n`)."
    if asked.loop.judge_form == "criteria":
        return "Ask criteria by which responses differ (`criteria_prompt` in the catalog)."
    way = ", or ask by criteria (`loop.judge_form: criteria`)"
    return f"Draw more judgements (`judging.sampling.n`){way * asked.may(judge_form='criteria')}."


def _score_advice(asked: Asked) -> str:
    checker = "name a checker that understands these prompts (`checker` in the catalog)"
    helps = {
        "judge": f"take {asked.other_judge}",
        "checked": checker,
        "both": f"{checker}, or take {asked.other_judge}",
    }
    return f"Too few responses get a score: {helps[asked.loop.reward]}."
