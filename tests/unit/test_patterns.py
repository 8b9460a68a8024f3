"""Regular expressions that mean the same in every Python from 3.11.0 on."""

import importlib
import re
from pathlib import Path
from re import _constants as codes
from re import _parser as parser

import pytest

import srlm_kedro

ROOT = Path(srlm_kedro.__file__).parent
_SINGLE = {codes.LITERAL, codes.NOT_LITERAL, codes.ANY, codes.IN, codes.CATEGORY, codes.RANGE}


def modules():
    """Those whose text compiles a pattern, by name."""
    for file in sorted(ROOT.rglob("*.py")):
        text = file.read_text("utf-8")
        if "re.compile(" in text:
            heavy = re.search(r"^(?:from|import) (?:torch|transformers|trl)\b", text, re.MULTILINE)
            name = ".".join(("srlm_kedro", *file.relative_to(ROOT).with_suffix("").parts))
            yield pytest.param(name, marks=[pytest.mark.skip("loads torch")] if heavy else [])


def possessive_groups(pattern):
    """Possessive repeats of more than one character, as the parser has them."""
    found = []
    waiting = [parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, parser.SubPattern):
            waiting += one.data
        elif isinstance(one, tuple | list):
            if len(one) == 2 and one[0] is codes.POSSESSIVE_REPEAT:
                inner = one[1][2]
                if len(inner) != 1 or inner[0][0] not in _SINGLE:
                    found.append(inner)
            waiting += [part for part in one if isinstance(part, tuple | list | parser.SubPattern)]
    return found


@pytest.mark.parametrize("name", list(modules()))
def test_no_group_is_repeated_possessively(name):
    """Python 3.11.0 to 3.11.4 match `(?:a|b)*+` wrongly; `(?>(?:a|b)*)` says the same."""
    values = vars(importlib.import_module(name)).values()
    patterns = [value for value in values if isinstance(value, re.Pattern)]
    patterns += [each for value in values if isinstance(value, dict) for each in value.values()]
    assert not [
        one.pattern for one in patterns if isinstance(one, re.Pattern) and possessive_groups(one)
    ]


def test_such_a_group_would_be_found():
    """And a repeat of one character is none."""
    assert possessive_groups(re.compile(r"x(?:ab|c)*+y"))
    assert not possessive_groups(re.compile(r"x[ab]*+\d++(?>(?:ab|c)*)y"))
