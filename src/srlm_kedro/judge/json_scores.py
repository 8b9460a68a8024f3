"""The scores of a judgement that is written as JSON."""

import json
import re
from collections.abc import Sequence

_FENCE = re.compile(r"\s*```(?:json)?\s*(\{.*\})\s*```\s*\Z", re.DOTALL | re.IGNORECASE)
_KEY = re.compile(
    r"(?:(?:total|final|overall)[ _-]?)?(?:score|rating|grade)|total(?:[ _-]points)?|overall",
    re.IGNORECASE,
)


def json_scores(text: str) -> Sequence[tuple[str, str]] | None:
    """The fields that state a score, as label and value in words; None for what is no JSON object.

    Only fields of the object itself count: those within others are points of a criterion.
    """
    if not text.rstrip("` \n\t").endswith("}"):
        return None
    fenced = _FENCE.match(text)
    try:
        found = json.loads(fenced[1] if fenced else text, object_pairs_hook=list, parse_float=str)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or not all(isinstance(one, tuple) for one in found):
        return None
    return [
        (name.replace("_", " "), _shown(value)) for name, value in found if _KEY.fullmatch(name)
    ]


def _shown(value: object) -> str:
    """Words that mean what the field holds; nothing that lies deeper is a score."""
    return str(value).replace("\n", " ") if isinstance(value, str | int | float) else "?"
