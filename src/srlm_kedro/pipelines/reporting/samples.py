"""Responses that a person reads: what each model answers, and how it judged itself."""

import pandas as pd

from srlm_kedro.records import derive_seed

_PROMPTS = 6


def pick_judged(
    judged_responses: pd.DataFrame, judgements: pd.DataFrame, seed: int
) -> pd.DataFrame:
    """Highest and lowest response of a few prompts, each with one of its judgements.

    Returns:
        Columns prompt, response, reward, judgement, a prompt's two responses side by side.
    """
    rewarded = judged_responses.dropna(subset="reward")
    chosen = _some(rewarded["prompt_id"], seed, "judged")
    rows = rewarded[rewarded["prompt_id"].isin(chosen)].sort_values(
        ["prompt_id", "reward"], ascending=[True, False], kind="stable"
    )
    ends = rows.groupby("prompt_id").nth([0, -1])
    parsed = judgements.dropna(subset="score").drop_duplicates("response_id")
    words = parsed.set_index("response_id")["text"]
    picked = ends.assign(judgement=ends["response_id"].map(words).fillna(""))
    return picked[["prompt", "response", "reward", "judgement"]].reset_index(drop=True)


def pick_answers(seed: int, *eval_scores: pd.DataFrame) -> pd.DataFrame:
    """What every model answers to the same few held-out prompts, drawn without looking.

    The greedy response; the first sampled one where no greedy one was drawn.

    Returns:
        Columns prompt, kind, model, response, score, reasons.
    """
    table = pd.concat(eval_scores, ignore_index=True)
    mode = "greedy" if "greedy" in set(table["mode"]) else "sampled"
    one = table[(table["mode"] == mode) & (table["sample"] == 0)]
    rows = one[one["prompt_id"].isin(_some(one["prompt_id"], seed, "answers"))]
    rows = rows.sort_values("prompt_id", kind="stable")
    return rows[["prompt", "kind", "model", "response", "score", "reasons"]].reset_index(drop=True)


def _some(ids: pd.Series, seed: int, label: str) -> set[str]:
    """A few of the ids, drawn by the seed."""
    return set(sorted(set(ids), key=lambda id_: derive_seed(seed, label, id_))[:_PROMPTS])
