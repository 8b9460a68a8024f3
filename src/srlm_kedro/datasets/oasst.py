"""Human conversations as OASST exports them, in any of its serialisations, as one flat table."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from pydantic import BaseModel, Field, ValidationError, model_validator

from srlm_kedro.datasets.rows.fields import as_id, said
from srlm_kedro.datasets.rows.files import Row, Table, read_table

COLUMNS = [
    *("message_id", "parent_id", "tree_id", "tree_state", "depth", "role", "text", "lang"),
    *("rank", "synthetic", "deleted", "review_result", "spam", "fault"),
]
"""`depth` is 0 for the prompt that a tree begins with; `rank` 0 is the best of the siblings;
`review_result` and `spam` (0 to 1, what readers said) are null where nobody looked; `fault` tells
why a message has no sure place in a tree, and is empty where it has one."""
_IDS = ("message_id", "parent_id", "message_tree_id")
_TYPES = {"depth": "Int64", "rank": "Int64", "review_result": "boolean", "spam": "Float64"}


class OasstDataset(AbstractDataset[None, pd.DataFrame]):
    """Messages of trees, of nested messages or of flat rows: JSON lines, Parquet, gzip or not.

    A message whose place is unsure (its id or its parent is missing or not unique, or it is its
    own ancestor) stays in the table with its `fault`.
    """

    INTERPRETS = True
    """Its code decides which rows a file gives, and so is part of what is made of them."""

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None):
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """One row a message, with `COLUMNS`.

        Raises:
            DatasetError: A damaged file, or rows that are no messages, each with its place.
        """
        return oasst_table(read_table(self._filepath))

    def save(self, data: None) -> None:
        raise DatasetError(f"{self._filepath}: an export is read, never written.")

    def _exists(self) -> bool:
        return self._filepath.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class Message(BaseModel):
    """A message as exports hold it; what is left out and what is null are the same."""

    message_id: str = Field(min_length=1)
    parent_id: str | None = None
    message_tree_id: str | None = None
    tree_state: str | None = None
    role: Literal["prompter", "assistant"]
    text: str
    lang: str = ""
    rank: Annotated[int, Field(gt=-(2**31), lt=2**31)] | None = None
    synthetic: bool = False
    deleted: bool = False
    review_result: bool | None = None
    labels: Any = None
    replies: list[Any] = []
    """Still raw, so that a conversation may go as deep as it likes."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        given = {name: value for name, value in row.items() if not _is_null(value)}
        return given | {name: as_id(given[name]) for name in _IDS if name in given}

    @property
    def spam(self) -> float | None:
        """Share of readers who called it spam; labels come by name, or as parallel lists."""
        labels = self.labels if isinstance(self.labels, dict) else {}
        names, values = labels.get("name"), labels.get("value")
        if isinstance(names, list) and isinstance(values, list):
            pairs = zip(names, values, strict=False)
            found = next((value for name, value in pairs if name == "spam"), None)
        else:
            found = labels.get("spam")
        value = found.get("value") if isinstance(found, dict) else found
        return float(min(max(value, 0), 1)) if isinstance(value, int | float) else None


@dataclass(frozen=True)
class Placed:
    """A message, and what the file says of its place."""

    message: Message
    parent_id: str | None
    tree_id: str | None
    tree_state: str | None
    fault: str = ""


@dataclass(frozen=True)
class Place:
    """Where a message stands in its tree; `fault` says why `depth` is None."""

    root: str
    depth: int | None
    fault: str = ""


def oasst_table(table: Table) -> pd.DataFrame:
    """The messages of a file's rows.

    Raises:
        InputError: Rows that are no messages, each with its place.
    """
    rule = "rows must be OASST trees (`prompt`) or messages (`message_id`, `role`, `text`)"
    trees = table.checked(lambda _, row: list(_placed(row)), rule)
    return messages_table([message for tree in trees for message in tree])


def messages_table(messages: list[Placed]) -> pd.DataFrame:
    """The flat table; depth and tree follow from the parents, whatever the file's order."""
    places = _places(messages)
    rows = []
    for placed in messages:
        message, place = placed.message, places[placed.message.message_id]
        rows.append(
            (
                *(message.message_id, placed.parent_id, placed.tree_id or place.root),
                *(placed.tree_state or "", place.depth, message.role, message.text, message.lang),
                *(message.rank, message.synthetic, message.deleted, message.review_result),
                *(message.spam, place.fault),
            )
        )
    return pd.DataFrame(rows, columns=COLUMNS).astype(_TYPES)


def _placed(row: Row) -> Iterator[Placed]:
    """The messages of one row of the file: a tree, a message with its replies, or a bare one."""
    value = row.value
    tree: dict[str, Any] = {}
    if isinstance(value, dict) and isinstance(value.get("prompt"), dict):
        tree, value = value, value["prompt"]
    first = _message(value)
    tree_id = first.message_tree_id or as_id(tree.get("message_tree_id"))
    state = first.tree_state or tree.get("tree_state")
    waiting = [Placed(first, first.parent_id, tree_id, state)]
    while waiting:
        above = waiting.pop()
        yield above
        waiting += [_beneath(above, reply) for reply in above.message.replies]


def _beneath(above: Placed, value: Any) -> Placed:
    parent = above.message.message_id
    reply = _message(value, f"reply to {parent}: ")
    stated = reply.parent_id or parent
    fault = "" if stated == parent else "contradicted parent"
    return Placed(reply, stated, above.tree_id, above.tree_state, fault)


def _message(value: Any, where: str = "") -> Message:
    try:
        return Message.model_validate(value)
    except ValidationError as error:
        raise ValueError(where + said(error)) from error


def _places(messages: list[Placed]) -> dict[str, Place]:
    times = Counter(placed.message.message_id for placed in messages)
    known = {placed.message.message_id: placed for placed in messages}
    places: dict[str, Place] = {}
    for start in known:
        chain: dict[str, None] = {}
        here = start
        while here not in places:
            own = _own_place(known[here], known, times[here])
            if own is None and here in chain:
                own = Place(here, None, "its own ancestor")
            if own is not None:
                places[here] = own
                break
            chain[here] = None
            here = known[here].parent_id or ""
        _descend(list(chain), places[here], places)
    return places


def _own_place(placed: Placed, known: Mapping[str, Placed], times: int) -> Place | None:
    """The place of a root, or of a message with a fault of its own; None: ask its parent."""
    name, parent = placed.message.message_id, placed.parent_id
    if times > 1:
        return Place(name, None, "duplicate id")
    if placed.fault:
        return Place(name, None, placed.fault)
    if parent is None:
        return Place(name, 0)
    return None if parent in known else Place(name, None, "missing parent")


def _descend(chain: list[str], top: Place, places: dict[str, Place]) -> None:
    """Gives each of the chain, the one next to `top` last, its place beneath it."""
    depth = top.depth
    for name in reversed(chain):
        depth = None if depth is None else depth + 1
        places.setdefault(name, Place(top.root, depth, top.fault))


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
