"""Human conversations into seed data: only first turns, only by people, no prompt in two tables.

Paper: section 3.1. IFT gets the reply that people liked best, EFT all replies that they ranked.
"""

import logging
from collections.abc import Sequence

import pandas as pd

from srlm_kedro.errors import InputError
from srlm_kedro.pipelines.oasst.screening import REASONS, Group, OasstParams, screen
from srlm_kedro.records import derive_seed

_log = logging.getLogger(__name__)


def select_oasst(
    oasst_messages: pd.DataFrame, oasst: OasstParams, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, float]]:
    """The seed tables, as a `SeedDataset` gives them, the dropped messages, and the counts.

    The table of a prompt depends only on the prompts and the seed, not on the export's order or
    file format. Ids are the message ids of the prompts.

    Returns:
        `ift_seed` (id, prompt, response), `eft_seed` (id, prompt, responses = [{text, rank}],
        rank 0 the best of those kept), `eval_prompts` (id, prompt, kind, seen), `seed_drops`
        (message_id, reason) and the metrics. Messages = prompts + ranked replies + drops.
        `oasst/ift_short` and `oasst/eval_short` say how many rows are lacking to the numbers that
        were asked for; the log says why.

    Raises:
        InputError: No prompt is left for IFT, or for EFT if `eft_share` is above 0.
    """
    drops, groups = screen(oasst_messages, oasst)
    ift, eft, held_out = _split(groups, oasst, seed)
    metrics = {
        **_counts(oasst_messages, groups, drops),
        "oasst/ift_examples": float(len(ift)),
        "oasst/eft_prompts": float(len(eft)),
        "oasst/eft_replies": float(sum(len(group.replies) for group in eft)),
        "oasst/eval_prompts": float(len(held_out)),
        "oasst/unused_prompts": float(len(groups) - len(ift) - len(eft) - len(held_out)),
        "oasst/ift_short": float(max((oasst.ift_count or 0) - len(ift), 0)),
        "oasst/eval_short": float(oasst.eval_count - len(held_out)),
    }
    _refuse_empty(ift, eft, oasst, drops)
    _tell_sizes(metrics, oasst)
    return _ift_table(ift), _eft_table(eft), _eval_table(held_out), drops, metrics


def _tell_sizes(found: dict[str, float], oasst: OasstParams) -> None:
    """Logs how large the tables are; warns of each that is smaller than was asked for, and why."""
    counts = {name.removeprefix("oasst/"): int(number) for name, number in found.items()}
    ift, held_out, prompts = counts["ift_examples"], counts["eval_prompts"], counts["prompts"]
    _log.info(
        "oasst: of %d usable prompts, %d are held out for evaluation, %d go to EFT (%d replies), "
        "%d to IFT.",
        *(prompts, held_out, counts["eft_prompts"], counts["eft_replies"], ift),
    )
    if counts["eval_short"]:
        _log.warning(
            "`oasst.eval_count` = %d evaluation prompts were asked for, there are %d: "
            "`oasst.max_eval_share` = %g of %d prompts allows no more. Raise it, or give a larger "
            "export.",
            *(oasst.eval_count, held_out, oasst.max_eval_share, prompts),
        )
    if counts["ift_short"]:
        _log.warning(
            "`oasst.ift_count` = %d IFT examples were asked for, there are %d: of %d prompts, %d "
            "are held out, %d are EFT's, and the best reply of %d was dropped. Lower "
            "`oasst.eft_share` (now %g), drop fewer messages (`oasst`), or give a larger export.",
            *(oasst.ift_count, ift, prompts, held_out, counts["eft_prompts"]),
            *(counts["unused_prompts"], oasst.eft_share),
        )


def _split(
    groups: Sequence[Group], oasst: OasstParams, seed: int
) -> tuple[list[Group], list[Group], list[Group]]:
    order = sorted(groups, key=lambda group: derive_seed(seed, "oasst split", group.key))
    held = min(oasst.eval_count, int(len(order) * oasst.max_eval_share))
    held_out, rest = order[:held], order[held:]
    several = [group for group in rest if len(group.replies) > 1]
    # A prompt whose best reply was dropped can be in EFT only, so EFT takes those first.
    several.sort(key=lambda group: group.best is not None)
    eft = several[: round(len(several) * oasst.eft_share)]
    taken = {group.message_id for group in eft}
    ift = [group for group in rest if group.best and group.message_id not in taken]
    return ift[: oasst.ift_count], eft, held_out


def _counts(
    messages: pd.DataFrame, groups: Sequence[Group], drops: pd.DataFrame
) -> dict[str, float]:
    sizes = [len(group.replies) for group in groups]
    found = drops["reason"].value_counts()
    return {
        "oasst/messages": float(len(messages)),
        "oasst/prompts": float(len(groups)),
        "oasst/ranked_replies": float(sum(sizes)),
        "oasst/ordered_pairs": float(sum(size * (size - 1) // 2 for size in sizes)),
        "oasst/dropped": float(len(drops)),
        **{
            f"oasst/dropped_{reason.replace(' ', '_')}": float(found.get(reason, 0))
            for reason in REASONS
        },
    }


def _refuse_empty(
    ift: Sequence[Group], eft: Sequence[Group], oasst: OasstParams, drops: pd.DataFrame
) -> None:
    empty = [] if ift else ["IFT"]
    empty += [] if eft or not oasst.eft_share else ["EFT"]
    if empty:
        counts = drops["reason"].value_counts().items()
        reasons = ", ".join(f"{reason} {count}" for reason, count in counts) or "none"
        raise InputError(
            f"oasst: no prompt is left for {' and '.join(empty)}. Dropped messages: {reasons}. "
            "Change the parameters `oasst`, or give a larger export."
        )


def _ift_table(groups: Sequence[Group]) -> pd.DataFrame:
    rows = [(group.message_id, group.prompt, group.replies[0].text) for group in groups]
    return pd.DataFrame(rows, columns=["id", "prompt", "response"])


def _eft_table(groups: Sequence[Group]) -> pd.DataFrame:
    rows = [(group.message_id, group.prompt, _responses(group)) for group in groups]
    return pd.DataFrame(rows, columns=["id", "prompt", "responses"])


def _responses(group: Group) -> list[dict[str, str | int]]:
    """Texts and ranks in the order of the ids, so that the order does not show the ranks."""
    ranked = sorted(enumerate(group.replies), key=lambda item: item[1].message_id)
    return [{"text": reply.text, "rank": rank} for rank, reply in ranked]


def _eval_table(groups: Sequence[Group]) -> pd.DataFrame:
    rows = [(group.message_id, group.prompt, "", True) for group in groups]
    return pd.DataFrame(rows, columns=["id", "prompt", "kind", "seen"])
