"""Requests into token ids, and which of them fit: for every engine that is fed with ids."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from srlm_kedro.engines import chat
from srlm_kedro.engines.generation.base import NO_ROOM, Completion, Request, Sampling
from srlm_kedro.errors import InputError, summary
from srlm_kedro.records import Checkpoint

_log = logging.getLogger(__name__)


def tokenised(tokenizer: Any, requests: Sequence[Request]) -> list[list[int]]:
    """Token ids of each request, chat turns and raw texts each in one call of the tokenizer."""
    turns = iter(chat.render_chats(tokenizer, [r.messages for r in requests if r.chat]))
    texts = iter(chat.render_raw(tokenizer, [r.prompt for r in requests if not r.chat]))
    return [next(turns if request.chat else texts) for request in requests]


def misfits(
    prompts: Sequence[Sequence[int]], positions: int | None, sampling: Sampling
) -> list[str]:
    """Why each prompt does not fit: it needs a token, and room for the longest completion.

    Args:
        prompts: Token ids.
        positions: Longest sequence that the model can see, in tokens; None when it names no limit.
        sampling: Names the longest completion.
    """
    return [_misfit(len(ids), positions, sampling.max_new_tokens) for ids in prompts]


def draw_fitting(
    model: Checkpoint,
    positions: int | None,
    requests: Sequence[Request],
    prompts: Sequence[list[int]],
    sampling: Sampling,
    draw: Callable[[Sequence[Request], Sequence[list[int]]], list[list[Completion]]],
) -> list[list[Completion]]:
    """What `draw` makes of the requests that fit, and `NO_ROOM` for the optional ones that do not.

    Args:
        model: What is asked, for messages.
        positions: See `misfits`.
        requests: The prompts' requests.
        prompts: Their token ids.
        sampling: Names the longest completion.
        draw: Gives a row of completions for each request, from requests and ids.

    Raises:
        InputError: Prompts that do not fit and are not optional, all of them.
    """
    faults = misfits(prompts, positions, sampling)
    _refuse(model, positions, requests, faults, sampling)
    _tell(model, requests, faults)
    fitting = [place for place, fault in enumerate(faults) if not fault]
    rows = [[NO_ROOM] * sampling.n for _ in requests]
    if fitting:
        drawn = draw([requests[place] for place in fitting], [prompts[place] for place in fitting])
        for place, row in zip(fitting, drawn, strict=True):
            rows[place] = row
    return rows


def _misfit(tokens: int, positions: int | None, new: int) -> str:
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
                f"(prompt tokens + max_new_tokens may be {positions} at most). "
                f"Shorten them, or lower max_new_tokens (now {sampling.max_new_tokens}).",
                wanted,
            )
        )


def _tell(model: Checkpoint, requests: Sequence[Request], faults: Sequence[str]) -> None:
    left_out = [
        f"{request.id} ({fault})" for request, fault in zip(requests, faults, strict=True) if fault
    ]
    if left_out:
        _log.warning(
            "%s: %d of %d prompts leave no room for the longest completion, and are answered with "
            "nothing. First: %s.",
            *(model.name, len(left_out), len(requests), left_out[0]),
        )
