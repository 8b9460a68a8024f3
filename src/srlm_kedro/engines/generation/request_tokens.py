"""Requests as token ids, and which of them fit, for every engine that is given ids."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from srlm_kedro.engines import chat
from srlm_kedro.engines.generation.base import (
    NO_ROOM,
    UNREAD,
    Completion,
    Request,
    Sampling,
)
from srlm_kedro.errors import InputError, summary
from srlm_kedro.records import Checkpoint

_log = logging.getLogger(__name__)
_Row = TypeVar("_Row")
_Draw = Callable[[Sequence[Request], Sequence[list[int]]], list[_Row]]
"""Returns a row for each request, from requests and their token ids."""


def tokenise(
    tokenizer: Any, requests: Sequence[Request], before_answers: bool = False
) -> list[list[int]]:
    """Token ids of each request, by one call of the tokenizer for chats and one for raw texts.

    Args:
        tokenizer: The model's.
        requests: Chats and raw texts.
        before_answers: Whether a chat ends where an answer without a thought begins, as in
            training. Otherwise a thought may follow it.
    """
    thinks = before_answers and any(request.chat for request in requests)
    suffix = chat.answer_opening(tokenizer) if thinks else ""
    turns = iter(chat.render_chats(tokenizer, [r.messages for r in requests if r.chat], suffix))
    texts = iter(chat.render_raw(tokenizer, [r.prompt for r in requests if not r.chat]))
    return [next(turns if request.chat else texts) for request in requests]


def length_faults(
    prompts: Sequence[Sequence[int]], positions: int | None, sampling: Sampling
) -> list[str]:
    """Why each prompt does not fit; an empty text for one that does.

    A prompt needs at least one token, and it must leave room for the longest completion.

    Args:
        prompts: Token ids.
        positions: Longest sequence that the model can see, in tokens; None if it names no limit.
        sampling: Gives the longest completion.
    """
    return [_length_fault(len(ids), positions, sampling.max_new_tokens) for ids in prompts]


def draw_fitting(
    model: Checkpoint,
    positions: int | None,
    requests: Sequence[Request],
    prompts: Sequence[list[int]],
    sampling: Sampling,
    draw: _Draw[list[Completion]],
) -> list[list[Completion]]:
    """Completions by `draw` for requests that fit, and `NO_ROOM` for optional ones that do not.

    Args:
        model: The model that samples, for messages.
        positions: See `length_faults`.
        requests: What is to be completed.
        prompts: Token ids of each request.
        sampling: Gives the longest completion.
        draw: Returns a row of completions for each request.

    Raises:
        InputError: It lists all prompts that do not fit and are not optional.
    """
    limit = (
        f"(prompt tokens + max_new_tokens may be at most {positions}). "
        f"Shorten them, or lower max_new_tokens (now {sampling.max_new_tokens})."
    )
    faults = length_faults(prompts, positions, sampling)
    return _fitting(model, requests, prompts, faults, limit, draw, [NO_ROOM] * sampling.n)


def read_fitting(
    model: Checkpoint,
    positions: int | None,
    requests: Sequence[Request],
    prompts: Sequence[list[int]],
    choices: int,
    read: _Draw[list[float]],
) -> list[list[float]]:
    """Log-probabilities by `read` for requests that have room for one token.

    Rows of optional requests without room are `UNREAD`; the others are as in `draw_fitting`.

    Raises:
        InputError: It lists all prompts that do not fit and are not optional.
    """
    limit = f"(prompt tokens and one more may be at most {positions}). Shorten them."
    faults = length_faults(prompts, positions, Sampling(max_new_tokens=1))
    return _fitting(model, requests, prompts, faults, limit, read, [UNREAD] * choices)


def _fitting(
    model: Checkpoint,
    requests: Sequence[Request],
    prompts: Sequence[list[int]],
    faults: Sequence[str],
    limit: str,
    draw: _Draw[_Row],
    nothing: _Row,
) -> list[_Row]:
    """Rows by `draw` for requests without fault, and `nothing` for optional ones with one."""
    _refuse(model, requests, faults, limit)
    _warn(model, requests, faults)
    fitting = [place for place, fault in enumerate(faults) if not fault]
    rows = [nothing for _ in requests]
    if fitting:
        drawn = draw([requests[place] for place in fitting], [prompts[place] for place in fitting])
        for place, row in zip(fitting, drawn, strict=True):
            rows[place] = row
    return rows


def _length_fault(tokens: int, positions: int | None, new: int) -> str:
    if not tokens:
        return "the prompt has no tokens. Give it some text"
    if positions and tokens + new > positions:
        return f"{tokens} prompt tokens + {new} new ones > {positions}"
    return ""


def _refuse(
    model: Checkpoint, requests: Sequence[Request], faults: Sequence[str], limit: str
) -> None:
    wanted = [
        f"request {request.id}: {fault}"
        for request, fault in zip(requests, faults, strict=True)
        if fault and not request.optional
    ]
    if wanted:
        raise InputError(
            summary(
                f"{model.name}: {len(wanted)} of {len(requests)} prompts do not fit the model "
                f"{limit}",
                wanted,
            )
        )


def _warn(model: Checkpoint, requests: Sequence[Request], faults: Sequence[str]) -> None:
    left_out = [
        f"{request.id} ({fault})" for request, fault in zip(requests, faults, strict=True) if fault
    ]
    if left_out:
        _log.warning(
            "%s: %d of %d prompts leave no room for the longest answer, and get none. First: %s.",
            *(model.name, len(left_out), len(requests), left_out[0]),
        )
