"""Evaluation prompts that occur in training texts, and the gate that limits them.

One node writes the table and the next applies the limits, so the table is on disk when the gate
stops a run. Evaluation sets are keyword arguments, so that a pipeline can have any number of them.
"""

import logging
from collections.abc import Iterator, Mapping

import pandas as pd
from pydantic import Field

from srlm_kedro.errors import GateError, summary
from srlm_kedro.params import Params
from srlm_kedro.pipelines.contamination.overlap import EvalSet, Hit, Overlap, read_eval_sets
from srlm_kedro.records import Checkpoint


class ContaminationParams(Params):
    """What counts as seen in training, and how much of it is allowed (the paper has no check).

    The limits are shares of the prompts of one evaluation set; the set with the largest counts.
    """

    ngram: int = Field(13, ge=1, le=1000)
    """Number of words in a row that are searched for in training texts, a run (GPT-3: 13). An
    evaluation prompt with fewer words is only compared as a whole."""
    min_overlap: float = Field(0.0, ge=0, lt=1)
    """An evaluation prompt overlaps if one training text contains more than this share of the
    prompt's runs of words (GPT-3: one run is enough)."""
    max_exact_share: float = Field(0.01, ge=0, le=1)
    """The run stops if a larger share of an evaluation set's prompts equal training texts."""
    max_overlap_share: float = Field(0.05, ge=0, le=1)
    """The run stops if a larger share of an evaluation set's prompts overlap with training texts.
    Prompts that equal one count too."""


COLUMNS = ["eval_set", "eval_id", "source", "source_id", "kind", "overlap", "texts", "prompt"]
"""One row per evaluation prompt and source that have something in common. `source_id` is the text
with the largest overlap, `kind` is exact or ngram, `overlap` is the share of the prompt's runs of
words that the text contains, `texts` is the number of texts of the source with any overlap."""

Texts = list[tuple[str, str]]

_log = logging.getLogger(__name__)


def check_seed_contamination(
    ift: pd.DataFrame,
    eft_ranked: pd.DataFrame,
    contamination: ContaminationParams,
    **eval_sets: EvalSet,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """What seed data and evaluation prompts have in common, and the counts.

    Args:
        ift: prompt_id, prompt, response.
        eft_ranked: prompt_id, prompt, response_id, response.
        contamination: The parameters.
        eval_sets: Evaluation sets by name, in any form that `read_eval_sets` knows.

    Raises:
        InputError: An evaluation set is empty, or of another form.
    """
    sources = {
        "ift.prompt": _texts(ift, "prompt_id", "prompt"),
        "ift.response": _texts(ift, "prompt_id", "response"),
        "eft_ranked.prompt": _texts(eft_ranked, "prompt_id", "prompt"),
        "eft_ranked.response": _texts(eft_ranked, "response_id", "response"),
    }
    return _check(sources, eval_sets, contamination)


def check_contamination(
    prompts: pd.DataFrame,
    pairs: pd.DataFrame,
    contamination: ContaminationParams,
    **eval_sets: EvalSet,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """What an iteration's texts and evaluation prompts have in common, and the counts.

    Args:
        prompts: prompt_id, prompt: all accepted prompts, in pairs or not.
        pairs: chosen_id, chosen, rejected_id, rejected.
        contamination: The parameters.
        eval_sets: Evaluation sets by name, in any form that `read_eval_sets` knows.

    Raises:
        InputError: An evaluation set is empty, or of another form.
    """
    sources = {
        "prompts.prompt": _texts(prompts, "prompt_id", "prompt"),
        "pairs.chosen": _texts(pairs, "chosen_id", "chosen"),
        "pairs.rejected": _texts(pairs, "rejected_id", "rejected"),
    }
    return _check(sources, eval_sets, contamination)


def gate_seed_contamination(
    table: pd.DataFrame, metrics: dict[str, float], contamination: ContaminationParams
) -> dict[str, bool]:
    """Accepts the seed data for training.

    Raises:
        GateError: More of an evaluation set is in it than the limits allow.
    """
    return _gate("seed data", "seed.contamination", table, metrics, contamination)


def gate_contamination(
    policy: Checkpoint,
    table: pd.DataFrame,
    metrics: dict[str, float],
    contamination: ContaminationParams,
) -> dict[str, bool]:
    """Accepts an iteration's pairs for training.

    Raises:
        GateError: More of an evaluation set is in its texts than the limits allow.
    """
    model = f"m{policy.iteration + 1}"
    return _gate(model, f"{model}.contamination", table, metrics, contamination)


def _check(
    sources: Mapping[str, Texts],
    eval_sets: Mapping[str, EvalSet],
    contamination: ContaminationParams,
) -> tuple[pd.DataFrame, dict[str, float]]:
    asked = read_eval_sets(eval_sets)
    rows = [
        row
        for name, questions in asked.items()
        for row in _rows(name, questions, sources, contamination.ngram)
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    sizes = {name: len(questions) for name, questions in asked.items()}
    return table, _metrics(table, sizes, contamination.min_overlap)


def _texts(table: pd.DataFrame, key: str, column: str) -> Texts:
    """Ids and texts; equal rows count once."""
    once = table[[key, column]].drop_duplicates()
    return list(zip(once[key], once[column], strict=True))


def _rows(
    eval_set: str, questions: pd.DataFrame, sources: Mapping[str, Texts], ngram: int
) -> Iterator[tuple]:
    ids, prompts = list(questions["id"]), list(questions["prompt"])
    overlap = Overlap(prompts, ngram)
    for source, texts in sources.items():
        for number, hit in sorted(overlap.search(texts).items()):
            yield (eval_set, ids[number], source, *_found(hit), prompts[number])


def _found(hit: Hit) -> tuple[str, str, float, int]:
    return hit.source_id, "exact" if hit.exact else "ngram", hit.overlap, hit.texts


def _metrics(table: pd.DataFrame, sizes: Mapping[str, int], min_overlap: float) -> dict[str, float]:
    """Per set the number of prompts, equal and overlapping ones; the largest share of each kind."""
    exact = _prompts(table[table["kind"] == "exact"])
    overlapping = _prompts(table[(table["kind"] == "exact") | (table["overlap"] > min_overlap)])
    counts = {
        f"contamination/{name}_{kind}": float(number)
        for name, size in sizes.items()
        for kind, number in [
            ("prompts", size),
            ("exact", exact.get(name, 0)),
            ("overlapping", overlapping.get(name, 0)),
        ]
    }
    shares = {
        f"contamination/{kind}_share": max(
            (found.get(n, 0) / size for n, size in sizes.items()), default=0.0
        )
        for kind, found in {"exact": exact, "overlap": overlapping}.items()
    }
    return counts | shares


def _prompts(rows: pd.DataFrame) -> dict[str, int]:
    """The number of different evaluation prompts of each set."""
    return rows.groupby("eval_set")["eval_id"].nunique().to_dict()


def _gate(
    what: str,
    place: str,
    table: pd.DataFrame,
    metrics: dict[str, float],
    contamination: ContaminationParams,
) -> dict[str, bool]:
    limits = {"exact_share": contamination.max_exact_share}
    limits["overlap_share"] = contamination.max_overlap_share
    found = {name: metrics[f"contamination/{name}"] for name in limits}
    heading = (
        f"{what}: in the evaluation set with the largest share, {found['exact_share']:.1%} of the "
        f"prompts are equal to training texts and {found['overlap_share']:.1%} overlap with one"
    )
    exceeded = [
        f"`contamination.max_{name}` = {limit}"
        for name, limit in limits.items()
        if found[name] > limit
    ]
    # The kind "exact" sorts before "ngram".
    worst = table.sort_values(["kind", "overlap"], ascending=[True, False], kind="stable")
    examples = [_described(row) for row in worst.itertuples()]
    if exceeded:
        refusal = (
            f"{heading} (over {' and '.join(exceeded)}), so nothing is trained. All tables are "
            f"kept: read the table {place}. Remove the prompts from training or from the "
            "evaluation set."
        )
        raise GateError(summary(refusal, examples))
    if any(found.values()):
        _log.warning("%s. First: %s", heading, examples[0])
    return {"checked": True}


def _described(row) -> str:
    much = "equals" if row.kind == "exact" else f"shares {row.overlap:.0%} of its runs with"
    return f"{row.eval_set} {row.eval_id} {much} {row.source} {row.source_id}: {row.prompt[:60]!r}"
