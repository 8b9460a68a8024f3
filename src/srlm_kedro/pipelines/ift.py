"""Seed data: the rules that its rows must meet, and the tables that the stages read.

IFT and EFT are the seed data of the paper (section 2.1). All faults are refused before any work.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pandas as pd
from kedro.pipeline import Node, Pipeline
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from srlm_kedro.datasets.rows.dialogues import is_blank
from srlm_kedro.errors import InputError, summary


def _not_blank(what: Literal["prompt", "response"]) -> AfterValidator:
    def checked(text: str) -> str:
        if is_blank(text):
            # By this type a reader knows which rows `drop` may drop.
            raise PydanticCustomError(f"blank_{what}", "Text should hold more than blanks")
        return text

    return AfterValidator(checked)


def _whole(rank: Any) -> Any:
    """A rank as an int; in many formats a column with missing values holds floats only."""
    if rank is None or (isinstance(rank, float) and math.isnan(rank)):
        raise PydanticCustomError("no_rank", "A rank should be given")
    if not isinstance(rank, float):
        return rank
    if not rank.is_integer():
        raise PydanticCustomError(
            "broken_rank", "A rank should be whole (0 is best), found {rank}", {"rank": rank}
        )
    return int(rank)


_Prompt = Annotated[str, _not_blank("prompt")]
_Text = Annotated[str, Field(min_length=1), _not_blank("response")]
_Rank = Annotated[int, Field(ge=0, lt=2**31), BeforeValidator(_whole)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1)


class IftRow(_Row):
    """A prompt with the response that people liked best."""

    prompt: _Prompt
    response: _Text


class RankedResponse(BaseModel):
    """One of several responses to a prompt; rank 0 is the best."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: _Text
    rank: _Rank
    points: list[bool] | None = None
    """Whether it meets each criterion for its prompt, in the order of the rubric (`loop.eft:
    labels`)."""

    @model_serializer(mode="wrap")
    def _without_missing_points(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found = fields(self)
        if self.points is None:
            del found["points"]
        return found


class EftRow(_Row):
    """A prompt with two or more responses that people ranked.

    The responses are `responses` = [{text, rank}, ...], or the parallel lists `responses` (texts)
    and `ranks`.
    """

    prompt: _Prompt
    responses: list[RankedResponse] = Field(min_length=2)

    @model_validator(mode="before")
    @classmethod
    def _paired(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        texts, ranks = row.get("responses"), row.get("ranks")
        are_texts = isinstance(texts, list) and any(isinstance(text, str) for text in texts)
        if "ranks" not in row and not are_texts:
            return row
        if not isinstance(texts, list) or not isinstance(ranks, list) or len(texts) != len(ranks):
            raise ValueError("`responses` and `ranks` must be lists of the same length")
        paired = [{"text": text, "rank": rank} for text, rank in zip(texts, ranks, strict=True)]
        return {name: value for name, value in row.items() if name != "ranks"} | {
            "responses": paired
        }


class EvalRow(_Row):
    """A held-out prompt; `seen` says whether training data has prompts of its kind."""

    prompt: _Prompt
    kind: str = ""
    seen: bool = True


def prepare_ift(ift_seed: pd.DataFrame) -> pd.DataFrame:
    """IFT examples: prompt_id, prompt, response. Paper: section 2.1."""
    return ift_seed.rename(columns={"id": "prompt_id"})[["prompt_id", "prompt", "response"]]


def prepare_eft(eft_seed: pd.DataFrame) -> pd.DataFrame:
    """One row per ranked response: prompt_id, prompt, response_id, response, rank (0 is best).

    If the seed data have points, the column `points` has those of each response; None without.
    """
    rows = [
        (
            row.id,
            row.prompt,
            f"{row.id}-r{number}",
            response["text"],
            response["rank"],
            _met(response),
        )
        for row in eft_seed.itertuples()
        for number, response in enumerate(row.responses)
    ]
    columns = ["prompt_id", "prompt", "response_id", "response", "rank", "points"]
    table = pd.DataFrame(rows, columns=columns)
    return table if table["points"].notna().any() else table.drop(columns="points")


def _met(response: Mapping[str, Any]) -> list[bool] | None:
    points = response.get("points")
    return None if points is None else [bool(each) for each in points]


def refuse_faulty_seed(tables: dict[str, pd.DataFrame]) -> None:
    """Refuses empty prompts, duplicate prompts, and prompts that occur in two tables.

    Args:
        tables: Seed tables by name, each with the columns `id` and `prompt`.

    Raises:
        InputError: All faults of all tables.
    """
    faults = [fault for name, table in tables.items() for fault in _faults_within(name, table)]
    names = list(tables)
    for position, name in enumerate(names):
        for other in names[position + 1 :]:
            faults += _faults_between(name, tables[name], other, tables[other])
    if faults:
        rule = (
            "prompts must be unique (`drop: [repeated prompt]` in the catalog keeps the first), "
            "not empty, and in one table only"
        )
        raise InputError(summary(f"Seed data: {len(faults)} faults; {rule}.", faults))


def _faults_within(name: str, table: pd.DataFrame) -> list[str]:
    if table.empty:
        return [f"{name}: it holds no rows"]
    key = _normal(table["prompt"])
    repeated = key.duplicated() & key.ne("")
    same_ids = table.loc[table["id"].duplicated(), "id"]
    return [
        *(f"{name}, id {id_}: the prompt is empty" for id_ in table.loc[key.eq(""), "id"]),
        *(
            f"{name}, id {row.id}: the prompt {row.prompt[:60]!r} occurs twice"
            for row in table[repeated].itertuples()
        ),
        *(f"{name}: the id {id_} occurs twice" for id_ in same_ids),
    ]


def _faults_between(
    name: str, table: pd.DataFrame, other: str, other_table: pd.DataFrame
) -> list[str]:
    both = table[_normal(table["prompt"]).isin(set(_normal(other_table["prompt"])) - {""})]
    return [
        f"{name} and {other} both hold the prompt {row.prompt[:60]!r} ({name}, id {row.id})"
        for row in both.itertuples()
    ]


def _normal(prompts: pd.Series) -> pd.Series:
    """Prompts without case and spacing."""
    return prompts.str.split().str.join(" ").str.lower()


def create_pipeline() -> Pipeline:
    """`ift_seed`, `eft_seed` -> `ift`, `eft_ranked`."""
    return Pipeline(
        [
            Node(prepare_ift, "ift_seed", "ift", name="prepare_ift"),
            Node(prepare_eft, "eft_seed", "eft_ranked", name="prepare_eft"),
        ]
    )
