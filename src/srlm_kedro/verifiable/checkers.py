"""Checks constraints by the programs of IFEval, as the evaluation harness lm-eval has them.

Source: Instruction-Following Evaluation (2311.07911). Only seed data and evaluation see these
programs, and rewards if `loop.reward` is `checked` or `both`.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from srlm_kedro.errors import InputError
from srlm_kedro.verifiable.constraints import Constraint
from srlm_kedro.verifiable.fetching import nothing_fetched

Arguments = dict[str, Any]


def is_met(constraint: Constraint, response: str) -> bool:
    """Whether a response meets a constraint; a response without text meets none.

    Deviations, so that a verdict agrees with the words of the instruction: IFEval's program for a
    start accepts any line that begins so, also within a word; here the first line with text begins
    with whole words. A line of dashes alone is no bullet point. A postscript stands after some
    text, and U.P.S. is none.

    Raises:
        InputError: lm-eval with its extra `ifeval` is not installed.
    """
    text = response.strip()
    read = _PARTS[constraint.kind](text) if constraint.kind in _PARTS else response
    return bool(read.strip()) and bool(_checker(constraint).check_following(read))


def refuse_missing() -> None:
    """Imports the programs.

    Raises:
        InputError: lm-eval with its extra `ifeval` is not installed.
    """
    _programs()


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _without_rules(text: str) -> str:
    return _RULE.sub("", text)


def _postscript(text: str) -> str:
    found = _POSTSCRIPT.search(text, pos=1)
    return text[found.start() :] if found else ""


_RULE = re.compile(r"^\s*-[-\s]*$", re.MULTILINE)
_POSTSCRIPT = re.compile(r"(?<![\w.])P\.\s?S\.", re.IGNORECASE)
_PARTS: Mapping[str, Callable[[str], str]] = {
    "start": _first_line,
    "bullets": _without_rules,
    "postscript": _postscript,
}
"""The part of a response that a program reads, if it is not all of it."""


def _word(value: str) -> str:
    return rf"\b{re.escape(value)}\b"


def _whole(value: str) -> str:
    return rf"{re.escape(value)}(?!\w)"


_CHECKERS: Mapping[str, tuple[str, Callable[[str], Arguments]]] = {
    "include": ("KeywordChecker", lambda value: {"keywords": [_word(value)]}),
    "avoid": ("ForbiddenWords", lambda value: {"forbidden_words": [re.escape(value)]}),
    "start": ("ConstrainedStartChecker", lambda value: {"starter": _whole(value)}),
    "bullets": ("BulletListChecker", lambda value: {"num_bullets": int(value)}),
    "short": (
        "NumberOfWords",
        lambda value: {"num_words": int(value), "relation": "less than"},
    ),
    "no_commas": ("CommaChecker", lambda value: {}),
    "postscript": ("PostscriptChecker", lambda value: {"postscript_marker": "P.S."}),
    "long": (
        "NumberOfWords",
        lambda value: {"num_words": int(value), "relation": "at least"},
    ),
    "twice": (
        "KeywordFrequencyChecker",
        lambda value: {"keyword": _word(value), "frequency": 2, "relation": "at least"},
    ),
    "title": ("TitleChecker", lambda value: {}),
}
"""The class of lm-eval for each kind of constraint, and its arguments for a value."""


@cache
def _checker(constraint: Constraint) -> Any:
    name, arguments = _CHECKERS[constraint.kind]
    checker = getattr(_programs(), name)(name)
    checker.build_description(**arguments(constraint.value))
    return checker


@cache
def _programs() -> Any:
    """The module of lm-eval that has the programs.

    Its import would fetch a model of sentences from the network, which none of our kinds needs.
    """
    try:
        with nothing_fetched():
            from lm_eval.tasks.ifeval import instructions
    except ImportError as error:
        raise InputError(
            f"verifiable instructions: their checkers cannot be imported ({error}). Install them: "
            'pip install "srlm_kedro[smollm]".'
        ) from error
    return instructions
