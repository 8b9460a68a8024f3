"""What the figures of a judge mean, in one form of judging."""

from collections.abc import Iterator

from srlm_kedro.judge import refusals
from srlm_kedro.pipelines.readiness.lines import (
    NOT_ASKED,
    Asked,
    Line,
    or_nan,
    percent,
)
from srlm_kedro.pipelines.readiness.measures import Figures

FORMS = {"worded": "in words", "criteria": "by criteria"}
_CHANCE = 0.5


def judge_lines(form: Figures, name: str, asked: Asked) -> Iterator[Line]:
    """All questions about the judge on human rankings.

    Args:
        form: Its figures, as `measures.measure_form` gives them.
        name: One of `FORMS`.
        asked: What the verdicts depend on.
    """
    configured = name == asked.loop.judge_form
    needed = configured and asked.needs.judges
    if form["refused"]:
        found = f"cannot be asked, and was skipped: {form['refused']}"
        verdict = "not ready" if configured else NOT_ASKED
        yield Line(f"judge {FORMS[name]}", verdict, needed, found)
        return
    if name == "worded":
        yield _parsed(form, needed, asked)
    yield _accuracy(form, name, needed, asked)
    yield _ties(form, name, needed, asked)
    yield _repeats(form, name, needed, asked)
    yield _length(form, name, needed, asked)


def _parsed(form: Figures, needed: bool, asked: Asked) -> Line:
    rate, reasons = form["parse_rate"], form["reasons"]
    verdict = asked.readiness.parse_rate.verdict(or_nan(rate))
    found = f"{percent(rate)} of {form['judgements']}."
    if reasons:
        found += f" Of no use: {refusals.in_words(reasons)}."
    limit = asked.eft.sampling.max_new_tokens
    helps = refusals.advice(reasons, "eft.sampling", limit)
    return Line(
        *("scores in words", verdict, needed, found, rate),
        cases=form["judgements"],
        advice=_if_needed(helps, verdict),
    )


def _accuracy(form: Figures, name: str, needed: bool, asked: Asked) -> Line:
    question = f"accuracy {FORMS[name]}"
    value, low, high = (form.get(key) for key in ("accuracy", "low", "high"))
    if value is None or low is None:
        found = "no pair of ranked responses has two different scores."
        return Line(question, "not ready", needed, found, advice=_judge_advice(asked))
    bounds, at_chance = asked.readiness.accuracy, low <= _CHANCE
    verdict = bounds.verdict(value)
    if at_chance:
        verdict = "doubtful" if value >= bounds.ready else "not ready"
    found = (
        f"{percent(value)} of {form['decided']} pairs are in the seed data's order "
        f"({percent(low)} to {percent(high)}; chance {percent(_CHANCE)})."
    )
    unsure = at_chance and value >= bounds.ready
    helps = "Try more rankings (`readiness.rankings`)." if unsure else _judge_advice(asked)
    return Line(
        *(question, verdict, needed, found, value, low, high, _CHANCE, form["decided"]),
        advice=_if_needed(helps, verdict),
    )


def _ties(form: Figures, name: str, needed: bool, asked: Asked) -> Line:
    ties = form.get("ties")
    if form.get("unscored", 1.0) == 1:
        return Line(f"ties {FORMS[name]}", NOT_ASKED, False, "no pair has two scores.")
    verdict = asked.readiness.ties.verdict(or_nan(ties))
    found = f"{percent(ties)} of {form['pairs']} pairs have equal scores"
    if form.get("unscored"):
        found += f", and {percent(form['unscored'])} lack a score"
    helps = "Draw more judgements per response (`judging.sampling.n`)"
    if asked.may(judge_form="criteria"):
        helps += ", or ask for one point at a time (`loop.judge_form: criteria`)"
    if name == "criteria":
        helps = "Ask criteria by which responses differ (`criteria_prompt` in the catalog)"
    return Line(
        *(f"ties {FORMS[name]}", verdict, needed, f"{found}.", ties),
        cases=form["pairs"],
        advice=_if_needed(f"{helps}.", verdict),
    )


def _repeats(form: Figures, name: str, needed: bool, asked: Asked) -> Line:
    question = f"repeats {FORMS[name]}"
    if name == "criteria":
        return Line(question, NOT_ASKED, False, "the same by construction: nothing is drawn.")
    if not form.get("repeated"):
        return Line(question, NOT_ASKED, False, "no response has two scores to compare.")
    kappa = form["kappa"]
    found = (
        f"{percent(form['same'])} of {form['repeated']} responses get the same score twice "
        f"({percent(form['same_by_chance'])} by chance"
    )
    if kappa is None:
        return Line(question, NOT_ASKED, False, f"{found}: there is only one score).")
    verdict = asked.readiness.agreement.verdict(kappa)
    helps = "The mean of more judgements has less noise: raise `judging.sampling.n`."
    return Line(
        *(question, verdict, needed, f"{found}; kappa {kappa:.2f}).", kappa),
        chance=0.0,
        cases=form["repeated"],
        advice=_if_needed(helps, verdict),
    )


def _length(form: Figures, name: str, needed: bool, asked: Asked) -> Line:
    question = f"length {FORMS[name]}"
    if not form.get("unequal_lengths"):
        return Line(question, NOT_ASKED, False, "no pair to measure it by.")
    judge, people = form["longer_preferred"], form["longer_better"]
    mistaken = form["longer_preferred_in_mistakes"]
    bias = judge - people
    verdict = asked.readiness.length_bias.verdict(max(bias, 0.0))
    found = f"it prefers the longer response in {percent(judge)} of {form['unequal_lengths']} pairs"
    found += f", people in {percent(people)}"
    if mistaken is not None:
        found += f"; it is the longer one in {percent(mistaken)} of {form['mistakes']} mistakes"
    helps = "Let the shorter of nearly equal responses win (`pairs.length_control`)."
    return Line(
        *(question, verdict, needed, f"{found}.", bias),
        chance=0.0,
        cases=form["unequal_lengths"],
        advice=_if_needed(helps, verdict),
    )


def _judge_advice(asked: Asked) -> str:
    """What helps a judge that does not know; first what the loop itself can do."""
    loop, before = asked.loop, asked.needs.before_m1
    parts = []
    if before and loop.judge_form == "worded" and loop.eft != "ranking":
        parts.append("let M1 learn to judge from people's ranks (`loop.eft: ranking`)")
    if before and loop.judge_form == "criteria" and loop.eft != "labels":
        parts.append("let M1 learn to judge from labelled criteria (`loop.eft: labels`)")
    if asked.may(judge_form="criteria"):
        parts.append("ask for one point at a time (`loop.judge_form: criteria`)")
    parts += ["give more seed data", f"take {asked.other_judge}"]
    if asked.may(reward="checked"):
        parts.append(
            "take rewards by a program, where one can check the responses (`loop.reward: checked`)"
        )
    listed = "; or ".join(parts)
    return f"{listed[0].upper()}{listed[1:]}."


def _if_needed(helps: str, verdict: str) -> str:
    return "" if verdict == "ready" else helps
