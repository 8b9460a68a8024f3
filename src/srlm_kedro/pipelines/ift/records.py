"""What a row of seed data must hold. Paper: section 2.1."""

from pydantic import BaseModel, ConfigDict, Field


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
    rank: int = Field(ge=0)


class EftRow(_Row):
    """A prompt with two or more responses that people ranked."""

    prompt: str
    responses: list[RankedResponse] = Field(min_length=2)


class EvalRow(_Row):
    """A held-out prompt; `seen` tells whether training holds prompts of its kind."""

    prompt: str
    kind: str
    seen: bool
