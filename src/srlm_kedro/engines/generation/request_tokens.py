"""Requests as token ids, and which of them fit, for every engine that is given ids."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from srlm_kedro.engines import chat
from srlm_kedro.engines.generation.base import NO_ROOM, Completion, Request, Sampling
from srlm_kedro.errors import InputError, summary
from srlm_kedro.records import Checkpoint

_log = logging.getLogger(__name__)


def tokenise(tokenizer: Any, requests: Sequence[Request]) -> list[list[int]]:
    """Token ids of each request, by one call of the tokenizer for chats and one for raw texts."""
    turns = iter(chat.render_chats(tokenizer, [r.messages for r in requests if r.chat]))
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
    draw: Callable[[Sequence[Request], Sequence[list[int]]], list[list[Completion]]],
) -> list[list[Completion]]:
    """Completions by `draw` for requests that fit, and `NO_ROOM` for optional ones that do not.

    Args:
        model: The model that samples, for messages.
        positions: See `length_faults`.
        requests: What is to be completed.
        prompts: Token ids of each request.
        sampling: Gives the longest completion.
        draw: Returns a row of completions for each request, from requests and their ids.

    Raises:
        InputError: It lists all prompts that do not fit and are not optional.
    """
    faults = length_faults(prompts, positions, sampling)
    _refuse(model, positions, requests, faults, sampling)
    _warn(model, requests, faults)
    fitting = [place for place, fault in enumerate(faults) if not fault]
    rows = [[NO_ROOM] * sampling.n for _ in requests]
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
    model: Checkpoint,
    positions: int | None,
    requests: Sequence[Request],
    faults: Sequence[str],
    sampling: Sampling,
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
                f"(prompt tokens + max_new_tokens may be at most {positions}). "
                f"Shorten them, or lower max_new_tokens (now {sampling.max_new_tokens}).",
                wanted,
            )
        )


def _warn(model: Checkpoint, requests: Sequence[Request], faults: Sequence[str]) -> None:
    left_out = [
        f"{request.id} ({fault})" for request, fault in zip(requests, faults, strict=True) if fault
    ]
    if left_out:
        _log.warning(
            "%s: %d of %d prompts leave no room for the longest completion, and get no "
            "completions. First: %s.",
            *(model.name, len(left_out), len(requests), left_out[0]),
        )
