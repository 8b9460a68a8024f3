"""The tables of three models, made by hand."""

from pathlib import Path

import pandas as pd

from srlm_kedro.pipelines.reporting.model_tables import (
    collect_duels,
    collect_iterations,
    collect_judges,
    collect_study,
    describe_iteration,
    describe_seed_model,
    describe_study,
    tabulate_errors,
)
from srlm_kedro.records import Checkpoint

MODELS = ["sft", "m1", "m2"]


def checkpoint(name):
    return Checkpoint(Path("nowhere"), name)


def eval_scores(model, response="an answer", greedy=True):
    """Two prompts, of which the second is of an unseen kind: scores 5 and 2, greedy 4."""
    rows = [(prompt, "sampled", 0, score) for prompt, score in (("e1", 5.0), ("e2", 2.0))]
    rows += [(prompt, "greedy", 0, 4.0) for prompt in ("e1", "e2")] if greedy else []
    table = pd.DataFrame(rows, columns=["prompt_id", "mode", "sample", "score"])
    return table.assign(
        model=model,
        prompt="do it",
        kind="list",
        seen=table["prompt_id"] == "e1",
        response=response,
        tokens=10,
        items_wrong=[0.0, 1.0, 0.0, 0.0][: len(table)],
        constraints_missed=[0.0, 0.5, 0.0, 0.0][: len(table)],
        voice_missed=0.0,
        extras=[1.0, 0.0, 0.0, 0.0][: len(table)],
        reasons="It is right.",
    )


def judged_responses(response="mine"):
    """One prompt with three rewards, another with none."""
    rows = [("p1", 1.0), ("p1", 4.0), ("p1", 3.0), ("p2", None)]
    table = pd.DataFrame(rows, columns=["prompt_id", "reward"])
    return table.assign(
        response_id=[f"r{n}" for n in range(4)],
        prompt="do it",
        response=[f"{response} {n}" for n in range(4)],
    )


def judgements(text="It is fine."):
    """Two of each response, the first without a score."""
    rows = [(f"r{n}", k, None if k == 0 else 3.0) for n in range(4) for k in range(2)]
    table = pd.DataFrame(rows, columns=["response_id", "k", "score"])
    return table.assign(text=[f"{text} {name}-{k}" for name, k, _ in rows])


def timings():
    rows = [
        ("m0", "train_m0", 100.0),
        ("sft", "train_sft", 7.0),
        ("m2", "write_prompts", 1.0),
        ("m2", "accept_prompts", 0.5),
        ("m2", "train_dpo", 20.0),
        ("m2", "assess_responses", 2.0),
        ("m9", "train_dpo", 1000.0),
    ]
    return pd.DataFrame(rows, columns=["model", "node", "seconds"])


def iterations():
    figures = {"eval/mean_score": 3.5, "eval/mean_length": 10.0}
    judge = {"judge/judgements": 24.0, "judge/parse_rate": 0.96, "judge/mean_reward": 3.25}
    judge |= {"judge/dropped_cut": 3.0, "judge/dropped_empty": 1.0}
    rows = [describe_seed_model(checkpoint(name), figures) for name in ("sft", "m1")]
    made = describe_iteration(
        checkpoint("m2"),
        figures,
        pd.DataFrame({"prompt_id": ["a", "b"]}),
        pd.DataFrame({"response_id": list("abcdefgh")}),
        judge,
        {"pairs/count": 2.0},
    )
    return collect_iterations(timings(), *rows, made)


def head_to_head():
    def row(model, opponent, win, loss):
        shares = {"win": win, "tie": 100 - win - loss, "loss": loss, "n": 2}
        return {"model": model, "opponent": opponent, **shares, "low": -10.0, "high": 30.0}

    m1 = pd.DataFrame([row("m1", "sft", 30.0, 20.0)])
    m2 = pd.DataFrame([row("m2", "m1", 100 / 3, 50.0), row("m2", "sft", 40.0, 10.0)])
    return collect_duels(m1, m2)


def reward_modelling():
    def row(model):
        metrics = {"pairwise_accuracy": 78.7, "five_best": None, "exact_match": 13.1}
        return pd.DataFrame(
            [{"model": model, **metrics, "spearman": 0.3, "kendall": 0.2, "n": 9, "pairs": 40}]
        ).astype({"five_best": float})

    return collect_judges(*map(row, MODELS))


def errors():
    return tabulate_errors(*map(eval_scores, MODELS))


def study():
    """Each model's figures as judge of its own answers, and those of M2's iteration."""
    own = {"study/own_right": 60.0, "study/own_right_items": 12.5}
    made = {"study/judge_right_items": 5.5, "study/kl": 1.23456}
    elders = [describe_study(checkpoint(name), own) for name in ("sft", "m1")]
    return collect_study(*elders, describe_study(checkpoint("m2"), own, made))
