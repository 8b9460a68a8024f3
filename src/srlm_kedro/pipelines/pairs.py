"""Preference pairs: the best and the worst response to each prompt. Paper: section 2.3."""

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Annotated, Any, Literal

import pandas as pd
from kedro.pipeline import Node, Pipeline
from pydantic import Field

from srlm_kedro.errors import GateError, counted
from srlm_kedro.params import LIMIT, MAX_COUNT, Params
from srlm_kedro.records import derive_seed


class PairsParams(Params):
    """From judged responses to preference pairs."""

    order: Literal["reward", "random"] = "reward"
    """`reward`: the response with the higher reward is the chosen one (paper). `random`: the order
    of the same two responses is random, a control that shows what the rewards are worth."""
    length_control: float = Field(0.0, ge=0, lt=0.5)
    """0: the highest reward against the lowest (paper). Above 0, as a share of the distance between
    these two: the chosen response is the shortest one within this share of the highest reward, and
    the rejected response is the longest one within the same share of the lowest, so length matters
    less. Source: Meta-Rewarding (2407.19594)."""
    min_margin: float = Field(0.0, ge=0, lt=5)
    """The least distance between the rewards of a pair, in points (paper: any). Rewards by criteria
    are probabilities: they hardly ever tie, and a small distance says nothing."""
    min_pairs: Annotated[int, LIMIT] = Field(1, ge=1, le=MAX_COUNT)
    """The run stops if there are fewer pairs than this."""


COLUMNS = [
    *("prompt_id", "prompt", "chosen", "rejected", "chosen_id", "rejected_id"),
    *("chosen_reward", "rejected_reward", "chosen_finish", "rejected_finish"),
]
"""`..._finish` is `length` for a response that was cut; training adds no end token to it."""
DROPS = {
    "short_group": "fewer than two responses have a reward",
    "few_complete": "fewer than two, because responses were cut or empty",
    "tie": "all rewards are equal",
    "narrow": "they differ by less than `pairs.min_margin`",
    "identical": "the best and the worst response have the same text",
}
"""Why a prompt gives no pair."""


def make_pairs(
    judged_responses: pd.DataFrame, pairs: PairsParams, seed: int
) -> tuple[pd.DataFrame, dict[str, float]]:
    """At most one pair per prompt; by default the highest reward against the lowest.

    `PairsParams` can give length a part in the choice, or draw the order at random by `seed`. Of
    equal rewards the response with the first id counts. Responses without a reward are ignored;
    those that were dropped as cut or empty have none.
    Paper: section 2.3, equal scores give no pair.

    Returns:
        The pairs, and as `pairs/...` how many there are and why other prompts gave none.

    Raises:
        GateError: Fewer pairs than `min_pairs`.
    """
    made, drops = _found(_by_prompt(judged_responses), pairs, seed)
    prompts = judged_responses["prompt_id"].nunique()
    if len(made) < pairs.min_pairs:
        raise GateError(
            f"pairs: {len(made)} pairs of {prompts} prompts (limit `pairs.min_pairs` = "
            f"{pairs.min_pairs}). Without a pair: {counted(drops, DROPS)}. "
            f"{_advice(list(_by_prompt(judged_responses)), drops)}"
        )
    table = pd.DataFrame([{name: pair[name] for name in COLUMNS} for pair in made])
    return table, _metrics(made, drops, prompts)


def count_pairs(judged_responses: pd.DataFrame, pairs: PairsParams) -> dict[str, int]:
    """How many prompts give a pair, as `pairs`, and how many give none, by the reasons `DROPS`."""
    made, drops = _found(_by_prompt(judged_responses), pairs, seed=0)
    return {"pairs": len(made), **drops}


def _by_prompt(judged_responses: pd.DataFrame) -> Iterator[list[Any]]:
    """The responses to each prompt, one prompt at a time, in the order of their first ones."""
    rows, numbers = judged_responses, pd.factorize(judged_responses["prompt_id"])[0]
    if (numbers[1:] < numbers[:-1]).any():
        rows = rows.iloc[numbers.argsort(kind="stable")]
    for _, group in groupby(rows.itertuples(), key=lambda row: row.prompt_id):
        yield list(group)


def _found(
    groups: Iterable[list[Any]], pairs: PairsParams, seed: int
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The pairs, and the number of the prompts without one, by reason."""
    made, drops = [], {name: 0 for name in DROPS if name != "narrow" or pairs.min_margin}
    for group in groups:
        best, worst, drop = _extremes(group, pairs)
        if drop:
            drops[drop] += 1
        else:
            made.append(_ordered(best, worst, pairs, seed))
    return made, drops


def _advice(groups: Sequence[list[Any]], drops: dict[str, int]) -> str:
    """What to do about too few pairs: first what concerns the candidates, then the judge."""
    parts = []
    alike = sum(len(group) > 1 and _is_one_text(group) for group in groups)
    if drops["few_complete"]:
        parts.append("Allow longer responses (`responses.sampling.max_new_tokens`).")
    if alike:
        parts.append(
            f"All candidates of {alike} prompts have the same text, which no judge could "
            "order: raise `responses.sampling.temperature` or `top_p`."
        )
    if drops["tie"] > alike:
        parts.append(
            "Equal scores give no pairs: draw more judgements per response "
            "(`judging.sampling.n`), or ask for one point of the rubric at a time "
            "(`loop.judge_form: criteria`), whose rewards are rarely equal."
        )
    if drops.get("narrow"):
        parts.append("Lower `pairs.min_margin`.")
    if drops["short_group"]:
        parts.append("Draw more responses to a prompt (`responses.sampling.n`).")
    if alike < len(groups):
        parts.append("Write more prompts (`prompts.count`), or read the judged responses.")
    return " ".join(parts)


def _is_one_text(group: list[Any]) -> bool:
    return len({row.response for row in group}) == 1


def _extremes(group: list[Any], pairs: PairsParams) -> tuple[Any, Any, str | None]:
    """The best and the worst of a prompt's responses, and the reason if they make no pair."""
    rows = [row for row in group if pd.notna(row.reward)]
    if len(rows) < 2:
        dropped = sum(row.reason != "ok" for row in group)
        return None, None, "few_complete" if len(rows) + dropped > 1 else "short_group"
    rows.sort(key=lambda row: (len(row.response_id), row.response_id))  # r2 before r10
    best = max(rows, key=lambda row: row.reward)
    worst = min(rows, key=lambda row: row.reward)
    if best.reward == worst.reward:
        return best, worst, "tie"
    if best.reward - worst.reward < pairs.min_margin:
        return best, worst, "narrow"
    if pairs.length_control:
        band = pairs.length_control * (best.reward - worst.reward)
        top, bottom = best.reward - band, worst.reward + band
        best = min((row for row in rows if row.reward >= top), key=lambda row: row.tokens)
        worst = max((row for row in rows if row.reward <= bottom), key=lambda row: row.tokens)
    return best, worst, "identical" if best.response == worst.response else None


def _ordered(best: Any, worst: Any, pairs: PairsParams, seed: int) -> dict[str, Any]:
    draw = random.Random(derive_seed(seed, "pair order", best.prompt_id))
    swapped = pairs.order == "random" and draw.random() < 0.5
    chosen, rejected = (worst, best) if swapped else (best, worst)
    return {
        "prompt_id": best.prompt_id,
        "prompt": best.prompt,
        "chosen": chosen.response,
        "rejected": rejected.response,
        "chosen_id": chosen.response_id,
        "rejected_id": rejected.response_id,
        "chosen_reward": chosen.reward,
        "rejected_reward": rejected.reward,
        "chosen_finish": chosen.finish,
        "rejected_finish": rejected.finish,
        "chosen_tokens": chosen.tokens,
        "rejected_tokens": rejected.tokens,
    }


def _metrics(made: list[dict[str, Any]], drops: dict[str, int], prompts: int) -> dict[str, float]:
    table = pd.DataFrame(made)
    longer = table["chosen_tokens"] > table["rejected_tokens"]
    return {
        "pairs/count": float(len(made)),
        "pairs/yield": len(made) / prompts,
        **{f"pairs/dropped_{reason}": float(count) for reason, count in drops.items()},
        "pairs/mean_margin": float((table["chosen_reward"] - table["rejected_reward"]).mean()),
        "pairs/chosen_reward": float(table["chosen_reward"].mean()),
        "pairs/rejected_reward": float(table["rejected_reward"].mean()),
        "pairs/chosen_tokens": float(table["chosen_tokens"].mean()),
        "pairs/rejected_tokens": float(table["rejected_tokens"].mean()),
        "pairs/chosen_longer": float(longer.mean()),
    }


def create_pipeline() -> Pipeline:
    """`judged_responses` -> `pairs`, `pair_metrics`."""
    return Pipeline(
        [
            Node(
                make_pairs,
                ["judged_responses", "params:pairs", "params:seed"],
                ["pairs", "pair_metrics"],
                name="make_pairs",
            )
        ]
    )
