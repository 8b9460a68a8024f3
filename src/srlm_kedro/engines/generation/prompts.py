"""Requests into token ids: the same for every engine that is fed with them."""

import math
from collections.abc import Sequence
from typing import Any

from srlm_kedro.engines import chat
from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.errors import InputError, summary
from srlm_kedro.records import Checkpoint


def tokenised(tokenizer: Any, requests: Sequence[Request]) -> list[list[int]]:
    """Token ids of each request, chat turns and raw texts each in one call of the tokenizer."""
    turns = iter(chat.render_chats(tokenizer, [r.messages for r in requests if r.chat]))
    texts = iter(chat.raw_all(tokenizer, [r.prompt for r in requests if not r.chat]))
    return [next(turns if request.chat else texts) for request in requests]


def refuse_misfits(
    model: Checkpoint,
    positions: int | None,
    requests: Sequence[Request],
    prompts: Sequence[list[int]],
    sampling: Sampling,
) -> None:
    """Every prompt must have a token, and leave room for the longest completion.

    Args:
        model: What is asked, for the message.
        positions: Longest sequence that the model can see, in tokens; None when it names no limit.
        requests: The prompts' requests.
        prompts: Their token ids.
        sampling: Names the longest completion.

    Raises:
        InputError: All prompts that do not fit.
    """
    limit = positions or math.inf
    faults = []
    for request, ids in zip(requests, prompts, strict=True):
        if not ids:
            faults.append(f"request {request.id}: the prompt has no tokens. Give it some text")
        elif len(ids) + sampling.max_new_tokens > limit:
            faults.append(
                f"request {request.id}: {len(ids)} prompt tokens + {sampling.max_new_tokens} new "
                f"ones > {limit}"
            )
    if faults:
        raise InputError(
            summary(
                f"{model.name}: {len(faults)} of {len(requests)} prompts do not fit the model "
                f"(prompt tokens + max_new_tokens may be {limit} at most). "
                f"Shorten them, or lower max_new_tokens (now {sampling.max_new_tokens}).",
                faults,
            )
        )
