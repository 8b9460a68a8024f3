r"""Text that a model or a file brought, as people get to see it.

It can hold what steers a terminal, turns the direction of writing around, passes for markup, or is
no Unicode at all. Tables keep it as it came; where it is shown, what has no shape of its own is
written out (`\x1b`, `\u202e`), and what is too long is cut.
"""

import json
import re
import unicodedata
from typing import Any
from urllib.parse import quote

_LONGEST = 4000
"""Characters of one text in a page or a table."""
_END = 40
_HALF = re.compile(r"[\ud800-\udfff]")
_FORMLESS = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's control, format and surrogate characters, and its own ends of lines."""
_KEPT = "\n\t\u200c\u200d"
"""Ends of lines, tabs, and the joiners of Persian, Hindi and emoji."""


def sound(text: str) -> str:
    """The text as UTF-8 can hold it: half a surrogate pair becomes a replacement character."""
    return _HALF.sub("\ufffd", text)


def visible(text: str, longest: int = _LONGEST) -> str:
    """The text in its lines, harmless in a terminal, a log or a table."""
    unified = text[: longest + 1].replace("\r\n", "\n")
    shown = "".join(_written_out(character) for character in unified[:longest])
    return shown if len(text) <= longest else f"{shown}…"


def one_line(text: str, longest: int) -> str:
    """The start of a text for a message or a log, where a line of its own could pass for ours."""
    return visible(" ".join(text[: longest + 1].split()), longest)


def without(text: str, secret: str) -> str:
    """The text with `***` for a secret, written as it is or as JSON, Python or a URL writes it.

    To be done before the text is cut: half a secret is not found.
    """
    python, json_ = repr(secret)[1:-1], json.dumps(secret)[1:-1]
    for spelling in (secret, python, json_, quote(secret, safe=""), quote(secret)):
        text = text.replace(spelling, "***")
    return text


def ending(text: str) -> str:
    """The end of a text in quotes: what a message quotes of a judgement that cannot be read."""
    return f'"…{one_line(text[-_END:], _END)}"'


def page(template: str, **values: Any) -> str:
    """An HTML page in ASCII in which every value is text, whatever markup it holds.

    Args:
        template: A Jinja template; a name that `values` lack is an error.
        values: What it shows.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_shown
    )
    written = environment.from_string(template).render(values)
    return written.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) else value


def _written_out(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _FORMLESS:
        return character
    return character.encode("unicode_escape").decode("ascii")
