"""The package's length-controlled fits, on preferences whose truth is known."""

import math
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from srlm_kedro.engines.published.length_control import length_controlled_win_rate
from srlm_kedro.errors import InputError

pytestmark = pytest.mark.skipif(
    find_spec("alpaca_eval") is None, reason="alpaca_eval comes with the extra alpaca-eval"
)


def likely(longer, bias=0.0):
    """How likely a win is by the package's own model of lengths."""
    return 1 / (1 + np.exp(-(bias + 1.5 * np.tanh(longer))))


def annotations(rows=200):
    """Preferences of 30% at equal lengths, and more for more characters."""
    lengths = np.random.default_rng(0).integers(-300, 500, rows)
    preference = 1 + likely(lengths / lengths.std(ddof=1), bias=math.log(0.3 / 0.7))
    return pd.DataFrame(
        {
            "instruction": [f"ask {row}" for row in range(rows)],
            "output_1": "x" * 400,
            "output_2": ["x" * (400 + more) for more in lengths],
            "generator_1": "base",
            "generator_2": "m1",
            "preference": preference,
        }
    )


def difficulty(rows=200, models=2):
    """Like the official file: rows of models with outputs of different lengths."""
    chance = np.random.default_rng(1)
    shorter = chance.normal(size=rows * models)
    return pd.DataFrame(
        {
            "model": "gamed",
            "index": np.tile(np.arange(rows), models),
            "instruction_difficulty": np.tile(chance.normal(size=rows), models),
            "preference": likely(-shorter),
            "std_delta_len": shorter,
            "not_gamed_baseline": False,
        }
    )


def control(table, known=None):
    known = pd.DataFrame() if known is None else known
    return length_controlled_win_rate(table, known)


def test_length_control_finds_the_win_rate_at_equal_lengths():
    """30% by construction, though longer outputs raise the plain win rate well above."""
    table = annotations()
    table.loc[3, "preference"] = None
    assert 100 * (table["preference"] - 1).mean() > 40
    assert control(table) == {"length_controlled_win_rate_local": pytest.approx(30, abs=1)}


def test_the_official_fit_needs_the_official_difficulty():
    """Given it, the package's v1 fit; the name says so."""
    figures = control(annotations(), difficulty())
    assert set(figures) == {"length_controlled_win_rate", "length_controlled_standard_error"}
    assert figures["length_controlled_win_rate"] == pytest.approx(30, abs=2)


def test_other_instructions_than_the_difficulty_tells_of_are_left_out(caplog):
    """The package would take the difficulty of unrelated instructions."""
    assert control(annotations(), difficulty(rows=201)) == {}
    assert "has 201 instructions, but there are 200" in caplog.text


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (annotations(rows=4), "4 preferences are too few for 5 folds"),
        (annotations().assign(output_2="same"), "all outputs differ by the same length"),
        (annotations().assign(preference=1.5), "no weight for any feature"),
    ],
)
def test_a_fit_that_does_not_exist_is_left_out(table, reason, caplog):
    """With the reason as a warning."""
    assert control(table) == {}
    assert reason in caplog.text


def test_a_wrong_difficulty_file_is_refused():
    """With the columns it lacks and the file to give."""
    with pytest.raises(InputError, match=r"no column instruction_difficulty.*df_gamed.csv"):
        control(annotations(), difficulty().drop(columns="instruction_difficulty"))
