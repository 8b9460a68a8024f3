"""What a row of the questions must hold."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class MtBenchQuestion(BaseModel):
    """A question of two turns; `reference` holds the right answers where there are any.

    Rows may be those of the benchmark's own file: `question_id`, `category`, `turns`, `reference`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1)
    category: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    """The first turn."""
    follow_up: str = Field(min_length=1)
    """The second turn."""
    reference: list[str] = Field([], max_length=2)
    """The right answer to the first turn, or to both."""

    @model_validator(mode="before")
    @classmethod
    def _as_published(cls, row: Any) -> Any:
        if not isinstance(row, dict) or "turns" not in row:
            return row
        turns = row["turns"]
        if not isinstance(turns, list) or len(turns) != 2:
            raise ValueError("`turns` must be a list of two texts")
        kept = {name: row[name] for name in row if name not in ("question_id", "turns")}
        named = {"id": str(row["question_id"])} if "question_id" in row else {}
        split = {"prompt": turns[0], "follow_up": turns[1]}
        return kept | named | split | {"reference": row.get("reference") or []}
