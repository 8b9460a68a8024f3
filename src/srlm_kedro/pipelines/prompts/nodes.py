"""New prompts by few-shot prompting, sieved. Paper: section 2.2, generate a new prompt.

Writing and accepting are two nodes: everything written is on disk before a limit can stop the run.
"""

import logging
import math
import random
from collections.abc import Sequence

import pandas as pd

from srlm_kedro.engines.generation.base import GenerationEngine, Request
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.params import at
from srlm_kedro.pipelines.prompts.filters import REASONS, Sieve
from srlm_kedro.pipelines.prompts.novelty import Novelty
from srlm_kedro.pipelines.prompts.params import (
    PromptsParams,
    check_few_shot_prompt,
    fill_few_shot_prompt,
)
from srlm_kedro.records import Checkpoint, derive_seed

WRITTEN = ["request_id", "sample", "text", "finish", "thought", "prompt", "reason"]

# Rounds ask for what is missing over the share accepted so far, within these bounds.
_FIRST_GUESS, _LEAST_SHARE = 0.7, 0.05

logger = logging.getLogger(__name__)


def write_prompts(
    writer: Checkpoint,
    policy: Checkpoint,
    ift: pd.DataFrame,
    eft_ranked: pd.DataFrame,
    earlier_prompts: pd.DataFrame,
    few_shot_prompt: str,
    generation_engine: GenerationEngine,
    prompts: PromptsParams,
    seed: int,
    policy_checked: dict[str, bool],
) -> pd.DataFrame:
    """Everything that `writer` wrote for the next iteration, with `ok` or the reason against it.

    Rounds of writing go on until `count` prompts are accepted or `max_written` are written.
    Demonstrations depend on the seed, the iteration and the number of the few-shot prompt.

    Args:
        writer: The model that writes.
        policy: M_t; the prompts are those of M_(t+1).
        ift: Source of demonstrations, and known prompts.
        eft_ranked: Known prompts.
        earlier_prompts: `prompt` of earlier iterations: demonstrations, and known prompts.
        few_shot_prompt: Template, see `params`.
        generation_engine: Draws the continuations.
        prompts: Knobs.
        seed: Of the whole run.
        policy_checked: The word of the guard over M_t, if there is one: nothing begins before it.
    """
    own = list(earlier_prompts["prompt"])
    ask = _FewShot(policy.iteration + 1, few_shot_prompt, list(ift["prompt"]), own, prompts, seed)
    known = [*ift["prompt"], *eft_ranked["prompt"].unique(), *own]
    sieve = Sieve(prompts.filters, Novelty(known, prompts.filters.max_rouge_l))
    goal = at(prompts.count, policy.iteration + 1)
    budget = at(prompts.max_written, policy.iteration + 1)
    rows: list[tuple] = []
    asked = accepted = 0
    while number := _needed(goal, budget, accepted, len(rows), prompts.sampling.n):
        requests = ask.requests(asked, number)
        asked += number
        own_seed = derive_seed(seed, "prompts")
        drawn = generation_engine.generate(writer, requests, prompts.sampling, own_seed)
        for request, completions in zip(requests, drawn, strict=True):
            for sample, completion in enumerate(completions):
                if accepted == goal:
                    prompt, reason = completion.text.strip(), "surplus"
                else:
                    prompt, reason = sieve.sift(completion.text, completion.finish)
                accepted += reason == "ok"
                raw = (completion.text, completion.finish, completion.thought)
                rows.append((request.id, sample, *raw, prompt, reason))
    return pd.DataFrame(rows, columns=WRITTEN)


def accept_prompts(
    written_prompts: pd.DataFrame,
    earlier_prompts: pd.DataFrame,
    policy: Checkpoint,
    prompts: PromptsParams,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, float]]:
    """The accepted prompts with ids such as `m2-p0001`; them and all earlier ones; the refused.

    Returns:
        `prompts`, `known_prompts` (both prompt_id, prompt), `prompt_drops` (prompt, reason), and
        counts.

    Raises:
        GateError: Fewer than `min_accepted` prompts were accepted.
    """
    name = f"m{policy.iteration + 1}"
    goal = at(prompts.count, policy.iteration + 1)
    accepted = written_prompts["reason"] == "ok"
    texts = written_prompts.loc[accepted, "prompt"].to_list()
    ids = [f"{name}-p{number:04d}" for number in range(1, len(texts) + 1)]
    table = pd.DataFrame({"prompt_id": ids, "prompt": texts}, dtype=str)
    known = pd.concat([earlier_prompts[table.columns].astype(str), table], ignore_index=True)
    drops = written_prompts.loc[~accepted, ["prompt", "reason"]].reset_index(drop=True)
    refused = drops["reason"].value_counts()
    found = f"{name}.prompts: {len(table)} of {len(written_prompts)} written prompts were accepted"
    common = ", ".join(f"{reason} {number}" for reason, number in refused.head(3).items())
    if len(table) < prompts.min_accepted:
        raise GateError(
            f"{found} (limit `prompts.min_accepted` = {prompts.min_accepted}). "
            f"Refused most often: {common}. Raise `prompts.max_written` (now "
            f"{at(prompts.max_written, policy.iteration + 1)}), or read the written prompts."
        )
    short = max(goal - len(table), 0)
    if short:
        logger.warning("%s, %d short of `prompts.count`; refused: %s.", found, short, common)
    metrics = {
        "prompts/accepted": float(len(table)),
        "prompts/written": float(len(written_prompts)),
        "prompts/accepted_share": len(table) / len(written_prompts),
        "prompts/short_of_count": float(short),
        "prompts/mean_words": float(table["prompt"].str.split().str.len().mean()),
        **{f"prompts/rejected_{reason}": float(refused.get(reason, 0)) for reason in REASONS},
    }
    return table, known, drops, metrics


class _FewShot:
    """Few-shot prompts by number."""

    def __init__(
        self,
        iteration: int,
        template: str,
        ift: Sequence[str],
        own: Sequence[str],
        prompts: PromptsParams,
        seed: int,
    ) -> None:
        self._iteration, self._template, self._seed = iteration, template, seed
        self._ift, self._own = ift, own
        self._chat = prompts.chat
        self._from_own = min(prompts.model_demonstrations, len(own))
        self._from_ift = prompts.ift_demonstrations + prompts.model_demonstrations - self._from_own
        check_few_shot_prompt(template)
        if len(ift) < self._from_ift:
            raise InputError(
                f"few-shot prompt: {self._from_ift} demonstrations are wanted of {len(ift)} IFT "
                "prompts. Give more rows, or lower `prompts.ift_demonstrations`."
            )

    def requests(self, start: int, count: int) -> list[Request]:
        """The requests with the numbers from `start` on."""
        return [
            Request(
                f"m{self._iteration}-w{number:05d}",
                self._text(number),
                chat=self._chat,
                optional=True,
            )
            for number in range(start, start + count)
        ]

    def _text(self, number: int) -> str:
        rng = random.Random(
            derive_seed(self._seed, "demonstrations", str(self._iteration), str(number))
        )
        drawn = rng.sample(self._ift, self._from_ift) + rng.sample(self._own, self._from_own)
        rng.shuffle(drawn)
        return fill_few_shot_prompt(self._template, drawn)


def _needed(goal: int, budget: int, accepted: int, written: int, n: int) -> int:
    """Few-shot prompts of the next round; 0 when there is enough, or nothing left to spend."""
    share = max(accepted / written, _LEAST_SHARE) if written else _FIRST_GUESS
    wanted = math.ceil((goal - accepted) / (n * share))
    return max(min(wanted, (budget - written) // n), 0)
