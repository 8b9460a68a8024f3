"""Judgements into rewards, and metrics of the judge.

This is apart from the judging, so that a better parser gives new rewards without new judgements.
"""

import pandas as pd

from srlm_kedro.display.safe_text import quoted_end
from srlm_kedro.errors import GateError
from srlm_kedro.judge import refusals
from srlm_kedro.judge.criteria import JudgePrompt, template_of
from srlm_kedro.judge.judgements import DROP_REASONS, candidate_status, merge_attempts, read_parts
from srlm_kedro.judge.prompt import is_escaped
from srlm_kedro.judge.statistics import with_rewards
from srlm_kedro.parts import Parts
from srlm_kedro.pipelines.judging.nodes import JudgingParams

_TOP = 5
_SCORES = range(_TOP + 1)


def reward_responses(
    responses: pd.DataFrame,
    judgements: Parts,
    judge_prompt: JudgePrompt,
    judging: JudgingParams,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """The responses with `reward`, `scores` and `reason`, and the judge's metrics.

    `reward` is the mean of the response's scores, or NaN; `scores` is their number. A judgement
    without a score enters no mean. `reason` is `ok`, or why the response was not judged (one of
    `DROP_REASONS`, counted as `judge/dropped_...`). `judge/escaped_responses` counts responses
    with a tag of the judge prompt in them or in their prompts, which is escaped. `judge/no_room`
    counts judgements that were not drawn because the filled judge prompt left no room for them.

    Paper: section 3.1, the reward is the mean of the sampled scores.

    Raises:
        GateError: All responses are dropped, a larger share than `max_unparsed` of the judgements
            has no score, or no response has a reward.
    """
    reasons = candidate_status(responses, judging.cut, judging.empty)
    drops = {reason: int((reasons == reason).sum()) for reason in DROP_REASONS}
    _refuse_dropped(responses, drops)
    attempts = read_parts(judgements)
    read = merge_attempts(attempts)
    asked = own_judgements(read)
    _refuse_unparsed(responses, asked, judging)
    table = with_rewards(responses, read, judging.min_scores).assign(reason=reasons)
    judged = table[reasons == "ok"]
    if judged["reward"].isna().all():
        raise GateError(
            f"judged_responses: none of {len(judged)} responses has a reward (limit "
            f"`judging.min_scores` = {judging.min_scores}). Draw more judgements per response "
            f"(`judging.sampling.n`, now {judging.sampling.n})."
        )
    pairs = zip(judged["prompt"], judged["response"], strict=True)
    escaped = sum(is_escaped(template_of(judge_prompt), *pair) for pair in pairs)
    return table, {
        **judge_metrics(judged, attempts, asked),
        **{f"judge/dropped_{reason}": float(count) for reason, count in drops.items()},
        "judge/judged_share": len(judged) / len(table),
        "judge/escaped_responses": float(escaped),
        "judge/no_room": float((asked["finish"] == "no_room").sum()),
    }


def own_judgements(read: pd.DataFrame) -> pd.DataFrame:
    """The judge's own judgements; the checker's if it judges alone."""
    own = read[read["given"].isna()] if "given" in read else read
    return own if len(own) else read


def judge_metrics(
    judged: pd.DataFrame, attempts: pd.DataFrame, read: pd.DataFrame
) -> dict[str, float]:
    """Metrics that distinguish a useful judge from a collapsed one, on the judged responses.

    `score_*` (rounded to whole points) and `parse_rate` are shares of the judgements, `saturation`
    is the share of the rewarded responses with full reward, `tied_prompts` a share of the prompts.
    """
    rewards = judged["reward"].dropna()
    scores = read["score"].dropna()
    spread = judged.dropna(subset="reward").groupby("prompt_id")["reward"].agg(["min", "max"])
    points = (scores + 0.5).astype(int)
    reasons = read["reason"].value_counts()
    return {
        "judge/judgements": float(len(read)),
        "judge/parse_rate": float(read["score"].notna().mean()),
        "judge/retried": float((attempts["attempt"] > 0).sum()),
        "judge/mean_tokens": float(judged["tokens"].mean()),
        "judge/unrewarded": float(judged["reward"].isna().sum()),
        "judge/mean_reward": float(rewards.mean()),
        "judge/std_reward": float(rewards.std(ddof=0)),
        "judge/std_within_response": _noise(read),
        "judge/saturation": float((rewards == _TOP).mean()),
        "judge/tied_prompts": float((spread["min"] == spread["max"]).mean()),
        **{f"judge/score_{score}": float((points == score).mean()) for score in _SCORES},
        **{
            f"judge/unparsed_{reason}": float(reasons.get(reason, 0))
            for reason in refusals.UNPARSED
        },
    }


def _noise(read: pd.DataFrame) -> float:
    """The standard deviation of the judgements of one response, in points."""
    variances = read.groupby("response_id")["score"].var(ddof=0).dropna()
    return float(variances.mean() ** 0.5)


def _refuse_dropped(responses: pd.DataFrame, drops: dict[str, int]) -> None:
    if not len(responses) or sum(drops.values()) < len(responses):
        return
    raise GateError(
        f"judged_responses: none of {len(responses)} responses can be used: {drops['cut']} are cut "
        f"at the token limit (`judging.cut` = drop), {drops['empty']} are empty, "
        f"{drops['unanswered']} were not drawn because their prompts left no room. First: response "
        f"{responses['response_id'].iloc[0]}, {quoted_end(responses['response'].iloc[0])}. Raise "
        "`responses.sampling.max_new_tokens`, or read the responses: all are kept."
    )


def _refuse_unparsed(responses: pd.DataFrame, read: pd.DataFrame, judging: JudgingParams) -> None:
    unparsed = read[read["score"].isna()]
    if not len(read):
        raise GateError("judgements: there are none, because there are no responses to judge.")
    if len(unparsed) / len(read) <= judging.max_unparsed and len(unparsed) < len(read):
        return
    first = unparsed.iloc[0]
    prompt_id = dict(zip(responses["response_id"], responses["prompt_id"], strict=True))
    reasons = refusals.reasons_of(unparsed).value_counts().to_dict()
    limit, by_criteria = judging.sampling.max_new_tokens, "log_yes" in read
    again = "" if by_criteria else f" Or raise `judging.retries` (now {judging.retries})."
    raise GateError(
        f"{prompt_id[first.response_id].partition('-')[0]}.judgements: "
        f"{len(unparsed) / len(read):.0%} of {len(read)} judgements have no score (limit "
        f"`judging.max_unparsed` = {judging.max_unparsed:g}): {refusals.in_words(reasons)}. "
        f"First: response {first.response_id}, {quoted_end(first.text)}. "
        f"{refusals.advice(reasons, 'judging.sampling', limit, by_criteria)}{again} "
        "All judgements are kept: read some."
    )
