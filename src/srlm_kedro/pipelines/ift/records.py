"""What a row of seed data must hold. Paper: section 2.1."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1)


class IftRow(_Row):
    """A prompt with the response that people liked best."""

    prompt: str
    response: str = Field(min_length=1)


class RankedResponse(BaseModel):
    """One of several responses to a prompt; rank 0 is the best."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = Field(min_length=1)
    rank: int = Field(ge=0, lt=2**31)


class EftRow(_Row):
    """A prompt with two or more responses that people ranked.

    Given as `responses` = [{text, rank}, ...], or as the parallel lists `responses` and `ranks`.
    """

    prompt: str
    responses: list[RankedResponse] = Field(min_length=2)

    @model_validator(mode="before")
    @classmethod
    def _paired(cls, row: Any) -> Any:
        if not isinstance(row, dict) or "ranks" not in row:
            return row
        texts, ranks = row.get("responses"), row["ranks"]
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
