"""What a chat template gets in addition to the chat: the option `template` and one date.

Both are written in front of the template's own text when a tokenizer is read. So everyone who
renders with it renders the same: sampling, judging, training and benchmarks. Imports nothing heavy.
"""

import json
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from difflib import get_close_matches
from typing import Any

from srlm_kedro.errors import InputError, summary

DATE = date(2024, 7, 26)
"""The date for templates that ask for today: with the real one each day would change the prompts.

Llama 3's templates name this date if they have no clock.
"""
Argument = bool | int | float | str
_DATE = "date"
_CLOCK = "strftime_now"
_RENDERERS_OWN = ("messages", "tools", "documents", "add_generation_prompt", _CLOCK)
_DIRECTIVES = "aAbBcCdDeFgGhHIjmMnpRrStTuUVwWxXyY"


def checked(arguments: Mapping[str, Any] | None) -> dict[str, Argument]:
    """The option `template` of an engine: names that a chat template reads, and their values.

    Raises:
        InputError: All names and values that no template can be given.
    """
    faults = []
    for name, value in (arguments or {}).items():
        if not (isinstance(name, str) and name.isidentifier()):
            faults.append(f"{name!r} is not the name of a variable")
        elif name in _RENDERERS_OWN:
            faults.append(f"{name} is reserved: the chat itself is rendered with it")
        elif name == _DATE:
            faults += _date_faults(value)
        elif not isinstance(value, Argument):
            faults.append(f"{name} = {value!r} is not a text, a number, true or false")
    if faults:
        raise InputError(summary("The engine's option `template`: correct it.", faults))
    return {name: str(v) if name == _DATE else v for name, v in (arguments or {}).items()}


def bind(tokenizer: Any, arguments: Mapping[str, Argument], model: str) -> None:
    """Gives the tokenizer's chat template its arguments and one date, whatever day it is.

    A template that reads neither stays as it is.

    Args:
        tokenizer: It is changed only in memory: a model that is saved keeps its own template.
        arguments: As `checked` gives them; `date` is the day that the template's clock returns.
        model: The name of the tokenizer's model, for messages.

    Raises:
        InputError: The template never reads an argument.
    """
    template = tokenizer.get_chat_template() if tokenizer.chat_template else ""
    has_clock = _CLOCK in template
    known = _words(template) | ({_DATE} if has_clock else set())
    if unread := [name for name in arguments if name not in known]:
        faults = [f"{name}{_hint(name, known)}" for name in unread]
        raise InputError(
            summary(
                f"{model}: its chat template never reads {len(unread)} of the arguments. Correct "
                "the engine's option `template`.",
                faults,
            )
        )
    given = [f"{{% set {name} = {_literal(value)} %}}\n" for name, value in arguments.items()]
    day = date.fromisoformat(str(arguments.get(_DATE, DATE.isoformat())))
    head = [_clock(day, template)] if has_clock else []
    if given or head:
        tokenizer.chat_template = "".join([*head, *given, template])


def _date_faults(value: Any) -> list[str]:
    try:
        date.fromisoformat(str(value))
    except ValueError:
        return [f"{_DATE} = {value!r} is not a date such as {DATE}"]
    return []


def _clock(day: date, template: str) -> str:
    """A macro that replaces the renderer's clock, for the directives that the template names."""
    midnight = datetime.combine(day, time())
    named = sorted(set(re.findall(rf"%-?[{_DIRECTIVES}]", template)))
    texts = {one: midnight.strftime(one.replace("-", "")) for one in named}
    texts = {one: text.lstrip("0") or "0" if "-" in one else text for one, text in texts.items()}
    filled = "".join(f" | replace({_literal(k)}, {_literal(v)})" for k, v in texts.items())
    return f"{{% macro {_CLOCK}(format) %}}{{{{ format{filled} }}}}{{% endmacro %}}\n"


def _literal(value: Argument) -> str:
    """The value as Jinja writes it."""
    return json.dumps(value, ensure_ascii=False)


def _words(template: str) -> set[str]:
    """All names in the code of a template."""
    code = " ".join(re.findall(r"\{[{%].*?[%}]\}", template, re.DOTALL))
    return set(re.findall(r"[^\W\d]\w*", code))


def _hint(name: str, known: set[str]) -> str:
    close = get_close_matches(name, sorted(known), 1)
    return f": did you mean {close[0]}?" if close else ""
