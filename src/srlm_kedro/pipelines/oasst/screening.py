"""The parameters `oasst`, and which prompts and replies can be seed data, or why they cannot."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import pandas as pd
from pydantic import Field

from srlm_kedro.params import MAX_COUNT, Params


class OasstParams(Params):
    """The parameters `oasst`: from an OASST export to seed data. Paper: section 3.1."""

    languages: tuple[str, ...] = Field(("en",), min_length=1)
    """Languages of prompts and replies (paper: English)."""
    tree_states: tuple[str, ...] = ("ready_for_export",)
    """States of the trees whose messages are used. Trees without a state are used too (paper: not
    stated)."""
    max_spam: float = Field(0.5, ge=0, le=1)
    """A message is dropped if a larger share of its readers called it spam (paper: not stated)."""
    max_prompt_characters: int | None = Field(None, ge=1, le=MAX_COUNT)
    """Longer prompts are dropped with their replies. Null: none is too long (paper: not
    stated)."""
    max_response_characters: int | None = Field(None, ge=1, le=MAX_COUNT)
    """Longer replies are dropped. Null: none is too long (paper: not stated)."""
    eval_count: int = Field(256, ge=0, le=MAX_COUNT)
    """Number of prompts that are held out for the head-to-head comparisons (paper: 256)."""
    max_eval_share: float = Field(0.1, ge=0, lt=1)
    """Largest share of the prompts that is held out. It limits `eval_count` where there are few
    prompts."""
    eft_share: float = Field(0.5, ge=0, lt=1)
    """Share that goes to EFT, of the prompts that are not held out and have several ranked replies.
    One half of about 9,000 leaves enough for IFT's 3,200 and gives the baseline about 4,000 to
    judge (paper: 2,171 EFT examples are left after judging; the number of judged prompts is not
    stated)."""
    ift_count: int | None = Field(3200, ge=1, le=MAX_COUNT)
    """Largest number of IFT examples (paper: 3,200). Null: all prompts that are left."""


STRUCTURE = ("duplicate id", "missing parent", "its own ancestor", "contradicted parent")
_OF_MESSAGES = (
    *("synthetic", "deleted", "rejected in review", "spam", "language", "tree state"),
    *("not first turn", "wrong role", "no text", "too long", "unranked"),
)
_OF_PROMPTS = ("gap in ranks", "equal ranks", "no ranked reply", "lost best reply")
REASONS = (*STRUCTURE, *_OF_MESSAGES, *_OF_PROMPTS, "duplicate prompt", "prompt dropped")
"""Why a message is dropped. Only the first reason that holds counts, so that the counts add up."""


@dataclass(frozen=True)
class Reply:
    """A human reply to a first-turn prompt; rank 0 is the best of all siblings."""

    message_id: str
    text: str
    rank: int


@dataclass(frozen=True)
class Group:
    """A human first-turn prompt with its ranked replies, the best first."""

    message_id: str
    prompt: str
    replies: tuple[Reply, ...]

    @property
    def key(self) -> str:
        """The prompt without case and spacing; no two tables may have the same."""
        return " ".join(self.prompt.split()).lower()

    @property
    def best(self) -> Reply | None:
        """The reply that people ranked first, unless it was dropped."""
        return self.replies[0] if self.replies and self.replies[0].rank == 0 else None


def screen(messages: pd.DataFrame, oasst: OasstParams) -> tuple[pd.DataFrame, list[Group]]:
    """The dropped messages (message_id, reason; sorted by reason and id), and the usable prompts.

    Replies that people ranked together stay comparable if one of them is dropped. But equal ranks,
    or ranks with a gap, show that the export lacks replies that were ranked with them.
    """
    reasons = _message_reasons(messages, oasst)
    first = messages[messages["depth"].eq(1).fillna(False)]
    ranks = _ranks_by_parent(first)
    usable = messages[reasons.eq("")]
    replies = _replies_by_parent(usable[usable["depth"].eq(1)])
    groups = [
        Group(row.message_id, row.text, replies.get(row.message_id, ()))
        for row in usable[usable["depth"].eq(0)].itertuples()
    ]
    faults = {group.message_id: _fault(group, ranks[group.message_id]) for group in groups}
    faults |= _repeated([group for group in groups if not faults[group.message_id]])
    kept = [group for group in groups if not faults[group.message_id]]
    return _drops(messages, reasons, faults, kept), kept


def _message_reasons(messages: pd.DataFrame, oasst: OasstParams) -> pd.Series:
    """Why each message is dropped by itself, whatever its tree; empty if it is not."""
    prompt, reply = messages["depth"].eq(0), messages["depth"].eq(1)
    length = messages["text"].str.len()
    prompt_limit = oasst.max_prompt_characters or float("inf")
    reply_limit = oasst.max_response_characters or float("inf")
    states = ["", *oasst.tree_states]
    holds = {
        **{fault: messages["fault"].eq(fault) for fault in STRUCTURE},
        "synthetic": messages["synthetic"],
        "deleted": messages["deleted"],
        "rejected in review": messages["review_result"].eq(False),
        "spam": messages["spam"].gt(oasst.max_spam),
        "language": ~messages["lang"].isin(oasst.languages),
        "tree state": ~messages["tree_state"].isin(states),
        "not first turn": messages["depth"].gt(1),
        "wrong role": messages["role"].ne("prompter") & prompt
        | messages["role"].ne("assistant") & reply,
        "no text": messages["text"].str.strip().eq(""),
        "too long": prompt & length.gt(prompt_limit) | reply & length.gt(reply_limit),
        "unranked": reply & messages["rank"].isna(),
    }
    reasons = pd.Series("", index=messages.index)
    for reason, mask in holds.items():
        reasons = reasons.mask(reasons.eq("") & mask.fillna(False).astype(bool), reason)
    return reasons


def _ranks_by_parent(replies: pd.DataFrame) -> Mapping[str, list[int]]:
    """The ranks of all replies to each prompt, dropped or not."""
    ranks: defaultdict[str, list[int]] = defaultdict(list)
    for row in replies[replies["rank"].notna()].itertuples():
        ranks[row.parent_id].append(int(row.rank))
    return ranks


def _replies_by_parent(replies: pd.DataFrame) -> dict[str, tuple[Reply, ...]]:
    ordered = replies.sort_values(["parent_id", "rank"])
    return {
        parent: tuple(Reply(row.message_id, row.text, int(row.rank)) for row in rows)
        for parent, rows in groupby(ordered.itertuples(), key=lambda row: row.parent_id)
    }


def _fault(group: Group, ranks: Sequence[int]) -> str:
    """Why a prompt with its replies is dropped; empty if it is not."""
    if len(set(ranks)) < len(ranks):
        return "equal ranks"
    if sorted(ranks) != list(range(len(ranks))):
        return "gap in ranks"
    if not group.replies:
        return "no ranked reply"
    # A single reply has no ranking; it is useful only if it is the best one.
    return "lost best reply" if len(group.replies) == 1 and group.best is None else ""


def _repeated(groups: Sequence[Group]) -> dict[str, str]:
    """Of prompts that differ only in case and spacing, all but the one with the smallest id."""
    first: dict[str, str] = {}
    for group in sorted(groups, key=lambda group: group.message_id):
        first.setdefault(group.key, group.message_id)
    repeated = [group for group in groups if first[group.key] != group.message_id]
    return {group.message_id: "duplicate prompt" for group in repeated}


def _drops(
    messages: pd.DataFrame, reasons: pd.Series, faults: Mapping[str, str], kept: Sequence[Group]
) -> pd.DataFrame:
    used = {group.message_id for group in kept}
    used |= {reply.message_id for group in kept for reply in group.replies}
    rows = [
        (name, reason or faults.get(name) or "prompt dropped")
        for name, reason in zip(messages["message_id"], reasons, strict=True)
        if reason or name not in used
    ]
    drops = pd.DataFrame(rows, columns=["message_id", "reason"])
    return drops.sort_values(["reason", "message_id"], ignore_index=True)
