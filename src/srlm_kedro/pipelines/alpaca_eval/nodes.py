"""A model answers AlpacaEval's instructions, an annotator compares, and the win rate is counted."""

from typing import Annotated, Any

import pandas as pd

from srlm_kedro.engines.annotation.base import Annotator
from srlm_kedro.engines.generation.base import GenerationEngine, Request
from srlm_kedro.errors import GateError
from srlm_kedro.params import Reads
from srlm_kedro.pipelines.alpaca_eval.leaderboard import describe_model
from srlm_kedro.pipelines.alpaca_eval.params import AlpacaEvalParams
from srlm_kedro.pipelines.alpaca_eval.records import read_references
from srlm_kedro.records import Checkpoint, derive_seed


def draw_alpaca_outputs(
    model: Checkpoint,
    alpaca_eval_set: list[dict[str, Any]],
    generation_engine: GenerationEngine,
    alpaca_eval: Annotated[AlpacaEvalParams, Reads("sampling")],
    seed: int,
) -> list[dict[str, str]]:
    """One output an instruction in the order of the set, in AlpacaEval's format.

    Raises:
        InputError: Rows of the set do not fit.
    """
    references = read_references(alpaca_eval_set)
    requests = [
        Request(f"alpaca-{number}", text) for number, text in enumerate(references["instruction"])
    ]
    drawn = generation_engine.generate(
        model, requests, alpaca_eval.sampling, derive_seed(seed, "alpaca eval")
    )
    asked = references[["instruction", "dataset"]].to_dict("records")
    return [
        {**row, "output": completions[0].text, "generator": model.name}
        for row, completions in zip(asked, drawn, strict=True)
    ]


def annotate_alpaca_outputs(
    alpaca_outputs: list[dict[str, str]],
    alpaca_eval_set: list[dict[str, Any]],
    alpaca_annotator: Annotator,
) -> pd.DataFrame:
    """Who is better, instruction by instruction: all that the annotator tells, kept whole."""
    references = read_references(alpaca_eval_set)
    return alpaca_annotator.annotate(pd.DataFrame(alpaca_outputs), references)


def measure_alpaca_outputs(
    alpaca_annotations: pd.DataFrame,
    alpaca_difficulty: pd.DataFrame,
    alpaca_annotator: Annotator,
    alpaca_eval: Annotated[AlpacaEvalParams, Reads("max_failed")],
) -> tuple[dict[str, float], pd.DataFrame]:
    """The model's figures as `alpaca_eval/...`, and as a row of the leaderboard.

    Paper: section 3.2 (AlpacaEval 2.0), win rate in % against GPT-4 Turbo, with mean length in
    characters. Instructions without a preference enter `failed` alone; a figure that does not
    exist is left out; `length_controlled` counts the preferences behind a length-controlled one.

    Raises:
        GateError: A larger share than `max_failed` has no preference.
    """
    _refuse_failures(alpaca_annotations, alpaca_eval.max_failed)
    preferences = alpaca_annotations["preference"]
    wins = 100 * (preferences.dropna() - 1)
    controlled = alpaca_annotator.control_length(alpaca_annotations, alpaca_difficulty)
    figures = {
        "win_rate": wins.mean(),
        "standard_error": wins.sem(),
        **controlled,
        "length_controlled": len(wins) if controlled else 0,
        "mean_characters": alpaca_annotations["output_2"].str.len().mean(),
        "annotated": len(wins),
        "failed": preferences.isna().sum(),
    }
    told = {name: float(value) for name, value in figures.items() if pd.notna(value)}
    row = describe_model(alpaca_annotations["generator_2"].iloc[0], told)
    return {f"alpaca_eval/{name}": value for name, value in told.items()}, row


def _refuse_failures(annotations: pd.DataFrame, limit: float) -> None:
    failed = annotations[annotations["preference"].isna()]
    share = len(failed) / len(annotations)
    if share > limit:
        first = failed.iloc[0]
        raise GateError(
            f"{first['generator_2']}.alpaca_annotations: {share:.0%} of {len(annotations)} "
            f"instructions have no preference (limit `alpaca_eval.max_failed` = {limit}). First: "
            f"{first['instruction'][:60]!r}, {str(first['raw_completion'])[:200]!r}. Choose an "
            "annotators config that fits the server (log probabilities, length), or raise the "
            "limit; with the annotations removed, a new run asks for the missing ones alone."
        )
