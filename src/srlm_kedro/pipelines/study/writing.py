"""Whether new prompts are valid tasks, of how many kinds, and how similar to IFT's prompts."""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pandas as pd
from rapidfuzz.distance import Indel
from rapidfuzz.process import extractOne

from srlm_kedro.referee.base import KnowingReferee, Referee

FACTS = ["prompt_id", "valid", "kind", "nearest"]


def describe_prompts(prompts: pd.DataFrame, ift: pd.DataFrame, referee: Referee) -> pd.DataFrame:
    """One row per prompt: `valid` and `kind` by the referee, and `nearest`.

    `valid` is 1 or 0, or NaN where the referee cannot tell. `nearest` is the highest ROUGE-L F with
    an IFT prompt, 0 to 1, of words in any script.
    """
    known = [_words(text) for text in ift["prompt"]]
    knows = isinstance(referee, KnowingReferee)
    rows = [
        (
            row.prompt_id,
            float(referee.understands(row.prompt)) if knows else float("nan"),
            referee.kind(row.prompt) if knows else None,
            _nearest(_words(row.prompt), known),
        )
        for row in prompts.itertuples()
    ]
    return pd.DataFrame(rows, columns=FACTS).astype({"kind": object})


def prompt_figures(
    facts: pd.DataFrame, prompts: pd.DataFrame, ift: pd.DataFrame
) -> dict[str, float]:
    """`prompts_...`: valid prompts and distinct bigrams in %, kinds, and two distances (0 to 1)."""
    written = [_words(text) for text in prompts["prompt"]]
    bigrams = [two for words in written for two in pairwise(words)]
    figures = {
        "prompts_valid": 100 * facts["valid"].mean(),
        "prompts_kinds": facts["kind"].nunique() or np.nan,
        "prompts_distance": word_distance(written, [_words(text) for text in ift["prompt"]]),
        "prompts_nearest": facts["nearest"].mean(),
        "prompts_distinct_bigrams": 100 * len(set(bigrams)) / len(bigrams) if bigrams else np.nan,
    }
    return {name: float(value) for name, value in figures.items() if pd.notna(value)}


def word_distance(texts: Iterable[list[str]], others: Iterable[list[str]]) -> float:
    """The Jensen-Shannon distance, base 2, between the word frequencies of two collections.

    It is 0 for equal frequencies, and 1 if they have no word in common.
    """
    from scipy.spatial.distance import jensenshannon

    counts = [Counter(word for text in each for word in text) for each in (texts, others)]
    words = sorted(set().union(*counts))
    return float(jensenshannon(*([one[word] for word in words] for one in counts), base=2))


def _nearest(words: list[str], known: list[list[str]]) -> float:
    # 1 - Indel / (m + n) is 2 LCS / (m + n), the F of ROUGE-L.
    found = extractOne(words, known, scorer=Indel.normalized_similarity)
    return float(found[1]) if found else float("nan")


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())
