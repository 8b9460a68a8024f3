"""Best against worst, and what gives no pair."""

import pandas as pd
import pytest

from srlm_kedro.errors import GateError
from srlm_kedro.pipelines.pairs import COLUMNS, PairsParams, make_pairs

NONE = float("nan")


def _judged(*groups: list[float], text: str = "answer {p} {r}") -> pd.DataFrame:
    rows = [
        (
            *(f"m2-p{p}", f"m2-p{p}-r{r}", f"ask {p}", text.format(p=p, r=r), r + 1, "stop"),
            *(reward, 3, "ok"),
        )
        for p, rewards in enumerate(groups)
        for r, reward in enumerate(rewards)
    ]
    columns = ["prompt_id", "response_id", "prompt", "response", "tokens", "finish"]
    return pd.DataFrame(rows, columns=[*columns, "reward", "scores", "reason"])


def test_the_highest_meets_the_lowest():
    """There is one pair per prompt, with the rewards and the ids of its texts."""
    pairs, metrics = make_pairs(_judged([3, 5, 1, 4]), PairsParams(), seed=0)
    assert pairs.columns.tolist() == COLUMNS
    pair = pairs.iloc[0]
    assert (pair.chosen, pair.rejected) == ("answer 0 1", "answer 0 2")
    assert (pair.chosen_id, pair.rejected_id) == ("m2-p0-r1", "m2-p0-r2")
    assert (pair.chosen_reward, pair.rejected_reward) == (5, 1)
    assert metrics["pairs/mean_margin"] == 4
    assert (metrics["pairs/chosen_tokens"], metrics["pairs/rejected_tokens"]) == (2, 3)


def test_responses_of_a_prompt_need_not_stand_together():
    """Pairs come in the order of the prompts' first responses."""
    judged = _judged([3, 5, 1], [2, 4, 5], [1, 2, 3])
    mixed = judged.iloc[[8, 0, 3, 1, 6, 4, 2, 5, 7]]
    found, metrics = make_pairs(mixed, PairsParams(), seed=0)
    expected, told = make_pairs(judged, PairsParams(), seed=0)
    assert found["prompt_id"].tolist() == ["m2-p2", "m2-p0", "m2-p1"]
    assert found.sort_values("prompt_id").values.tolist() == expected.values.tolist()
    assert metrics == told


def test_every_prompt_without_a_pair_is_counted():
    """Ties, single rewards and identical texts are counted by reason."""
    judged = _judged([2, 2, 2], [3, NONE], [5, 1], [1, 4], [NONE, NONE])
    judged.loc[judged["prompt_id"] == "m2-p3", "response"] = "the same"
    pairs, metrics = make_pairs(judged, PairsParams(), seed=0)
    assert pairs["prompt_id"].tolist() == ["m2-p2"]
    assert metrics["pairs/dropped_tie"] == 1
    assert metrics["pairs/dropped_short_group"] == 2
    assert metrics["pairs/dropped_identical"] == 1
    assert (metrics["pairs/count"], metrics["pairs/yield"]) == (1, 0.2)


def test_a_failed_parse_never_wins_worst_response():
    """A response without a reward is in no pair, on whichever side."""
    judged = _judged([NONE, 5, 4], [5, 2, NONE], [NONE, 3, NONE])
    pairs, _ = make_pairs(judged, PairsParams(), seed=0)
    assert pairs["rejected_id"].tolist() == ["m2-p0-r2", "m2-p1-r1"]
    assert pairs["chosen_id"].tolist() == ["m2-p0-r1", "m2-p1-r0"]


def test_groups_too_short_for_cut_or_empty_responses_are_told_apart():
    """One usable response of three is `few_complete` where more were dropped, whatever the reason;
    without a dropped one it is `short_group`.
    """
    judged = _judged([5, NONE, NONE], [NONE, NONE], [2, NONE], [5, NONE, 1])
    judged.loc[[1, 9], "reason"] = "cut"
    judged.loc[[3, 4], "reason"] = "empty"
    pairs, metrics = make_pairs(judged, PairsParams(), seed=0)
    assert pairs["prompt_id"].tolist() == ["m2-p3"]
    assert metrics["pairs/dropped_few_complete"] == 2
    assert metrics["pairs/dropped_short_group"] == 1
    with pytest.raises(GateError, match=r"1 few_complete.*responses\.sampling\.max_new_tokens"):
        make_pairs(judged[:3], PairsParams(), seed=0)


def test_a_pair_says_of_each_side_how_it_ended():
    """The table says whether a response was cut."""
    judged = _judged([1, 5], [5, 1])
    judged.loc[0, "finish"] = "length"
    pairs, _ = make_pairs(judged, PairsParams(), seed=0)
    assert pairs["chosen_finish"].tolist() == ["stop", "stop"]
    assert pairs["rejected_finish"].tolist() == ["length", "stop"]


def test_of_several_best_the_first_by_id_is_taken():
    """The order of the rows does not matter, and r2 comes before r10."""
    judged = _judged([1, 1, 5, 3, 3, 3, 3, 3, 3, 3, 5])
    for table in (judged, judged[::-1]):
        pairs, _ = make_pairs(table, PairsParams(), seed=0)
        assert pairs["chosen_id"].tolist() == ["m2-p0-r2"]
        assert pairs["rejected_id"].tolist() == ["m2-p0-r0"]


def test_the_random_order_control_keeps_pairs_and_rewards_honest():
    """The same two responses per prompt, some in reverse order, each with its own reward."""
    judged = _judged(*[[1, 4, 2]] * 40)
    paper, _ = make_pairs(judged, PairsParams(), seed=0)
    control, metrics = make_pairs(judged, PairsParams(order="random"), seed=0)
    turned = control["chosen_id"] == paper["rejected_id"]
    assert 5 < turned.sum() < 35
    assert (control["chosen_reward"] == turned.map({True: 1.0, False: 4.0})).all()
    assert (control.loc[turned, "chosen"] == paper.loc[turned, "rejected"]).all()
    assert (control.loc[~turned, "chosen"] == paper.loc[~turned, "chosen"]).all()
    assert metrics["pairs/mean_margin"] < 3
    again, _ = make_pairs(judged, PairsParams(order="random"), seed=0)
    other, _ = make_pairs(judged, PairsParams(order="random"), seed=1)
    pd.testing.assert_frame_equal(control, again)
    assert not control.equals(other)


def test_too_few_pairs_stop_the_run():
    """The message counts the drops by reason."""
    with pytest.raises(GateError, match=r"0 pairs of 1 prompts.*1 tie \(all rewards") as told:
        make_pairs(_judged([2, 2]), PairsParams(), seed=0)
    assert "`judging.sampling.n`" in str(told.value)
    with pytest.raises(GateError, match=r"1 short_group.*`responses\.sampling\.n`"):
        make_pairs(_judged([2, NONE]), PairsParams(), seed=0)


def test_candidates_that_are_one_text_are_not_blamed_on_the_judge():
    """The message has the judge only if candidates to other prompts differ."""
    alike = _judged([2, 2], [3, 3], text="the same")
    with pytest.raises(GateError, match="candidates of 2 prompts have the same text") as told:
        make_pairs(alike, PairsParams(), seed=0)
    assert "Equal scores give" not in str(told.value)
    assert "temperature" in str(told.value)
    both = pd.concat([alike, _judged([1, 1]).assign(prompt_id="m2-p9")])
    with pytest.raises(GateError, match=r"of 2 prompts have the same text.*Equal scores give"):
        make_pairs(both, PairsParams(), seed=0)
    with pytest.raises(GateError) as told:
        make_pairs(_judged([2, 2]), PairsParams(), seed=0)
    assert "the same text" not in str(told.value)


def test_length_control_takes_the_short_of_the_good_and_the_long_of_the_bad():
    """The number of tokens decides, but only within the bands of rewards."""
    judged = _judged([4.8, 5, 3, 1, 1.2])
    judged["tokens"] = [10, 90, 1, 5, 40]
    free, _ = make_pairs(judged, PairsParams(), seed=0)
    assert (free.chosen_id[0], free.rejected_id[0]) == ("m2-p0-r1", "m2-p0-r3")
    held, _ = make_pairs(judged, PairsParams(length_control=0.1), seed=0)
    assert (held.chosen_id[0], held.rejected_id[0]) == ("m2-p0-r0", "m2-p0-r4")
    narrow, _ = make_pairs(judged, PairsParams(length_control=0.01), seed=0)
    assert (narrow.chosen_id[0], narrow.rejected_id[0]) == ("m2-p0-r1", "m2-p0-r3")


def test_a_narrow_pair_is_none():
    """Rewards as far apart as `min_margin` make a pair, closer ones are counted; a tie is a tie."""
    judged = _judged([2, 4], [3.01, 4], [2, 2])
    pairs, metrics = make_pairs(judged, PairsParams(min_margin=1), seed=0)
    assert pairs["prompt_id"].tolist() == ["m2-p0"]
    assert (metrics["pairs/dropped_narrow"], metrics["pairs/dropped_tie"]) == (1, 1)
    exact, _ = make_pairs(_judged([3, 4]), PairsParams(min_margin=1), seed=0)
    assert len(exact) == 1
    with pytest.raises(GateError, match=r"1 narrow \(.*Lower `pairs\.min_margin`"):
        make_pairs(judged[2:4], PairsParams(min_margin=1), seed=0)


def test_without_a_margin_no_pair_is_narrow():
    """And there is no such metric."""
    pairs, metrics = make_pairs(_judged([3.999, 4]), PairsParams(), seed=0)
    assert len(pairs) == 1
    assert "pairs/dropped_narrow" not in metrics
