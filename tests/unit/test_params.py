"""Typed parameters."""

from typing import Annotated

import pytest
from pydantic import ValidationError

from srlm_kedro.params import RESOURCE, Params, Schedule, at


class Inner(Params):
    rate: float = 1.0
    rows: Annotated[int, RESOURCE] = 8


class Outer(Params):
    inner: Inner = Inner()
    counts: Schedule[int] = (400, 1000)
    threads: Annotated[int, RESOURCE] = 2


def test_unknown_keys_are_refused():
    """A mistyped knob is an error, not a silent default."""
    with pytest.raises(ValidationError, match="ratio"):
        Inner.model_validate({"ratio": 2})


def test_recipe_leaves_out_what_cannot_change_a_result():
    """Resource fields are no part of a recipe, at any depth."""
    assert Outer().recipe() == {"inner": {"rate": 1.0}, "counts": [400, 1000]}


@pytest.mark.parametrize(("iteration", "value"), [(1, 400), (2, 400), (3, 1000), (9, 1000)])
def test_schedule_gives_each_iteration_its_value_and_repeats_the_last(iteration, value):
    """The first value is for M2, the next for M3, and so on."""
    assert at(Outer().counts, iteration) == value


def test_schedule_takes_a_single_value():
    """One number is for every iteration."""
    assert Outer.model_validate({"counts": 7}).counts == (7,)


def test_schedule_refuses_an_empty_list():
    """A missing value is an error before work starts."""
    with pytest.raises(ValidationError):
        Outer.model_validate({"counts": []})


def test_a_recipe_of_one_iteration_holds_its_value_of_a_schedule_alone():
    """The value for M3 is no part of M2's recipe; resource fields are part of none."""

    class Knobs(Params):
        rate: Schedule[float] = (0.1,)
        limit: Annotated[int, RESOURCE] = 1

    assert Knobs(rate=0.1).recipe(2) == Knobs(rate=[0.1, 0.2], limit=5).recipe(2) == {"rate": 0.1}
    assert Knobs(rate=[0.1, 0.2]).recipe(3) == {"rate": 0.2}
    assert Knobs(rate=0.1).recipe() != Knobs(rate=[0.1, 0.2]).recipe()
