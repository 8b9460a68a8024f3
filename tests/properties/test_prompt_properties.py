"""What holds for every prompt that a model writes."""

import re
from decimal import Decimal

import pandas as pd
from hypothesis import assume, given
from hypothesis import strategies as st

from srlm_kedro.errors import GateError
from srlm_kedro.pipelines.prompts.filters import REASONS, Filters, first_task
from srlm_kedro.pipelines.prompts.nodes import WRITTEN, accept_prompts
from srlm_kedro.pipelines.prompts.novelty import Novelty
from srlm_kedro.pipelines.prompts.params import FilterParams, PromptsParams
from tests.unit.fakes import M1

from .texts import any_text, mixed, sound_text

KNOWN = ["Name three birds that live near the sea", "", "naïve café"]
LIMIT = Decimal("0.7")
CONTINUATIONS = mixed(
    *("Task: ", "task 9:", "\nTask", "1. ", "2) ", "**", "# ", "_", "\n", "\n\n", " ", "Answer:"),
    *(
        "Sure, here is one:\n",
        "Name three birds",
        "that live near the sea",
        "draw",
        "Write a program",
    ),
    *("prompt", "question 12", ":", "response :"),
)
FINISHES = st.sampled_from(["stop", "length"])
PROMPTS = st.lists(st.sampled_from(["ab", "cd", "ef", "gh", "ij", "kl", "mn"]), max_size=8).map(
    " ".join
)


@given(CONTINUATIONS)
def test_a_task_is_a_part_of_its_continuation(text):
    """Nothing is made up, and white space around it is taken off."""
    task, _ = first_task(text)
    assert task in text
    assert task == task.strip()


PREFACES = ("sure", "here", "okay", "of course", "certainly")

# As the patterns were written before they were made linear.
_WORDED = r"(?:task|instruction|prompt|question)\s*\d{0,3}\s*[:.)]"
_NUMBERED = rf"[*_#\s]*(?:{_WORDED}|\d{{1,3}}[.)]\s)[*_\s]*"
_PLAIN_LABEL = re.compile(_NUMBERED, re.IGNORECASE)
_PLAIN_NEXT = re.compile(
    rf"\n{_NUMBERED}|\btask\s+\d{{1,3}}\s*:|\n[*_#\s]*(?:answer|response|output|solution)\s*:",
    re.IGNORECASE,
)


@given(CONTINUATIONS)
def test_a_task_ends_where_the_plain_patterns_say(text):
    """Reading in linear time finds what reading with all ways of going back finds."""
    assume(not text.lstrip().lower().startswith(PREFACES))
    rest = text[label.end() :] if (label := _PLAIN_LABEL.match(text)) else text
    following = _PLAIN_NEXT.search(rest)
    task = rest[: following.start()] if following else rest
    assert first_task(text) == (task.strip(), following is not None)


@given(st.lists(st.tuples(CONTINUATIONS, FINISHES), max_size=6))
def test_every_continuation_is_accepted_or_has_a_reason(drawn):
    """And what is accepted is known from then on."""
    novelty = Novelty(KNOWN, LIMIT)
    filters = Filters(FilterParams(), novelty)
    for text, finish in drawn:
        prompt, reason = filters.accept_or_refuse(text, finish)
        assert reason in (*REASONS, "ok")
        if reason == "ok":
            assert prompt
            assert novelty.is_known(prompt)


@given(st.lists(st.tuples(sound_text, st.sampled_from([*REASONS, "ok"])), min_size=1, max_size=12))
def test_kept_and_dropped_are_all_that_was_written(rows):
    """In their order, each once; counts say the same as the tables."""
    written = pd.DataFrame(
        [
            (f"m2-w{n:05d}", 0, text, "stop", "", text, reason)
            for n, (text, reason) in enumerate(rows)
        ],
        columns=WRITTEN,
    )
    none = pd.DataFrame({"prompt_id": [], "prompt": []})
    knobs = PromptsParams(count=5, max_written=50)
    try:
        table, known, drops, metrics = accept_prompts(written, none, M1, knobs)
    except GateError:
        assert all(reason != "ok" for _, reason in rows)
        return
    assert list(table["prompt"]) == [text for text, reason in rows if reason == "ok"]
    assert list(known["prompt"]) == list(table["prompt"])
    refused = [row for row in rows if row[1] != "ok"]
    assert list(drops.itertuples(index=False, name=None)) == refused
    assert metrics["prompts/accepted"] + len(drops) == metrics["prompts/written"] == len(rows)
    assert sum(metrics.get(f"prompts/rejected_{reason}", 0) for reason in REASONS) == len(drops)
    assert table["prompt_id"].is_unique


@given(st.lists(PROMPTS | any_text, max_size=8), PROMPTS | any_text, st.randoms())
def test_the_order_in_which_prompts_became_known_makes_no_difference(known, new, chance):
    """A prompt is known or similar to a set."""
    shuffled = chance.sample(known, len(known))
    one, other = Novelty(known, LIMIT), Novelty(shuffled, LIMIT)
    assert one.is_known(new) == other.is_known(new)
    assert one.is_similar(new) == other.is_similar(new)
