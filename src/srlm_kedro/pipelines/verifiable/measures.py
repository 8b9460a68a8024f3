"""What programs find of a model's held-out responses: by kind, against earlier models, and fluency.

The share of constraints that are met says whether a model improved. The other figures say what it
paid: length, variety, and how probable M0 finds its texts.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated

import numpy as np
import pandas as pd

from srlm_kedro.engines.training.base import TrainingEngine
from srlm_kedro.judge.statistics import bootstrap_interval
from srlm_kedro.params import Reads
from srlm_kedro.pipelines.verifiable.params import VerifiableParams
from srlm_kedro.records import Checkpoint, Example, derive_seed
from srlm_kedro.referee.base import CheckingReferee

BY_KIND = ["model", "part", "kind", "n", "met"]
"""One row per part of the held-out prompts and kind of constraint, and one for all kinds. `n`
counts constraints of sampled responses, `met` is the share of them that is met."""
GAINS = ["model", "against", "part", "prompts", "gain", "low", "high"]
"""One row per earlier model and part: the difference of the mean shares of constraints met, with
its 95% interval over prompts."""
_ALL, _FULL = "all", 5.0
_SEEN = "seen"


def measure_constraints(
    eval_responses: pd.DataFrame, referee: CheckingReferee
) -> tuple[pd.DataFrame, dict[str, float]]:
    """The share of constraints met, by part and kind, columns `BY_KIND`; and as `met/...`."""
    sampled = eval_responses[eval_responses["mode"] == "sampled"]
    found = referee.assess_all(list(zip(sampled["prompt"], sampled["response"], strict=True)))
    parts = part_of(sampled["kind"])
    long = pd.DataFrame(
        [
            (part, kind, met)
            for part, one in zip(parts, found, strict=True)
            for kind, met in one.verdicts
        ],
        columns=["part", "kind", "met"],
    )
    every = pd.concat(
        [long, long.assign(part=_ALL), long.assign(kind=_ALL), long.assign(part=_ALL, kind=_ALL)]
    )
    table = every.groupby(["part", "kind"])["met"].agg(["size", "mean"]).reset_index()
    table = table.rename(columns={"size": "n", "mean": "met"})
    whole = [all(met for _, met in one.verdicts) for one in found]
    words = sampled["response"].str.lower().str.split()
    rows = zip(table["part"], table["kind"], table["met"], strict=True)
    metrics = {f"met/{part}/{kind}".replace(" ", "_"): float(met) for part, kind, met in rows}
    metrics |= {
        "met/every_constraint": float(np.mean(whole)),
        "met/distinct_pairs": distinct_pairs(words.tolist()),
        "met/words": float(words.str.len().mean()),
    }
    model = str(eval_responses["model"].iloc[0])
    return table.assign(model=model)[BY_KIND], metrics


def measure_fluency(
    eval_responses: pd.DataFrame, m0: Checkpoint, training_engine: TrainingEngine
) -> dict[str, float]:
    """`fluency/log_prob`: nats per token that M0 gives each prompt's first response, without ends.

    Texts that no longer are English, or repeat themselves in ways that M0 would not, have less.
    """
    first = (eval_responses["mode"] == "sampled") & (eval_responses["sample"] == 0)
    rows = eval_responses[first & (eval_responses["tokens"] > 1)]
    examples = [Example(row.prompt, row.response, complete=False) for row in rows.itertuples()]
    total = sum(training_engine.log_probs(m0, examples))
    ends = (rows["finish"] == "stop").sum()
    return {"fluency/log_prob": float(total / max(rows["tokens"].sum() - ends, 1))}


def measure_gains(
    model_scores: pd.DataFrame,
    previous_scores: pd.DataFrame,
    m1_scores: pd.DataFrame,
    baseline_scores: pd.DataFrame,
    verifiable: Annotated[VerifiableParams, Reads("resamples")],
    seed: int,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """The model against each earlier one, columns `GAINS`; and as `gain/...`."""
    others = {
        str(scores["model"].iloc[0]): scores
        for scores in (previous_scores, m1_scores, baseline_scores)
    }
    model = str(model_scores["model"].iloc[0])
    ours = _shares(model_scores)
    rows: list[tuple] = []
    for name, scores in others.items():
        if name == model:
            continue
        both = ours.join(_shares(scores), suffixes=("", "_other"), how="inner")
        difference = both["share"] - both["share_other"]
        for part, values in _parts(difference, both["part"]):
            label = derive_seed(seed, "gain", model, name, part)
            low, high = bootstrap_interval(values, verifiable.resamples, label)
            rows.append((model, name, part, len(values), float(values.mean()), low, high))
    table = pd.DataFrame(rows, columns=GAINS)
    whole = table[table["part"] == _ALL]
    metrics = {
        f"gain/vs_{row.against}{suffix}": float(getattr(row, name))
        for row in whole.itertuples()
        for name, suffix in (("gain", ""), ("low", "_low"), ("high", "_high"))
    }
    return table, metrics


def part_of(kinds: pd.Series) -> pd.Series:
    """The part of each held-out prompt: `seen`, `unseen topic` or `unseen kind`."""
    return kinds.str.extract(r"^(unseen \w+): ", expand=False).fillna(_SEEN)


def distinct_pairs(texts: list[list[str]]) -> float:
    """The share of different pairs of neighbouring words among all pairs, over all texts."""
    pairs = [pair for words in texts for pair in pairwise(words)]
    return len(set(pairs)) / max(len(pairs), 1)


def _shares(scores: pd.DataFrame) -> pd.DataFrame:
    """The mean share of constraints met by the sampled responses to each prompt, and its part."""
    sampled = scores[scores["mode"] == "sampled"]
    groups = sampled.groupby("prompt_id", sort=False)
    table = pd.DataFrame({"share": groups["score"].mean() / _FULL, "kind": groups["kind"].first()})
    return table.assign(part=part_of(table["kind"]))[["share", "part"]]


def _parts(values: pd.Series, parts: pd.Series) -> Iterator[tuple[str, np.ndarray]]:
    yield _ALL, values.to_numpy(float)
    for part in sorted(parts.unique()):
        yield part, values[parts == part].to_numpy(float)
