"""The dataset of human conversations that OASST exports: any serialisation as one flat table."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, Field, ValidationError, model_validator

from srlm_kedro.datasets.read_only import ReadOnlyDataset
from srlm_kedro.datasets.rows.fields import as_id, describe_errors, is_null
from srlm_kedro.datasets.rows.reader import read_table
from srlm_kedro.datasets.rows.table import Row, Table

COLUMNS = [
    *("message_id", "parent_id", "tree_id", "tree_state", "depth", "role", "text", "lang"),
    *("rank", "synthetic", "deleted", "review_result", "spam", "fault"),
]
"""`depth` is 0 for the prompt at the root of a tree. `rank` 0 is the best among siblings.
`review_result` and `spam` (0 to 1, the readers' verdict) are null if nobody reviewed the message.
`fault` says why the place of a message in its tree is unsure, and is empty if it is sure."""
_IDS = ("message_id", "parent_id", "message_tree_id")
_TYPES = {"depth": "Int64", "rank": "Int64", "review_result": "boolean", "spam": "Float64"}


class OasstDataset(ReadOnlyDataset[pd.DataFrame]):
    """Messages of trees, nested messages or flat rows, in any format that `read_table` reads.

    A message whose place is unsure (its id or its parent is missing or not unique, or it is its
    own ancestor) stays in the table with its `fault`.
    """

    ORIGIN = "an export is only read"
    INTERPRETS = True
    """This class decides which rows a file gives, so its code counts for what is made of them."""

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None):
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """One row per message, with `COLUMNS`.

        Raises:
            DatasetError: The file is damaged, or rows are no messages, each named with its place.
        """
        return oasst_table(read_table(self._filepath))

    def _exists(self) -> bool:
        return self._filepath.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class Message(BaseModel):
    """A message of an export; null counts as left out."""

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
    """Not validated here, so that a conversation may be as deep as it likes."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        given = {name: value for name, value in row.items() if not is_null(value)}
        return given | {name: as_id(given[name]) for name in _IDS if name in given}

    @property
    def spam(self) -> float | None:
        """The share of readers who called it spam; labels are a mapping or parallel lists."""
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
    """A message, and what the file says about its place."""

    message: Message
    parent_id: str | None
    tree_id: str | None
    tree_state: str | None
    fault: str = ""


@dataclass(frozen=True)
class Place:
    """The place of a message in its tree; `fault` says why `depth` is None."""

    root: str
    depth: int | None
    fault: str = ""


def oasst_table(table: Table) -> pd.DataFrame:
    """The messages of a file's rows.

    Raises:
        InputError: Rows are no messages; the message names them with their places.
    """
    rule = "rows must be OASST trees (`prompt`) or messages (`message_id`, `role`, `text`)"
    trees = table.checked(lambda _, row: list(_placed(row)), rule)
    return messages_table([message for tree in trees for message in tree])


def messages_table(messages: list[Placed]) -> pd.DataFrame:
    """The flat table; parents decide depth and tree, whatever the order of the file."""
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
    """The messages of one row of the file: of a tree, or a message and its replies."""
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
        raise ValueError(where + describe_errors(error)) from error


def _places(messages: list[Placed]) -> dict[str, Place]:
    times = Counter(placed.message.message_id for placed in messages)
    known = {placed.message.message_id: placed for placed in messages}
    places: dict[str, Place] = {}
    for start in known:
        chain: dict[str, None] = {}
        here = start
        while here not in places:
            place = _own_place(known[here], known, times[here])
            if place is None and here in chain:
                place = Place(here, None, "its own ancestor")
            if place is not None:
                places[here] = place
                break
            chain[here] = None
            here = known[here].parent_id or ""
        _descend(list(chain), places[here], places)
    return places


def _own_place(placed: Placed, known: Mapping[str, Placed], times: int) -> Place | None:
    """The place of a root or of a faulty message; None: the place depends on the parent."""
    name, parent = placed.message.message_id, placed.parent_id
    if times > 1:
        return Place(name, None, "duplicate id")
    if placed.fault:
        return Place(name, None, placed.fault)
    if parent is None:
        return Place(name, 0)
    return None if parent in known else Place(name, None, "missing parent")


def _descend(chain: list[str], top: Place, places: dict[str, Place]) -> None:
    """Gives each message of a chain its place beneath `top`; the last one is next to `top`."""
    depth = top.depth
    for name in reversed(chain):
        depth = None if depth is None else depth + 1
        places.setdefault(name, Place(top.root, depth, top.fault))
