"""Instructions, M0's responses to them, and the seed data that programs make of these.

The programs stand where people stood in the paper (section 3.1): IFT is the best response of M0 to
a prompt, EFT says of each response which constraints it meets. After this nothing that trains sees
the programs' verdicts.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any

import pandas as pd

from srlm_kedro.engines.generation.base import GenerationEngine, Request
from srlm_kedro.errors import GateError
from srlm_kedro.params import Reads
from srlm_kedro.pipelines.verifiable.params import VerifiableParams
from srlm_kedro.records import Checkpoint, derive_seed
from srlm_kedro.referee.base import CheckingReferee
from srlm_kedro.verifiable.constraints import ALL_KINDS, KINDS, UNSEEN_KINDS
from srlm_kedro.verifiable.instructions import Instruction, make
from srlm_kedro.verifiable.topics import TOPICS, UNSEEN_TOPICS

INSTRUCTIONS = ["id", "use", "prompt", "kind", "seen"]
"""`use` is `ift`, `eft` or `eval`. `seen` is False for an unseen topic or kind, which `kind` names
by its first word."""
RESPONSES = ["id", "response", "finish"]


def make_instructions(verifiable: VerifiableParams) -> pd.DataFrame:
    """All seed prompts, each once: columns `INSTRUCTIONS`."""
    known: set[str] = set()
    numbers: Counter[str] = Counter()
    rows = []
    for use, label, draw in _wanted(verifiable):
        instruction = draw()
        while instruction.text in known:
            instruction = draw()
        known.add(instruction.text)
        numbers[use] += 1
        kind = f"{label}{instruction.kind}"
        rows.append((f"{use}-{numbers[use]:04d}", use, instruction.text, kind, not label))
    return pd.DataFrame(rows, columns=INSTRUCTIONS)


def draw_seed_responses(
    model: Checkpoint,
    instructions: pd.DataFrame,
    generation_engine: GenerationEngine,
    verifiable: Annotated[VerifiableParams, Reads("seed", "sampling")],
) -> pd.DataFrame:
    """M0's responses to the prompts of IFT and EFT: columns `RESPONSES`."""
    asked = instructions[instructions["use"] != "eval"]
    requests = [Request(row.id, row.prompt) for row in asked.itertuples()]
    seed = derive_seed(verifiable.seed, "seed responses")
    drawn = generation_engine.generate(model, requests, verifiable.sampling, seed)
    rows = [
        (request.id, completion.text, completion.finish)
        for request, completions in zip(requests, drawn, strict=True)
        for completion in completions
    ]
    return pd.DataFrame(rows, columns=RESPONSES)


def check_seed_responses(
    instructions: pd.DataFrame, seed_responses: pd.DataFrame, checker: CheckingReferee
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """IFT, EFT and held-out prompts.

    An IFT response is complete and meets the most constraints, at least one; of equal ones the
    first. EFT has all different responses with text to a prompt, and each one's points. A prompt
    without such responses is left out.

    Raises:
        GateError: No response meets a constraint.
    """
    table = seed_responses.merge(instructions, on="id")
    table = table[table["response"].str.strip() != ""].drop_duplicates(["id", "response"])
    found = checker.assess_all(list(zip(table["prompt"], table["response"], strict=True)))
    points = [[met for _, met in one.verdicts] for one in found]
    table = table.assign(points=points, share=[sum(each) / len(each) for each in points])
    ift = pd.DataFrame(_best(table[table["use"] == "ift"]), columns=["id", "prompt", "response"])
    eft = pd.DataFrame(_ranked(table[table["use"] == "eft"]), columns=["id", "prompt", "responses"])
    if ift.empty or eft.empty:
        raise GateError(
            f"seed data: of {len(table)} responses, {int((table['share'] > 0).sum())} meet a "
            "constraint, which is too few for IFT and EFT. Use a model that follows instructions."
        )
    held_out = instructions.loc[instructions["use"] == "eval", ["id", "prompt", "kind", "seen"]]
    return ift, eft, held_out.reset_index(drop=True)


def _wanted(
    verifiable: VerifiableParams,
) -> Iterator[tuple[str, str, Callable[[], Instruction]]]:
    """The use of each prompt, a label if its topic or kind is unseen, and what draws one.

    Each use has random numbers of its own, so that more prompts of one change none of another.
    """
    ift, eft, held = (
        random.Random(derive_seed(verifiable.seed, "instructions", use))
        for use in ("ift", "eft", "eval")
    )
    held_out = verifiable.eval_prompts
    topics = round(held_out * verifiable.unseen_topics)
    kinds = min(round(held_out * verifiable.unseen_kinds), held_out - topics)
    unseen_topic = partial(make, held, UNSEEN_TOPICS, KINDS)
    unseen_kind = partial(make, held, TOPICS, ALL_KINDS, UNSEEN_KINDS)
    yield from [("ift", "", partial(make, ift))] * verifiable.ift
    yield from [("eft", "", partial(make, eft))] * verifiable.eft
    yield from [("eval", "", partial(make, held))] * (held_out - topics - kinds)
    yield from [("eval", "unseen topic: ", unseen_topic)] * topics
    yield from [("eval", "unseen kind: ", unseen_kind)] * kinds


def _best(table: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """The best complete response to each prompt, if it meets a constraint."""
    complete = table[(table["finish"] == "stop") & (table["share"] > 0)]
    for name, group in complete.groupby("id", sort=False):
        best = group.loc[group["share"].idxmax()]
        yield str(name), best["prompt"], best["response"]


def _ranked(table: pd.DataFrame) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """The responses to each prompt with their ranks and points; two or more."""
    for name, group in table.groupby("id", sort=False):
        if len(group) < 2:
            continue
        ranks = (group["share"].rank(method="dense", ascending=False) - 1).astype(int)
        texts = zip(group["response"], ranks, group["points"], strict=True)
        responses = [{"text": text, "rank": rank, "points": met} for text, rank, met in texts]
        yield str(name), group["prompt"].iloc[0], responses
