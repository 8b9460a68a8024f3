"""What a row of seed data must hold. Paper: section 2.1."""

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from srlm_kedro.datasets.dialogues import is_blank


def _with_words(text: str) -> str:
    if is_blank(text):
        raise PydanticCustomError("blank_response", "Text should hold more than blanks")
    return text


def _whole(rank: Any) -> Any:
    """Many formats know no whole numbers beside missing ones."""
    if not isinstance(rank, float):
        return rank
    if math.isnan(rank):
        raise PydanticCustomError("no_rank", "A rank should be given")
    if not rank.is_integer():
        raise PydanticCustomError(
            "broken_rank", "A rank should be whole (0 is best), found {rank}", {"rank": rank}
        )
    return int(rank)


_Text = Annotated[str, Field(min_length=1), AfterValidator(_with_words)]
_Rank = Annotated[int, Field(ge=0, lt=2**31), BeforeValidator(_whole)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1)


class IftRow(_Row):
    """A prompt with the response that people liked best."""

    prompt: str
    response: _Text


class RankedResponse(BaseModel):
    """One of several responses to a prompt; rank 0 is the best."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: _Text
    rank: _Rank


class EftRow(_Row):
    """A prompt with two or more responses that people ranked.

    Given as `responses` = [{text, rank}, ...], or as the parallel lists `responses` and `ranks`.
    """

    prompt: str
    responses: list[RankedResponse] = Field(min_length=2)

    @model_validator(mode="before")
    @classmethod
    def _paired(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        texts, ranks = row.get("responses"), row.get("ranks")
        bare = isinstance(texts, list) and any(isinstance(text, str) for text in texts)
        if "ranks" not in row and not bare:
            return row
        if not isinstance(texts, list) or not isinstance(ranks, list) or len(texts) != len(ranks):
            raise ValueError("`responses` and `ranks` must be lists of the same length")
        paired = [{"text": text, "rank": rank} for text, rank in zip(texts, ranks, strict=True)]
        return {name: value for name, value in row.items() if name != "ranks"} | {
            "responses": paired
        }


class EvalRow(_Row):
    """A held-out prompt; `seen` tells whether training holds prompts of its kind."""

    prompt: str
    kind: str = ""
    seen: bool = True
