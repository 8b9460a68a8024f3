"""How far training moved the policy: log-probabilities under M_(t-1) and under M_t."""

import pandas as pd

from srlm_kedro.engines.training.base import TrainingEngine
from srlm_kedro.records import Checkpoint, Example

COLUMNS = ["text", "response_id", "prompt", "response", "tokens", "before", "after"]
"""`text` is `sampled`, `chosen` or `rejected`; `tokens` are counted of sampled ones alone."""


def measure_movement(
    model: Checkpoint,
    policy: Checkpoint,
    eval_responses: pd.DataFrame,
    pairs: pd.DataFrame,
    training_engine: TrainingEngine,
) -> pd.DataFrame:
    """`before` under `policy` and `after` under `model`, in nats a response, end token included.

    Of the model's sampled responses to held-out prompts that came to an end, and of both sides of
    its training pairs; a side that was cut counts without an end token, as in training.
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
    """`kl` and `kl_token`, of sampled responses; `logp_chosen_moved`, `logp_rejected_moved`.

    In nats, a response but for `kl_token`. The samples are drawn as the evaluation draws, so that
    at a temperature below 1 the likely responses weigh more than in the divergence itself.
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
