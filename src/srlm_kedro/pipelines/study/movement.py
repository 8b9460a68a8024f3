"""How far training moved the policy: log-probabilities under M_(t-1) and under M_t."""

import pandas as pd

from srlm_kedro.engines.training.base import TrainingEngine
from srlm_kedro.records import Checkpoint, Example

COLUMNS = ["text", "response_id", "prompt", "response", "tokens", "before", "after"]
"""Columns of `movement`. `text` is `sampled` (only these have `tokens`), `chosen` or `rejected`."""


def measure_movement(
    model: Checkpoint,
    policy: Checkpoint,
    eval_responses: pd.DataFrame,
    pairs: pd.DataFrame,
    training_engine: TrainingEngine,
) -> pd.DataFrame:
    """Log-probabilities in nats per response: `before` under `policy`, `after` under `model`.

    They are of the model's sampled responses to held-out prompts that were not cut, and of both
    sides of its training pairs. The end token counts, but not for a side that was cut, as in
    training.
    """
    sampled = (eval_responses["mode"] == "sampled") & (eval_responses["finish"] == "stop")
    texts = pd.concat(
        [
            eval_responses[sampled].assign(text="sampled"),
            *(_side(pairs, side) for side in ("chosen", "rejected")),
        ],
        ignore_index=True,
    )
    examples = [
        Example(row.prompt, row.response, complete=row.finish == "stop")
        for row in texts.itertuples()
    ]
    return texts.assign(
        before=training_engine.log_probs(policy, examples),
        after=training_engine.log_probs(model, examples),
    )[COLUMNS]


def movement_figures(movement: pd.DataFrame) -> dict[str, float]:
    """`kl`, `kl_token` of sampled responses; `logp_chosen_moved`, `logp_rejected_moved` of pairs.

    All are in nats per response, but `kl_token` is per token. The samples are the evaluation's: at
    a temperature below 1, likely responses count more than in the KL divergence itself.
    """
    moved = movement["after"] - movement["before"]
    by_text = dict(tuple(moved.groupby(movement["text"])))
    figures = {
        f"logp_{side}_moved": float(by_text[side].mean())
        for side in ("chosen", "rejected")
        if side in by_text
    }
    if "sampled" in by_text:
        figures["kl"] = float(by_text["sampled"].mean())
        figures["kl_token"] = float(by_text["sampled"].sum() / movement["tokens"].sum())
    return figures


def _side(pairs: pd.DataFrame, side: str) -> pd.DataFrame:
    names = {
        "response_id": pairs[f"{side}_id"],
        "response": pairs[side],
        "finish": pairs[f"{side}_finish"],
    }
    return pd.DataFrame({"text": side, "prompt": pairs["prompt"], "tokens": float("nan"), **names})
