"""What a row of seed data must hold. Paper: section 2.1."""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from srlm_kedro.datasets.dialogues import is_blank


def _with_words(what: Literal["prompt", "response"]) -> AfterValidator:
    def checked(text: str) -> str:
        if is_blank(text):
            # The type tells a reader which rows may be dropped.
            raise PydanticCustomError(f"blank_{what}", "Text should hold more than blanks")
        return text

    return AfterValidator(checked)


def _whole(rank: Any) -> Any:
    """Many formats know no whole numbers beside missing ones."""
    if rank is None or (isinstance(rank, float) and math.isnan(rank)):
        raise PydanticCustomError("no_rank", "A rank should be given")
    if not isinstance(rank, float):
        return rank
    if not rank.is_integer():
        raise PydanticCustomError(
            "broken_rank", "A rank should be whole (0 is best), found {rank}", {"rank": rank}
        )
    return int(rank)


_Prompt = Annotated[str, _with_words("prompt")]
_Text = Annotated[str, Field(min_length=1), _with_words("response")]
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


class EftRow(_Row):
    """A prompt with two or more responses that people ranked.

    Given as `responses` = [{text, rank}, ...], or as the parallel lists `responses` and `ranks`.
    """

    prompt: _Prompt
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

    prompt: _Prompt
    kind: str = ""
    seen: bool = True
