"""New prompts by few-shot prompting, and their filters. Paper: section 2.2, generate a new prompt.

One node writes and another accepts, so that all written prompts are on disk before a limit can stop
the run.
"""

import logging
import math
import random
from collections.abc import Sequence
from functools import partial

import pandas as pd

from srlm_kedro.engines.generation.base import GenerationEngine, Request
from srlm_kedro.errors import GateError, InputError, counted
from srlm_kedro.judge.criteria import CriteriaPrompt, prompt_fault
from srlm_kedro.params import at
from srlm_kedro.pipelines.prompts.filters import BY_CRITERIA, REASONS, Filters
from srlm_kedro.pipelines.prompts.novelty import Novelty
from srlm_kedro.pipelines.prompts.params import (
    PromptsParams,
    check_few_shot_prompt,
    fill_few_shot_prompt,
)
from srlm_kedro.records import Checkpoint, derive_seed

WRITTEN = ["request_id", "sample", "text", "finish", "thought", "prompt", "reason"]

# A round asks for the missing prompts, divided by the accepted share so far. These are the share
# that the first round assumes, and the least that later rounds assume.
_FIRST_SHARE, _LEAST_SHARE = 0.7, 0.05

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
    criteria_prompt: CriteriaPrompt | None = None,
) -> pd.DataFrame:
    """All that `writer` wrote for the next iteration, each with `ok` or the reason of its refusal.

    The writer goes on until `count` prompts are accepted or `max_written` are written. The
    demonstrations depend on the seed, the iteration, and the number of the few-shot prompt.

    Args:
        writer: The model that writes.
        policy: M_t; the prompts are those of M_(t+1).
        ift: Known prompts, and demonstrations.
        eft_ranked: Known prompts.
        earlier_prompts: The prompts of earlier iterations: known prompts, and demonstrations.
        few_shot_prompt: The template, see `prompts.params`.
        generation_engine: Draws the continuations.
        prompts: The parameters.
        seed: The seed of the run.
        policy_checked: The guard over M_t, if there is one; nothing is written before it opens.
        criteria_prompt: What the judge is asked, if by criteria; its rubric refuses prompts, too.
    """
    earlier = list(earlier_prompts["prompt"])
    few_shot = _FewShot(
        policy.iteration + 1, few_shot_prompt, list(ift["prompt"]), earlier, prompts, seed
    )
    known = [*ift["prompt"], *eft_ranked["prompt"].unique(), *earlier]
    novelty = Novelty(known, prompts.filters.max_rouge_l)
    filters = Filters(prompts.filters, novelty, partial(prompt_fault, criteria_prompt))
    goal = at(prompts.count, policy.iteration + 1)
    budget = at(prompts.max_written, policy.iteration + 1)
    rows: list[tuple] = []
    asked = accepted = 0
    while number := _needed(goal, budget, accepted, len(rows), prompts.sampling.n):
        requests = few_shot.requests(asked, number)
        asked += number
        stage_seed = derive_seed(seed, "prompts")
        drawn = generation_engine.generate(writer, requests, prompts.sampling, stage_seed)
        for request, completions in zip(requests, drawn, strict=True):
            for sample, completion in enumerate(completions):
                if accepted == goal:
                    prompt, reason = completion.text.strip(), "surplus"
                else:
                    prompt, reason = filters.accept_or_refuse(completion.text, completion.finish)
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
    """The accepted prompts, which get ids such as `m2-p0001`, and the refused ones.

    Returns:
        `prompts` (prompt_id, prompt), `known_prompts` (the same with those of earlier iterations),
        `prompt_drops` (prompt, reason), and counts.

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
    common = counted(refused.to_dict(), REASONS)
    if len(table) < prompts.min_accepted:
        raise GateError(
            f"{found} (limit `prompts.min_accepted` = {prompts.min_accepted}). "
            f"Refused: {common}. {_advice(refused.to_dict(), policy.iteration + 1, prompts)} All "
            f"written prompts are kept in `{name}.written_prompts`: read some."
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
        **{
            f"prompts/rejected_{reason}": float(refused.get(reason, 0))
            for reason in REASONS
            if reason not in BY_CRITERIA or reason in refused
        },
    }
    return table, known, drops, metrics


def _advice(refused: dict[str, int], t: int, prompts: PromptsParams) -> str:
    """What gives more accepted prompts, as sentences."""
    limit = f"`prompts.sampling.max_new_tokens` (now {prompts.sampling.max_new_tokens})"
    parts = [f"Raise {limit}."] if refused.get("cut_off") else []
    if refused.get("no_room"):
        parts.append(f"Lower {limit}, or use fewer demonstrations (`prompts.ift_demonstrations`).")
    if refused.get("duplicate") or refused.get("similar"):
        parts.append("For more variety raise `prompts.sampling.temperature`.")
    parts.append(
        f"Raise `prompts.max_written` (now {at(prompts.max_written, t)}), or let another model "
        "write (`loop.prompt_generator`: m0 or fixed)."
    )
    return " ".join(parts)


class _FewShot:
    """Makes the few-shot prompts of one iteration, by their numbers."""

    def __init__(
        self,
        iteration: int,
        template: str,
        ift: Sequence[str],
        earlier: Sequence[str],
        prompts: PromptsParams,
        seed: int,
    ) -> None:
        self._iteration, self._template, self._seed = iteration, template, seed
        self._ift, self._earlier = ift, earlier
        self._chat = prompts.chat
        self._from_earlier = min(prompts.model_demonstrations, len(earlier))
        self._from_ift = (
            prompts.ift_demonstrations + prompts.model_demonstrations - self._from_earlier
        )
        check_few_shot_prompt(template)
        if len(ift) < self._from_ift:
            raise InputError(
                f"few-shot prompt: it needs {self._from_ift} demonstrations, and IFT has "
                f"{len(ift)} prompts. Give more rows, or lower `prompts.ift_demonstrations`."
            )

    def requests(self, start: int, count: int) -> list[Request]:
        """`count` requests, whose numbers begin with `start`."""
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
        drawn = rng.sample(self._ift, self._from_ift) + rng.sample(
            self._earlier, self._from_earlier
        )
        rng.shuffle(drawn)
        return fill_few_shot_prompt(self._template, drawn)


def _needed(goal: int, budget: int, accepted: int, written: int, n: int) -> int:
    """Few-shot prompts of the next round; 0 if enough is accepted, or the budget is spent."""
    share = max(accepted / written, _LEAST_SHARE) if written else _FIRST_SHARE
    wanted = math.ceil((goal - accepted) / (n * share))
    return max(min(wanted, (budget - written) // n), 0)
