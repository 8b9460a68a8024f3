"""Judgements of responses: asked for, read, asked for again when they carry no score.

A judgement's raw text is always kept, so that a better parser needs no new judging (`reparse`).
"""

from collections.abc import Sequence
from typing import Literal

import pandas as pd

from srlm_kedro.engines.generation.base import Completion, GenerationEngine, Request, Sampling
from srlm_kedro.judge.parsing import parse_score
from srlm_kedro.judge.prompt import check_judge_prompt, fill_judge_prompt
from srlm_kedro.records import Checkpoint

COLUMNS = ["response_id", "k", "attempt", "text", "finish", "thought", "score", "reason"]
"""One row an attempt: `score` is NaN and `reason` says why, or `reason` is `ok`. `thought` is what
the judge thought before it wrote `text`; no score is read from it."""


def judge_responses(
    engine: GenerationEngine,
    judge: Checkpoint,
    template: str,
    responses: pd.DataFrame,
    sampling: Sampling,
    seed: int,
    retries: int = 0,
) -> pd.DataFrame:
    """`sampling.n` judgements of each response, one response at a time.

    Those without a score are asked for again, each by itself and with draws of its own.
    A response that leaves the judge no room for the longest judgement gets empty ones (`no_room`).
    Paper: section 2.2, the judge sees one instruction and one response.

    Args:
        engine: Draws the judgements.
        judge: The model that judges.
        template: The judge prompt.
        responses: `response_id` (unique), `prompt`, `response`.
        sampling: K judgements are its `n`.
        seed: A judgement depends on it, the response's id, k and the attempt.
        retries: Further attempts at most.

    Returns:
        All attempts, columns `COLUMNS`.
    """
    check_judge_prompt(template)
    prompts = {
        row.response_id: fill_judge_prompt(template, row.prompt, row.response)
        for row in responses.itertuples()
    }
    requests = [Request(f"{name}-j", prompt, optional=True) for name, prompt in prompts.items()]
    drawn = engine.generate(judge, requests, sampling, seed)
    rows = [
        _row(name, k, 0, completion)
        for name, completions in zip(prompts, drawn, strict=True)
        for k, completion in enumerate(completions)
    ]
    again = sampling.model_copy(update={"n": 1})
    attempt, missing = 0, _unscored(rows)
    while missing and attempt < retries:
        attempt += 1
        requests = [
            Request(f"{name}-j{k}-a{attempt}", prompts[name], optional=True) for name, k in missing
        ]
        drawn = engine.generate(judge, requests, again, seed)
        rows += [
            _row(name, k, attempt, completions[0])
            for (name, k), completions in zip(missing, drawn, strict=True)
        ]
        missing = _unscored(rows[-len(missing) :])
    return pd.DataFrame(rows, columns=COLUMNS).astype({"score": float})


def reparse(judgements: pd.DataFrame) -> pd.DataFrame:
    """The same judgements with score and reason read afresh from the raw text."""
    parsed = [parse_score(row.text, row.finish) for row in judgements.itertuples()]
    scores = pd.Series([one.score for one in parsed], index=judgements.index, dtype=float)
    reasons = pd.Series([one.reason for one in parsed], index=judgements.index, dtype=object)
    return judgements.assign(score=scores, reason=reasons.astype(str))


def settled(judgements: pd.DataFrame) -> pd.DataFrame:
    """One row a judgement (response, k): its first attempt with a score, or else its last."""
    ordered = judgements.assign(_failed=judgements["score"].isna())
    ordered["_turn"] = ordered["attempt"].where(~ordered["_failed"], -ordered["attempt"])
    ordered = ordered.sort_values(["_failed", "_turn"], kind="stable")
    first = ordered.drop_duplicates(["response_id", "k"]).sort_index()
    return first.drop(columns=["_failed", "_turn"]).reset_index(drop=True)


def _row(name: str, k: int, attempt: int, completion: Completion) -> tuple:
    parsed = parse_score(completion.text, completion.finish)
    said = (completion.text, completion.finish, completion.thought)
    return name, k, attempt, *said, parsed.score, parsed.reason


def _unscored(rows: Sequence[tuple]) -> list[tuple[str, int]]:
    """What may be asked again: a response that left no room will leave none."""
    score, finish = COLUMNS.index("score"), COLUMNS.index("finish")
    return [(row[0], row[1]) for row in rows if row[score] is None and row[finish] != "no_room"]


def with_rewards(responses: pd.DataFrame, read: pd.DataFrame, min_scores: int) -> pd.DataFrame:
    """`responses` with the mean and the number of the scores in `read`, row by row.

    A judgement without a score is no number: it enters no mean. A response with fewer scores than
    `min_scores` has no reward.
    """
    by_response = read.groupby("response_id")["score"].agg(["mean", "count"])
    own = by_response.reindex(responses["response_id"]).set_axis(responses.index)
    scores = own["count"].fillna(0).astype(int)
    # The last bits of a mean hang on the order of the sum; without them, equals do tie.
    reward = own["mean"].where(scores >= min_scores).round(9)
    return responses.assign(reward=reward, scores=scores)


Policy = Literal["drop", "keep"]

DROPS = ("cut", "empty", "unanswered")
"""Why a response is no candidate: cut at the token limit; nothing but blanks; not drawn at all, for
its prompt left the model no room."""


def candidacy(responses: pd.DataFrame, cut: Policy, empty: Policy) -> pd.Series:
    """`ok` for each response that is a candidate, or else the reason out of `DROPS`.

    A response that is empty and cut holds neither text nor end, and one that was not drawn is none:
    nothing can be learnt from them, so no policy keeps them.

    Args:
        responses: `response` and `finish`.
        cut: What becomes of responses cut at the token limit.
        empty: What becomes of empty responses.
    """
    blank = responses["response"].str.strip() == ""
    unended = responses["finish"] == "length"
    reasons = pd.Series("ok", index=responses.index, dtype=object)
    if cut == "drop":
        reasons = reasons.mask(unended, "cut")
    reasons = reasons.mask(blank if empty == "drop" else blank & unended, "empty")
    return reasons.mask(responses["finish"] == "no_room", "unanswered").astype(str)
