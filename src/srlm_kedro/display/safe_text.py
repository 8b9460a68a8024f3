r"""Makes text that came from a model or a file safe to show.

Such text can hold characters that steer a terminal or reverse the direction of writing, it can pass
for markup, and it can be invalid Unicode. Tables keep the text as it came. Wherever it is shown,
characters without a shape of their own are written as escapes (`\x1b`, `\u202e`), and long texts
are cut.
"""

import json
import re
import unicodedata
from typing import Any
from urllib.parse import quote

_LONGEST = 4000
"""Characters of one text in a page or a table."""
_END = 40
"""Characters that `quoted_end` shows."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SHAPELESS = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's control, format and surrogate characters, and its line and paragraph separators."""
_KEPT = "\n\t\u200c\u200d"
"""Line ends, tabs, and the joiners that Persian, Hindi and emoji need."""


def encodable(text: str) -> str:
    """The text as UTF-8 can hold it: half a surrogate pair becomes a replacement character."""
    return _SURROGATE.sub("\ufffd", text)


def escaped(text: str, longest: int = _LONGEST) -> str:
    """The text with its lines, harmless in a terminal, a log or a table."""
    unified = text[: longest + 1].replace("\r\n", "\n")
    shown = "".join(_escape(character) for character in unified[:longest])
    return shown if len(text) <= longest else f"{shown}…"


def one_line(text: str, longest: int) -> str:
    """The start of a text on one line, for a message or a log: a line of its own could mislead."""
    return escaped(" ".join(text[: longest + 1].split()), longest)


def redacted(text: str, secret: str) -> str:
    """The text with `***` for a secret, written as it is or as JSON, Python or a URL writes it.

    Call it before the text is cut, because it cannot find half a secret.
    """
    python, json_ = repr(secret)[1:-1], json.dumps(secret)[1:-1]
    for spelling in (secret, python, json_, quote(secret, safe=""), quote(secret)):
        text = text.replace(spelling, "***")
    return text


def quoted_end(text: str) -> str:
    """The end of a text in quotes: what a message quotes of a judgement that cannot be parsed."""
    return f'"…{one_line(text[-_END:], _END)}"'


def render_page(template: str, **values: Any) -> str:
    """An HTML page in ASCII; every value is shown as text, whatever markup it holds.

    Args:
        template: A Jinja template; a name that `values` lack is an error.
        values: What it shows.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_escape_value
    )
    page = environment.from_string(template).render(values)
    return page.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _escape_value(value: Any) -> Any:
    return escaped(value) if isinstance(value, str) else value


def _escape(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _SHAPELESS:
        return character
    return character.encode("unicode_escape").decode("ascii")
