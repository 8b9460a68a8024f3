"""The prompts of evaluation sets, and the runs of words that training texts share with them.

A table holds all runs of `n` words of the evaluation prompts. Training texts are read once and
their runs looked up there. Evaluation sets are small, so memory does not grow with training data.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from srlm_kedro.errors import InputError, summary

_WORD = re.compile(r"[^\W_]+")
_FORMS = (
    "id and prompt, key and prompt (IFEval), instruction (AlpacaEval), or question_id and turns "
    "(MT-Bench)"
)

EvalSet = pd.DataFrame | list[dict[str, Any]] | None
"""None: a set that need not be there, and is not."""


def read_eval_sets(eval_sets: Mapping[str, EvalSet]) -> dict[str, pd.DataFrame]:
    """Each set as a table id, prompt. AlpacaEval rows get numbers; each MT-Bench turn is a row.

    A set that is None is left out.

    Raises:
        InputError: All sets that are empty or of an unknown form.
    """
    tables = {
        name: _read(pd.DataFrame(given)) for name, given in eval_sets.items() if given is not None
    }
    faults = [
        f"{name}: no prompts" if table is not None else f"{name}: needs columns {_FORMS}"
        for name, table in tables.items()
        if table is None or table.empty
    ]
    if faults:
        raise InputError(summary("contamination: evaluation sets that cannot be read.", faults))
    return {name: table for name, table in tables.items() if table is not None}


def _read(given: pd.DataFrame) -> pd.DataFrame | None:
    """The set's prompts; None if its form is unknown."""
    if {"id", "prompt", "follow_up"} <= set(given):
        rows = [
            (f"{row.id}-t{number}", turn)
            for row in given.itertuples()
            for number, turn in enumerate((row.prompt, row.follow_up), 1)
        ]
        return pd.DataFrame(rows, columns=["id", "prompt"], dtype=str)
    if {"id", "prompt"} <= set(given):
        return given[["id", "prompt"]].astype(str)
    if {"key", "prompt"} <= set(given):
        return given.rename(columns={"key": "id"})[["id", "prompt"]].astype(str)
    if "instruction" in given:
        ids = [str(number) for number in range(len(given))]
        return pd.DataFrame({"id": ids, "prompt": given["instruction"].to_list()}, dtype=str)
    if {"question_id", "turns"} <= set(given):
        rows = [
            (f"{row.question_id}-t{number}", turn)
            for row in given.itertuples()
            for number, turn in enumerate(row.turns, 1)
        ]
        return pd.DataFrame(rows, columns=["id", "prompt"], dtype=str)
    return given if given.empty else None


@dataclass
class Hit:
    """The training text of a source with the largest overlap with one evaluation prompt."""

    exact: bool
    overlap: float
    """Share of the evaluation prompt's different runs that the text contains; 1 if equal."""
    source_id: str
    """The first of the texts with the largest overlap."""
    texts: int
    """Number of texts of the source with any overlap."""


def words(text: str) -> tuple[str, ...]:
    """Lower-cased runs of letters and digits of any script."""
    return tuple(_WORD.findall(text.lower()))


class Overlap:
    """Evaluation prompts, indexed by their runs of words."""

    def __init__(self, prompts: Sequence[str], ngram: int) -> None:
        self._ngram = ngram
        self._whole: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        self._runs: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        self._sizes: list[int] = []
        for number, prompt in enumerate(prompts):
            prompt_words = words(prompt)
            if prompt_words:
                self._whole[prompt_words].append(number)
            runs = self._runs_of(prompt_words)
            self._sizes.append(len(runs))
            for run in runs:
                self._runs[run].append(number)

    def search(self, texts: Iterable[tuple[str, str]]) -> dict[int, Hit]:
        """The best hit of each evaluation prompt, by its position, in texts (id, text)."""
        found: dict[int, Hit] = {}
        for text_id, text in texts:
            text_words = words(text)
            equal = self._whole.get(text_words, ())
            shared = Counter(
                number for run in self._runs_of(text_words) for number in self._runs.get(run, ())
            )
            for number in sorted({*equal, *shared}):
                exact = number in equal
                overlap = 1.0 if exact else shared[number] / self._sizes[number]
                _record(found, number, Hit(exact, overlap, text_id, 1))
        return found

    def _runs_of(self, text_words: tuple[str, ...]) -> set[tuple[str, ...]]:
        return set(zip(*(text_words[start:] for start in range(self._ngram)), strict=False))


def _record(found: dict[int, Hit], number: int, hit: Hit) -> None:
    known = found.get(number)
    if known is None:
        found[number] = hit
        return
    known.texts += 1
    if (hit.exact, hit.overlap) > (known.exact, known.overlap):
        known.exact, known.overlap, known.source_id = hit.exact, hit.overlap, hit.source_id
