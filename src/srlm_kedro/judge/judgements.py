"""Judgements of responses: which responses are judged, how judgements are drawn and read.

The raw text of every judgement is kept, so a better parser needs no new judging (`reparse`).
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from srlm_kedro.engines.generation.base import Completion, GenerationEngine, Request, Sampling
from srlm_kedro.engines.generation.watching import Watch, watched_by
from srlm_kedro.judge.criteria import (
    CriteriaPrompt,
    JudgePrompt,
    described,
    judge_by_criteria,
    points,
    score_of,
)
from srlm_kedro.judge.parsing import parse_score
from srlm_kedro.judge.prompt import check_judge_prompt, fill_judge_prompt
from srlm_kedro.parts import Made, Parts, tables
from srlm_kedro.records import Checkpoint

COLUMNS = ["response_id", "k", "attempt", "text", "finish", "thought", "score", "reason"]
"""One row per attempt. If there is no score, `score` is NaN and `reason` says why; else `reason` is
`ok`. `thought` is what the judge thought before it wrote `text`. No score is read from a thought.
"""


def judge_responses(
    engine: GenerationEngine,
    judge: Checkpoint,
    judge_prompt: JudgePrompt,
    responses: pd.DataFrame,
    sampling: Sampling,
    seed: int,
    retries: int = 0,
    watch: Watch | None = None,
) -> Parts:
    """Draws `sampling.n` judgements for each response, and again those that have no score.

    All are drawn when this returns. They are read part by part, or as one table (`whole`).

    Each retry is a request of its own, with its own random draws. If a response leaves the judge no
    room for the longest judgement, its judgements are empty (`no_room`). A judge that is asked by
    criteria gives one judgement, which is not drawn (see `judge.criteria`).
    Paper: section 2.2, the judge sees one instruction and one response.

    Args:
        engine: Draws the judgements.
        judge: The model that judges.
        judge_prompt: A template for judgements in words, or criteria.
        responses: `response_id` (unique), `prompt`, `response`.
        sampling: Its `n` is K, the judgements per response.
        seed: A judgement depends on the seed, the response's id, k and the attempt.
        retries: The most further attempts per judgement.
        watch: Is told of judgements in words while they are drawn, and may stop the drawing.

    Returns:
        All attempts, with the columns `COLUMNS`, and for criteria also `criteria.COLUMNS`.
    """
    if isinstance(judge_prompt, CriteriaPrompt):
        return Parts.of(_by_criteria(judge_by_criteria(engine, judge, judge_prompt, responses)))
    check_judge_prompt(judge_prompt)
    names = list(responses["response_id"])
    prompts, texts = responses["prompt"].array, responses["response"].array

    def asked(place: int, part: str = "") -> Request:
        filled = fill_judge_prompt(judge_prompt, prompts[place], texts[place])
        return Request(f"{names[place]}-j{part}", filled, optional=True)

    with watched_by(watch) if watch is not None else nullcontext():
        drawn = engine.generate(judge, Made(len(names), asked), sampling, seed)
    rounds = [_Round(0, None, drawn)]
    once = sampling.model_copy(update={"n": 1})
    while (missing := rounds[-1].unscored()) and len(rounds) <= retries:
        attempt = len(rounds)
        again = Made(
            len(missing),
            lambda number, missing=missing, attempt=attempt: asked(
                missing[number][0], f"{missing[number][1]}-a{attempt}"
            ),
        )
        rounds.append(_Round(attempt, missing, engine.generate(judge, again, once, seed)))

    def parts() -> Iterator[pd.DataFrame]:
        for part in tables((row for each in rounds for row in each.rows(names)), COLUMNS):
            yield part.astype({"score": float})

    return Parts(parts)


@dataclass(frozen=True)
class _Round:
    """What was drawn at one attempt."""

    attempt: int
    missing: Sequence[tuple[int, int]] | None
    """The judgements that were drawn again: the place of the response, and k. None: all."""
    drawn: Sequence[Sequence[Completion]]

    def unscored(self) -> list[tuple[int, int]]:
        """Those without a score; a response that left no room will not leave any."""
        return [
            place
            for place, one in self._each()
            if one.finish != "no_room" and parse_score(one.text, one.finish).score is None
        ]

    def rows(self, names: Sequence[str]) -> Iterator[tuple]:
        """Rows of `COLUMNS`; `names` are those of the responses."""
        for (place, k), one in self._each():
            yield _row(names[place], k, self.attempt, one)

    def _each(self) -> Iterator[tuple[tuple[int, int], Completion]]:
        if self.missing is not None:
            for place, (one,) in zip(self.missing, self.drawn, strict=True):
                yield place, one
            return
        for place, completions in enumerate(self.drawn):
            for k, one in enumerate(completions):
                yield (place, k), one


def reparse(judgements: pd.DataFrame) -> pd.DataFrame:
    """The same judgements, with score and reason read again from the raw texts or probabilities.

    A score that a checker gave (`given`) is as it is.
    """
    if "given" in judgements:
        own = judgements["given"].isna()
        read = reparse(judgements[own].drop(columns="given"))
        score, reason = (read[name].reindex(judgements.index) for name in ("score", "reason"))
        return judgements.assign(
            score=score.where(own, judgements["given"]), reason=reason.where(own, "ok")
        )
    if "log_yes" in judgements:
        return _by_criteria(judgements)
    parsed = [parse_score(row.text, row.finish) for row in judgements.itertuples()]
    scores = pd.Series([one.score for one in parsed], index=judgements.index, dtype=float)
    reasons = pd.Series([one.reason for one in parsed], index=judgements.index, dtype=object)
    return judgements.assign(score=scores, reason=reasons.astype(str))


def read_parts(judgements: Parts) -> pd.DataFrame:
    """All judgements with their scores read again (`reparse`), with few of their texts.

    `text` is kept where there is no score, and `thought` nowhere: both are most of the table.
    """
    read = [
        part.assign(text=part["text"].where(part["score"].isna(), ""), thought="")
        for part in map(reparse, judgements)
    ]
    return pd.concat(read, ignore_index=True)


def given_judgements(
    response_ids: Sequence[str], texts: Sequence[str], scores: Sequence[float | None]
) -> pd.DataFrame:
    """Judgements whose score no text states, with the column `given` besides `COLUMNS`.

    Args:
        response_ids: The judged responses, each once.
        texts: What is said about each.
        scores: 0 to 5; None for a response that gets no score.
    """
    given = pd.Series(scores, dtype=float)
    return pd.DataFrame(
        {
            "response_id": pd.Series(list(response_ids), dtype=str),
            **{"k": 0, "attempt": 0, "text": pd.Series(texts, dtype=str), "finish": "stop"},
            **{"thought": "", "score": given, "reason": "ok", "given": given},
        }
    ).dropna(subset="given")


def merge_attempts(judgements: pd.DataFrame) -> pd.DataFrame:
    """One row per judgement (response, k): the first attempt with a score, or else the last one."""
    ordered = judgements.assign(_failed=judgements["score"].isna())
    ordered["_turn"] = ordered["attempt"].where(~ordered["_failed"], -ordered["attempt"])
    ordered = ordered.sort_values(["_failed", "_turn"], kind="stable")
    first = ordered.drop_duplicates(["response_id", "k"]).sort_index()
    return first.drop(columns=["_failed", "_turn"]).reset_index(drop=True)


def _by_criteria(answers: pd.DataFrame) -> pd.DataFrame:
    """Answers to criteria as judgements: one for each response, at the first attempt."""
    rows = answers.to_dict("records")
    scores = pd.Series([score_of(points(row)) for row in rows], answers.index, dtype=float)
    table = answers.assign(
        k=0,
        attempt=0,
        text=pd.Series(list(map(described, rows)), answers.index, dtype=str),
        thought="",
        score=scores,
        reason=scores.notna().map({True: "ok", False: "no_score"}).astype(str),
    )
    return table[[*COLUMNS, *(name for name in answers if name not in COLUMNS)]]


def _row(name: str, k: int, attempt: int, completion: Completion) -> tuple:
    parsed = parse_score(completion.text, completion.finish)
    raw = (completion.text, completion.finish, completion.thought)
    return name, k, attempt, *raw, parsed.score, parsed.reason


DropOrKeep = Literal["drop", "keep"]

DROP_REASONS = ("cut", "empty", "unanswered")
"""Why a response is no candidate. `cut`: at the token limit. `empty`: it has only blanks.
`unanswered`: it was not drawn, because its prompt left the model no room."""


def candidate_status(responses: pd.DataFrame, cut: DropOrKeep, empty: DropOrKeep) -> pd.Series:
    """`ok` for each response that is a candidate, or else the reason from `DROP_REASONS`.

    A response that is both empty and cut, or that was not drawn, teaches nothing. It is dropped
    whatever the arguments say.

    Args:
        responses: `response` and `finish`.
        cut: What to do with responses that were cut at the token limit.
        empty: What to do with empty responses.
    """
    blank = responses["response"].str.strip() == ""
    unended = responses["finish"] == "length"
    reasons = pd.Series("ok", index=responses.index, dtype=object)
    if cut == "drop":
        reasons = reasons.mask(unended, "cut")
    reasons = reasons.mask(blank if empty == "drop" else blank & unended, "empty")
    return reasons.mask(responses["finish"] == "no_room", "unanswered").astype(str)
