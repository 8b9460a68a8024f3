"""A judging that is given up early."""

import pytest

from srlm_kedro.engines.generation.base import Completion
from srlm_kedro.errors import GateError
from srlm_kedro.judge.first_judgements import LEAST, FirstJudgements
from srlm_kedro.judge.parsing import parse_score

BAD, LONG = Completion("I like it.", 3, "stop"), Completion("It has", 48, "length")
GOOD = Completion("Score: 4", 3, "stop")


def watch(total=1000, give_up_at=0.1):
    return FirstJudgements(
        "eft",
        total,
        give_up_at,
        lambda one: parse_score(one.text, one.finish).reason,
        lambda reasons: f"Help for {sum(reasons.values())}.",
    )


def keys(count, start=0):
    return [(f"r{number}-j", 0) for number in range(start, start + count)]


def end_all(judging, names, completion=BAD):
    for name in names:
        judging.end(name, completion)


def test_a_judging_is_given_up_when_none_of_its_first_judgements_is_of_use():
    """The message says how many of how many, why, what the limit is and what helps."""
    judging = watch()
    end_all(judging, keys(40))
    end_all(judging, keys(59, 40), LONG)
    with pytest.raises(GateError) as refused:
        judging.end(("last", 0), BAD)
    message = str(refused.value)
    assert message.startswith("eft: none of the first 100 of 1000 judgements can be used")
    assert "limit `eft.give_up_at` = 0.1; 1 draws all of them" in message
    assert "59 cut_off (the token limit ended them before their score), 41 no_score" in message
    assert message.endswith("Help for 100.")
    assert not judging.is_open


def test_one_judgement_of_use_lets_all_be_drawn():
    """Whenever it comes, and however many others are of no use."""
    judging = watch()
    end_all(judging, keys(99))
    judging.end(("good", 0), GOOD)
    assert not judging.is_open
    end_all(judging, keys(500, 100))


def test_those_that_end_first_do_not_decide():
    """The short ones that wait for nothing may all be bad while long ones are still at work."""
    judging = watch()
    for name in keys(100):
        judging.begin(name)
    end_all(judging, keys(300, 1))
    judging.end(("r0-j", 0), GOOD)
    assert not judging.is_open


def test_few_judgements_are_always_drawn():
    """Of fewer than `LEAST` nobody can tell, and 1 switches the limit off."""
    assert not watch(total=LEAST).is_open
    assert watch(total=LEAST + 1).is_open
    assert not watch(give_up_at=1).is_open
    judging = watch(total=LEAST + 1, give_up_at=0)
    end_all(judging, keys(LEAST - 1))
    with pytest.raises(GateError, match=f"first {LEAST} of {LEAST + 1}"):
        judging.end(("last", 0), BAD)
