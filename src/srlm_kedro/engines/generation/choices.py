"""The first tokens of named answers, by which a model's next token tells them apart.

Imports nothing heavy.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from srlm_kedro.engines import chat
from srlm_kedro.engines.generation.base import Choices
from srlm_kedro.errors import InputError, summary
from srlm_kedro.records import Checkpoint


def check_choices(choices: Choices) -> None:
    """Checks spellings as texts, for every engine.

    Raises:
        InputError: There is no choice, one has no spelling or an empty one, or two share one.
    """
    if faults := list(_form_faults(choices)):
        raise InputError(summary("The named answers cannot be read. Correct them.", faults))


def first_tokens(model: Checkpoint, tokenizer: Any, choices: Choices) -> list[list[int]]:
    """For each choice, the distinct tokens with which its spellings begin an answer.

    A spelling is tokenised as training tokenises a completion after a prompt.

    Args:
        model: For messages.
        tokenizer: The model's.
        choices: See `Choices`.

    Raises:
        InputError: See `check_choices`; or the model's first token cannot tell two choices apart,
            or the tokenizer has no token for a spelling's beginning.
    """
    check_choices(choices)
    begun = [_first_of_each(tokenizer, spellings) for spellings in choices]
    faults = [*_unknown(tokenizer, begun), *_shared(tokenizer, begun)]
    if faults:
        raise InputError(
            summary(
                f"{model.name}: its first token cannot tell the named answers apart. "
                "Name spellings that begin with other tokens.",
                faults,
            )
        )
    return [sorted(set(tokens.values())) for tokens in begun]


def log_of_sum(logarithms: Sequence[float]) -> float:
    """The logarithm of the sum of the numbers whose logarithms are given; at least one."""
    top = max(logarithms)
    if math.isinf(top):
        return top
    return top + math.log(math.fsum(math.exp(one - top) for one in logarithms))


def _form_faults(choices: Choices) -> Iterator[str]:
    if not choices:
        yield "no answer is named"
    for number, spellings in enumerate(choices, 1):
        if not spellings:
            yield f"answer {number} has no spelling"
        if "" in spellings:
            yield f"answer {number} has an empty spelling"
    for one, other in combinations(choices, 2):
        for spelling in sorted(set(one) & set(other) - {""}):
            yield f"{spelling!r} is a spelling of two answers"


def _first_of_each(tokenizer: Any, spellings: Sequence[str]) -> dict[str, int]:
    rows = chat.render_completions(tokenizer, spellings, [False] * len(spellings))
    return {spelling: row[0] for spelling, row in zip(spellings, rows, strict=True)}


def _unknown(tokenizer: Any, begun: Sequence[dict[str, int]]) -> Iterator[str]:
    for tokens in begun:
        for spelling, token in tokens.items():
            if token == tokenizer.unk_token_id:
                yield f"the tokenizer has no token for the beginning of {spelling!r}"


def _shared(tokenizer: Any, begun: Sequence[dict[str, int]]) -> Iterator[str]:
    for one, other in combinations(begun, 2):
        for token in sorted(set(one.values()) & set(other.values())):
            names = [next(s for s, t in tokens.items() if t == token) for tokens in (one, other)]
            text = tokenizer.convert_ids_to_tokens(token)
            yield f"{names[0]!r} and {names[1]!r} begin with the same token {token} ({text!r})"
