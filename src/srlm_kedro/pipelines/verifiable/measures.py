"""What programs find of a model's held-out responses: by kind, against earlier models, and fluency.

The share of constraints that are met says whether a model improved. The other figures say what it
paid: length, variety, and how probable M0 finds its texts.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated

import numpy as np
import pandas as pd

from srlm_kedro.engines.training.base import TrainingEngine
from srlm_kedro.judge.criteria import points
from srlm_kedro.judge.statistics import bootstrap_interval
from srlm_kedro.params import Reads
from srlm_kedro.pipelines.verifiable.params import VerifiableParams
from srlm_kedro.records import Checkpoint, Example, derive_seed
from srlm_kedro.referee.base import CheckingReferee
from srlm_kedro.verifiable.constraints import UNSEEN_KINDS

BY_KIND = ["model", "part", "kind", "n", "met"]
"""One row per part of the held-out prompts and kind of constraint, and one for all kinds. `n`
counts constraints of sampled responses, `met` is the share of them that is met."""
GAINS = ["model", "against", "part", "prompts", "gain", "low", "high"]
"""One row per earlier model and part: the difference of the mean shares of constraints met, with
its 95% interval over prompts."""
CRITERIA = ["model", "kind", "n", "met", "auc"]
"""One row per kind of constraint and one for all: `n` questions about the model's own responses,
the share `met`, and how often a met constraint has more of the judge's points than one that is not
met (0.5: by chance; NaN if all or none are met)."""
_ALL = "all"
_SEEN, _UNSEEN_KIND = "seen", "unseen kind"
_WORDS = 20
"""Words at the beginning of each response that count for its variety: longer texts repeat more."""
_RUN = 4
"""Words of a run; a text in which fewer than half of its runs are different repeats itself."""


def measure_constraints(
    eval_responses: pd.DataFrame, referee: CheckingReferee
) -> tuple[pd.DataFrame, dict[str, float]]:
    """The share of constraints met, by part and kind, columns `BY_KIND`; and as `met/...`.

    In the part `unseen kind` only constraints of unseen kinds count, in `all` every constraint.
    """
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
    counts = [_counts(part, kind) for part, kind in zip(long["part"], long["kind"], strict=True)]
    of_part = long[counts]
    every = pd.concat(
        [
            of_part,
            long.assign(part=_ALL),
            of_part.assign(kind=_ALL),
            long.assign(part=_ALL, kind=_ALL),
        ]
    )
    table = every.groupby(["part", "kind"])["met"].agg(["size", "mean"]).reset_index()
    table = table.rename(columns={"size": "n", "mean": "met"})
    whole = [all(met for _, met in one.verdicts) for one in found]
    words = sampled["response"].str.lower().str.split()
    beginnings = words.str[:_WORDS]
    rows = zip(table["part"], table["kind"], table["met"], strict=True)
    metrics = {f"met/{part}/{kind}".replace(" ", "_"): float(met) for part, kind, met in rows}
    metrics |= {
        "met/every_constraint": float(np.mean(whole)),
        "met/distinct_pairs": distinct_pairs(beginnings.tolist()),
        "met/words": float(words.str.len().mean()),
        "met/cut_off": float((sampled["finish"] == "length").mean()),
        "met/repeating": float(np.mean([repeats(each) for each in words])),
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
    written = (eval_responses["tokens"] > 1) & (eval_responses["response"] != "")
    rows = eval_responses[first & written]
    examples = [Example(row.prompt, row.response, complete=False) for row in rows.itertuples()]
    total = sum(training_engine.log_probs(m0, examples))
    ends = (rows["finish"] == "stop").sum()
    return {"fluency/log_prob": float(total / max(rows["tokens"].sum() - ends, 1))}


def measure_gains(
    model_scores: pd.DataFrame,
    previous_scores: pd.DataFrame,
    m1_scores: pd.DataFrame,
    baseline_scores: pd.DataFrame,
    referee: CheckingReferee,
    verifiable: Annotated[VerifiableParams, Reads("resamples")],
    seed: int,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """The model against each earlier one, columns `GAINS`; and as `gain/...`.

    A part counts the same constraints as in `measure_constraints`.
    """
    others = {
        str(scores["model"].iloc[0]): scores
        for scores in (previous_scores, m1_scores, baseline_scores)
    }
    model = str(model_scores["model"].iloc[0])
    ours = _shares(model_scores, referee)
    rows: list[tuple] = []
    for name, scores in others.items():
        if name == model:
            continue
        gained = (ours - _shares(scores, referee)).dropna()
        for part in _order(gained.index.unique("part")):
            values = gained.xs(part, level="part").to_numpy()
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


def repeats(words: list[str]) -> bool:
    """Whether fewer than half of a text's runs of four words are different."""
    runs = list(zip(*(words[start:] for start in range(_RUN)), strict=False))
    return len(set(runs)) < len(runs) / 2


def measure_criteria(
    own_responses: pd.DataFrame, own_judgements: pd.DataFrame, referee: CheckingReferee
) -> tuple[pd.DataFrame, dict[str, float]]:
    """How well the judge knows each kind of constraint, columns `CRITERIA`; and `criteria/auc/...`.

    Args:
        own_responses: The model's own responses to held-out prompts.
        own_judgements: What it said of them, asked by criteria.
        referee: Says which constraints are met, in the order of the questions.
    """
    judged = own_responses.merge(own_judgements, on="response_id")
    found = referee.assess_all(list(zip(judged["prompt"], judged["response"], strict=True)))
    answers = judged[["wanted", "log_yes", "log_no"]].to_dict("records")
    table = pd.DataFrame(
        [
            (kind, met, point)
            for one, answer in zip(found, answers, strict=True)
            for (kind, met), point in zip(one.verdicts, points(answer), strict=True)
        ],
        columns=["kind", "met", "point"],
    ).dropna()
    groups = {_ALL: table, **dict(iter(table.groupby("kind")))}
    rows = [
        (len(group), float(group["met"].mean()), _auc(group["met"], group["point"]))
        for group in groups.values()
    ]
    result = pd.DataFrame(rows, columns=CRITERIA[2:]).assign(
        kind=list(groups), model=str(own_responses["model"].iloc[0])
    )
    known = result.dropna()
    metrics = zip(known["kind"], known["auc"], strict=True)
    return result[CRITERIA], {f"criteria/auc/{kind}": float(auc) for kind, auc in metrics}


def _auc(met: pd.Series, point: pd.Series) -> float:
    """How often a point of a met constraint is the larger one; equal ones count half."""
    positive, negative = int(met.sum()), int((~met).sum())
    if not positive or not negative:
        return float("nan")
    ranks = point.rank()[met].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * negative))


def _shares(scores: pd.DataFrame, referee: CheckingReferee) -> pd.Series:
    """The mean share of constraints met by the sampled responses to each prompt.

    Indexed by `prompt_id` and `part`; each prompt is in its part and in all.
    """
    sampled = scores[scores["mode"] == "sampled"]
    found = referee.assess_all(list(zip(sampled["prompt"], sampled["response"], strict=True)))
    rows = zip(sampled["prompt_id"], part_of(sampled["kind"]), found, strict=True)
    shares = [
        (prompt, each, np.mean([met for kind, met in one.verdicts if _counts(each, kind)]))
        for prompt, part, one in rows
        for each in (_ALL, part)
    ]
    table = pd.DataFrame(shares, columns=["prompt_id", "part", "share"])
    return table.groupby(["prompt_id", "part"], sort=False)["share"].mean()


def _counts(part: str, kind: str) -> bool:
    """Whether a constraint of this kind counts in a part."""
    return part != _UNSEEN_KIND or kind in UNSEEN_KINDS


def _order(parts: Iterable[str]) -> list[str]:
    return [_ALL, *sorted(set(parts) - {_ALL})]
