"""Makes the small seed set: IFT examples, ranked EFT responses and held-out prompts."""

import random
from collections.abc import Iterator
from typing import Any

from srlm_kedro.microworld.answers import answer, write
from srlm_kedro.microworld.instructions import Instruction, make, phrase
from srlm_kedro.microworld.oracle import Oracle
from srlm_kedro.microworld.params import AnswererParams

Row = dict[str, Any]


class Prompts:
    """A source of instructions that never returns one twice."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._known: set[str] = set()

    def draw(self, held_out: bool = False) -> tuple[str, Instruction]:
        """A new prompt and what it asks for."""
        while True:
            instruction = make(self._rng, held_out)
            text = phrase(instruction, self._rng)
            if text not in self._known:
                self._known.add(text)
                return text, instruction


def ift_rows(prompts: Prompts, count: int, habits: AnswererParams, rng: random.Random) -> list[Row]:
    """Prompts with one response each."""
    rows = []
    for number in range(count):
        text, instruction = prompts.draw()
        response = write(answer(instruction, habits, rng))
        rows.append({"id": f"ift-{number:04}", "prompt": text, "response": response})
    return rows


def eft_rows(
    prompts: Prompts,
    count: int,
    responses: int,
    habits: AnswererParams,
    rng: random.Random,
    points: bool = False,
) -> list[Row]:
    """Prompts with several different responses each, ranked by their true scores.

    With `points` each response has those of the five criteria too.
    """
    oracle, rows = Oracle(), []
    for number in range(count):
        text, instruction = prompts.draw()
        texts = list(_different(instruction, responses, habits, rng))
        found = [oracle.assess(text, response) for response in texts]
        order = sorted({one.score for one in found}, reverse=True)
        ranked: list[Row] = [
            {"text": response, "rank": order.index(one.score)}
            for response, one in zip(texts, found, strict=True)
        ]
        if points:
            for row, one in zip(ranked, found, strict=True):
                row["points"] = list(one.points)
        rows.append({"id": f"eft-{number:04}", "prompt": text, "responses": ranked})
    return rows


def _different(
    instruction: Instruction, count: int, habits: AnswererParams, rng: random.Random
) -> Iterator[str]:
    known: set[str] = set()
    while len(known) < count:
        text = write(answer(instruction, habits, rng))
        if text not in known:
            known.add(text)
            yield text


def eval_rows(prompts: Prompts, count: int, unseen: float) -> list[Row]:
    """Held-out prompts; the share `unseen` of them has kinds that no training text has."""
    rows = []
    for number in range(count):
        held_out = number < round(unseen * count)
        text, instruction = prompts.draw(held_out)
        row = {"id": f"eval-{number:04}", "prompt": text, "kind": instruction.kind}
        rows.append({**row, "seen": not held_out})
    return rows
