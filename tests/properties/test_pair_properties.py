"""What holds for every table of pairs, whatever the rewards."""

import math

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from srlm_kedro.errors import GateError
from srlm_kedro.pipelines.pairs import COLUMNS, DROPS, PairsParams, make_pairs

from .texts import sound_text

REWARDS = st.none() | st.floats(0, 5).map(lambda mean: round(mean, 9))
REWARDS |= st.integers(0, 15).map(lambda thirds: round(thirds / 3, 9))
REASONS = st.sampled_from(["ok", "ok", "cut", "empty"])
FINISHES = st.sampled_from(["stop", "length"])
ROWS = st.tuples(st.integers(0, 4), sound_text, REWARDS, st.integers(0, 99), FINISHES, REASONS)
KNOBS = st.builds(
    PairsParams,
    order=st.sampled_from(["reward", "random"]),
    length_control=st.sampled_from([0.0, 0.25, 0.49]),
)


@st.composite
def judged(draw):
    """Responses to up to five prompts, their rows in any order."""
    rows = draw(st.lists(ROWS, min_size=1, max_size=20))
    named = [
        (
            *(f"m2-p{prompt}", f"m2-p{prompt}-r{number}", f"ask {prompt}", text, tokens),
            *(reward if reason == "ok" else None, finish, reason),
        )
        for number, (prompt, text, reward, tokens, finish, reason) in enumerate(rows)
    ]
    columns = ["prompt_id", "response_id", "prompt", "response", "tokens"]
    columns += ["reward", "finish", "reason"]
    return pd.DataFrame(named, columns=columns).astype({"reward": float})


def made(table, knobs):
    """Pairs and metrics, or None where the gate fell."""
    try:
        return make_pairs(table, knobs, seed=0)
    except GateError:
        return None


@given(judged(), KNOBS)
def test_pairs_are_two_responses_to_one_prompt_of_which_one_is_rewarded_higher(table, knobs):
    """Chosen above rejected, or the other way round in the control; both out of the table."""
    if (result := made(table, knobs)) is None:
        return
    pairs = result[0]
    held = table.set_index("response_id")
    assert list(pairs) == COLUMNS
    for pair in pairs.itertuples():
        chosen, rejected = held.loc[pair.chosen_id], held.loc[pair.rejected_id]
        assert chosen["prompt_id"] == rejected["prompt_id"] == pair.prompt_id
        assert (chosen["response"], rejected["response"]) == (pair.chosen, pair.rejected)
        assert (chosen["reward"], rejected["reward"]) == (pair.chosen_reward, pair.rejected_reward)
        assert (chosen["finish"], rejected["finish"]) == (pair.chosen_finish, pair.rejected_finish)
        assert chosen["reason"] == rejected["reason"] == "ok"
        assert pair.chosen != pair.rejected
        margin = pair.chosen_reward - pair.rejected_reward
        assert margin > 0 or (knobs.order == "random" and margin < 0)


@given(judged(), KNOBS)
def test_every_prompt_gives_one_pair_or_is_counted_with_its_reason(table, knobs):
    """No prompt twice, and nothing is lost; figures are finite."""
    prompts = table["prompt_id"].nunique()
    if (result := made(table, knobs)) is None:
        rewarded = table.dropna(subset="reward").groupby("prompt_id")
        different = rewarded["response"].nunique() == rewarded.size()
        assert not ((rewarded["reward"].nunique() > 1) & different).any()
        return
    pairs, metrics = result
    assert pairs["prompt_id"].is_unique
    dropped = sum(metrics.get(f"pairs/dropped_{reason}", 0) for reason in DROPS)
    assert len(pairs) + dropped == prompts
    assert metrics["pairs/count"] == len(pairs)
    assert all(math.isfinite(value) for value in metrics.values())


@given(judged(), KNOBS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_makes_no_difference(table, knobs, chance):
    """The same pairs, in the order in which their prompts come."""
    order = list(range(len(table)))
    chance.shuffle(order)
    one, other = made(table, knobs), made(table.iloc[order], knobs)
    assert (one is None) == (other is None)
    if one is not None:
        first, second = (result[0].sort_values("prompt_id") for result in (one, other))
        assert first.to_dict("records") == second.to_dict("records")
