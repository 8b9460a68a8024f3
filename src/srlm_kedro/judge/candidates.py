"""Which responses may be learnt from, and are therefore judged at all.

A response cut at the token limit was never ended by the model: judged by its start, it would teach
to stop in the middle of a sentence. An empty one says nothing.
"""

from typing import Literal

import pandas as pd

Policy = Literal["drop", "keep"]

DROPS = ("cut", "empty", "unanswered")
"""Why a response is no candidate: cut at the token limit; nothing but blanks; not drawn at all, for
its prompt left the model no room."""


def candidacy(responses: pd.DataFrame, cut: Policy, empty: Policy) -> pd.Series:
    """`ok` for each response that is a candidate, or else the reason out of `DROPS`.

    A response that is empty and cut holds neither text nor end, and one that was not drawn is none:
    nothing can be learnt from them, so no policy keeps them.

    Args:
        responses: `response` and `finish`.
        cut: What becomes of responses cut at the token limit.
        empty: What becomes of empty responses.
    """
    blank = responses["response"].str.strip() == ""
    unended = responses["finish"] == "length"
    reasons = pd.Series("ok", index=responses.index, dtype=object)
    if cut == "drop":
        reasons = reasons.mask(unended, "cut")
    reasons = reasons.mask(blank if empty == "drop" else blank & unended, "empty")
    return reasons.mask(responses["finish"] == "no_room", "unanswered").astype(str)
