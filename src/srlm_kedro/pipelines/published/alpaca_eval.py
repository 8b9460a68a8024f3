"""AlpacaEval 2.0: an annotator compares a model's outputs with reference outputs.

Paper: section 3.2 and table 1. The result is the win rate over GPT-4 Turbo, in %.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import pandas as pd
from kedro.pipeline import Node, Pipeline
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srlm_kedro.datasets.rows.fields import describe_errors
from srlm_kedro.engines.generation.base import GenerationEngine, Request, StageSampling
from srlm_kedro.engines.published.base import Annotator
from srlm_kedro.errors import GateError, InputError, summary
from srlm_kedro.params import LIMIT, MAX_TOKENS, Params, Reads
from srlm_kedro.records import Checkpoint, derive_seed


class AlpacaSampling(StageSampling):
    """How outputs are drawn (paper: not stated; temperature and top-p are as in the loop)."""

    n: int = Field(1, ge=1, le=1)
    """Outputs per instruction; the benchmark compares one."""
    max_new_tokens: int = Field(2048, ge=1, le=MAX_TOKENS)
    """Longest output in tokens (paper: not stated; its M3 writes 2,552 characters on average)."""


class AlpacaEvalParams(Params):
    """The parameters `alpaca_eval`."""

    sampling: AlpacaSampling = AlpacaSampling()
    """How the outputs for `alpaca_eval_set` are drawn."""
    max_failed: Annotated[float, LIMIT] = Field(0.05, ge=0, le=1)
    """The run stops if a larger share of the instructions has no preference."""


class ReferenceRow(BaseModel):
    """One instruction with its reference output; other keys are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)

    instruction: str = Field(min_length=1)
    output: str
    generator: str = Field(min_length=1)
    dataset: str = ""


_RULE = (
    "alpaca_eval_set: a JSON list of objects with instruction, output, generator and dataset, "
    "each instruction once and all of one generator."
)

COLUMNS = [
    *("model", "source", "win_rate", "standard_error"),
    *("length_controlled_win_rate", "length_controlled_win_rate_local"),
    *("mean_characters", "annotated"),
]
"""Columns of the leaderboard. Rates are in %; `source` is `run` or `paper`. A row compares with the
paper's rows only if `annotated` is 805, all official instructions, and the reference outputs and
the annotator are the official ones."""

PAPER = pd.DataFrame(
    [
        ("GPT-4 0314", 22.07, None),
        ("Mistral Medium", 21.86, None),
        ("Self-Rewarding 70B M3", 20.44, 2552),
        ("Claude 2", 17.19, None),
        ("Gemini Pro", 16.85, None),
        ("GPT-4 0613", 15.76, None),
        ("Self-Rewarding 70B M2", 15.38, 1552),
        ("GPT-3.5 Turbo", 14.13, None),
        ("Llama 2 Chat 70B", 13.87, None),
        ("Self-Rewarding 70B M1", 9.94, 1092),
    ],
    columns=["model", "win_rate", "mean_characters"],
).assign(source="paper", annotated=805)
"""Paper: table 1, AlpacaEval 2.0, win rate over GPT-4 Turbo on 805 instructions."""
_DIGITS = 2


def read_references(alpaca_eval_set: list[dict[str, Any]]) -> pd.DataFrame:
    """The set as a table: `instruction`, `output`, `generator`, `dataset`.

    Raises:
        InputError: Rows of another form, an instruction that occurs twice, or several generators.
    """
    if not isinstance(alpaca_eval_set, list) or not alpaca_eval_set:
        raise InputError(f"{_RULE} Found {type(alpaca_eval_set).__name__} without rows.")
    rows, faults = [], []
    for number, found in enumerate(alpaca_eval_set, start=1):
        try:
            rows.append(ReferenceRow.model_validate(found).model_dump())
        except ValidationError as error:
            faults.append(f"item {number} of the list: {describe_errors(error)}")
    table = pd.DataFrame(rows, columns=list(ReferenceRow.model_fields))
    twice = table.loc[table["instruction"].duplicated(), "instruction"]
    faults += [f"an instruction occurs twice: {text[:60]!r}" for text in twice]
    if table["generator"].nunique() > 1:
        faults.append(f"several generators: {', '.join(table['generator'].unique()[:3])}")
    if faults:
        raise InputError(summary(_RULE, faults))
    return table


def draw_alpaca_outputs(
    model: Checkpoint,
    alpaca_eval_set: list[dict[str, Any]],
    generation_engine: GenerationEngine,
    alpaca_eval: Annotated[AlpacaEvalParams, Reads("sampling")],
    seed: int,
) -> list[dict[str, str]]:
    """One output per instruction, in the order of the set and in AlpacaEval's format.

    Raises:
        InputError: The set breaks a rule of `read_references`.
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
    """Which output is better, for each instruction, with all that the annotator says, raw."""
    references = read_references(alpaca_eval_set)
    return alpaca_annotator.annotate(pd.DataFrame(alpaca_outputs), references)


def measure_alpaca_outputs(
    alpaca_annotations: pd.DataFrame,
    alpaca_difficulty: pd.DataFrame,
    alpaca_annotator: Annotator,
    alpaca_eval: Annotated[AlpacaEvalParams, Reads("max_failed")],
) -> tuple[dict[str, float], pd.DataFrame]:
    """The model's figures as `alpaca_eval/...`, and as a row of the leaderboard.

    Rates are in %, lengths in characters. Instructions without a preference are counted in
    `failed` only. `length_controlled` counts the preferences behind a length-controlled rate. A
    figure that does not exist is left out. Paper: section 3.2 (AlpacaEval 2.0).

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
    known = {name: float(value) for name, value in figures.items() if pd.notna(value)}
    row = describe_model(alpaca_annotations["generator_2"].iloc[0], known)
    return {f"alpaca_eval/{name}": value for name, value in known.items()}, row


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
            "limit. If you remove the annotations, a new run asks for the missing ones only."
        )


def describe_model(model: str, figures: dict[str, float]) -> pd.DataFrame:
    """One row for a model of this run, columns `COLUMNS`; figures that do not exist are NaN."""
    row = {"model": model, "source": "run", **figures}
    return pd.DataFrame([row], columns=COLUMNS).astype(dict.fromkeys(COLUMNS[2:], float))


def collect_leaderboard(*rows: pd.DataFrame) -> pd.DataFrame:
    """The models of this run and of the paper by win rate, the best first; columns `COLUMNS`."""
    paper = PAPER.reindex(columns=COLUMNS).astype(dict.fromkeys(COLUMNS[2:], float))
    table = pd.concat([*rows, paper], ignore_index=True)
    ordered = table.sort_values("win_rate", ascending=False, kind="stable", ignore_index=True)
    return ordered.round(_DIGITS)


def create_pipeline() -> Pipeline:
    """`model`, `alpaca_eval_set`, `alpaca_difficulty` -> `alpaca_eval_metrics`, `alpaca_row`.

    On the way: `alpaca_outputs`, `alpaca_annotations`.
    """
    return Pipeline(
        [
            Node(
                draw_alpaca_outputs,
                [
                    "model",
                    "alpaca_eval_set",
                    "generation_engine",
                    "params:alpaca_eval",
                    "params:seed",
                ],
                "alpaca_outputs",
                name="draw_alpaca_outputs",
            ),
            Node(
                annotate_alpaca_outputs,
                ["alpaca_outputs", "alpaca_eval_set", "alpaca_annotator"],
                "alpaca_annotations",
                name="annotate_alpaca_outputs",
            ),
            Node(
                measure_alpaca_outputs,
                [
                    "alpaca_annotations",
                    "alpaca_difficulty",
                    "alpaca_annotator",
                    "params:alpaca_eval",
                ],
                ["alpaca_eval_metrics", "alpaca_row"],
                name="measure_alpaca_outputs",
            ),
        ]
    )


def create_leaderboard_pipeline(models: Sequence[str]) -> Pipeline:
    """`<model>.alpaca_row` of each model -> `leaderboard`."""
    rows = [f"{model}.alpaca_row" for model in models]
    return Pipeline([Node(collect_leaderboard, rows, "leaderboard", name="collect_leaderboard")])
