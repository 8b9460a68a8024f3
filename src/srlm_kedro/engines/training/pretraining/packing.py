"""Packs documents into rows of fixed length, without the prefix that many of them share."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from srlm_kedro.engines.training.base import Document
from srlm_kedro.errors import InputError, summary

_LOOKAHEAD = 32


@dataclass(frozen=True)
class Tokens:
    """A document's ids, which of them count in the loss, and whether the prefix comes before."""

    ids: list[int]
    learn: list[bool]
    after_prefix: bool


@dataclass(frozen=True)
class Rows:
    """A batch of packed rows, as arrays of (rows, length).

    `document` numbers the documents of a row from 1; 0 is padding. A document attends to itself
    and, if `after_prefix` is true, to the prefix. Positions count from the start of each document.
    """

    ids: np.ndarray
    learn: np.ndarray
    document: np.ndarray
    positions: np.ndarray
    after_prefix: np.ndarray


def shared_prefix(documents: Sequence[Document]) -> str:
    """The most common first segment without loss, such as the rubric before every review."""
    openings = Counter(
        document.segments[0][0] for document in documents if not document.segments[0][1]
    )
    # Of all first segments, the one that saves the most text.
    return max(openings, key=lambda text: (openings[text] * len(text), text), default="")


def tokenised(
    documents: Sequence[Document], tokenizer: Any, prefix: str, limit: int
) -> list[Tokens]:
    """The ids of each document without the prefix.

    Raises:
        InputError: A document is longer than a row of `limit` tokens.
    """
    texts = list(dict.fromkeys(text for document in documents for text, _ in document.segments))
    ids = dict(zip(texts, tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True))
    made = [_tokens(document, prefix, ids) for document in documents]
    long = [at for at, tokens in enumerate(made) if len(tokens.ids) > limit]
    if long:
        faults = [f"document {at}: {len(made[at].ids)} tokens" for at in long]
        heading = f"Pretraining: {len(long)} documents exceed `row_length` = {limit}. Raise it."
        raise InputError(summary(heading, faults))
    return made


def _tokens(document: Document, prefix: str, ids_of: Mapping[str, list[int]]) -> Tokens:
    after = bool(prefix) and document.segments[0] == (prefix, False)
    ids: list[int] = []
    learn: list[bool] = []
    for text, learnt in document.segments[1:] if after else document.segments:
        piece = ids_of[text]
        ids += piece
        learn += [learnt] * len(piece)
    return Tokens(ids, learn, after)


def batches(documents: Sequence[Tokens], length: int, rows: int) -> Iterator[Rows]:
    """Packed batches, roughly in the order of the documents. A last partial batch is dropped.

    If a document does not fit into the rest of a row, one of the next few that fits is taken.
    """
    waiting = list(reversed(documents))
    while True:
        packed = [_next_row(waiting, length) for _ in range(rows)]
        if not waiting:
            return
        yield _arrays(packed, length)


def _next_row(waiting: list[Tokens], length: int) -> list[Tokens]:
    row: list[Tokens] = []
    room, skipped = length, 0
    while waiting and skipped < min(_LOOKAHEAD, len(waiting)):
        if len(waiting[-1 - skipped].ids) <= room:
            row.append(waiting.pop(-1 - skipped))
            room -= len(row[-1].ids)
        else:
            skipped += 1
    return row


def _arrays(packed: Sequence[Sequence[Tokens]], length: int) -> Rows:
    shape = (len(packed), length)
    ids, document, positions = (np.zeros(shape, np.int64) for _ in range(3))
    learn, after = (np.zeros(shape, bool) for _ in range(2))
    for number, row in enumerate(packed):
        start = 0
        for place, tokens in enumerate(row, start=1):
            part = slice(start, start + len(tokens.ids))
            ids[number, part] = tokens.ids
            learn[number, part] = tokens.learn
            document[number, part] = place
            positions[number, part] = np.arange(len(tokens.ids))
            after[number, part] = tokens.after_prefix
            start = part.stop
    return Rows(ids, learn, document, positions, after)
