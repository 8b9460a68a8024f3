"""The next model's gain: the committed line is what the committed figures give."""

import pandas as pd
import pytest

from evidence import gain
from srlm_kedro.pipelines.readiness.prediction import MICROWORLD, standard_error
from tests.unit.docs.pages import ROOT

POINTS = gain.points(ROOT)


def test_the_committed_fit_is_what_the_script_gives():
    """`python -m evidence.gain` prints it; the guide quotes it."""
    assert gain.fit(POINTS) == MICROWORLD
    guide = " ".join((ROOT / "docs/how-to/readiness.md").read_text("utf-8").split())
    assert f"gain = {MICROWORLD.slope} points" in guide
    assert f"scatter is {MICROWORLD.left_out} points" in guide
    assert f"fitted on {MICROWORLD.models} models" in guide


def test_it_rests_on_seeds_and_on_controls_whose_judges_alone_differ():
    """Twenty of the main run, twenty of a coin, two of the truth, and three weaker judges."""
    counts = POINTS["experiment"].value_counts().to_dict()
    assert counts == {
        **{"main": 20, "shuffled_rewards": 20},
        **{"oracle_judge": 2, "no_eft": 2, "multiple_choice": 1},
    }
    assert set(POINTS.loc[POINTS["experiment"] == "shuffled_rewards", "order"]) == {0.0}


def test_the_seeds_of_the_main_run_alone_show_nothing():
    """What the guide says of them: a mean predicts as well as the line."""
    main = POINTS[POINTS["experiment"] == "main"]
    assert MICROWORLD.r2_main < 0.05
    assert abs(main["order"].corr(main["gain"])) < 0.3


def test_counting_the_pairs_makes_it_no_better():
    """So they are left out."""
    both = POINTS.assign(both=POINTS["order"] * POINTS["yield"])
    assert gain.fit(both, "both").left_out > MICROWORLD.left_out


def test_a_line_is_found_again_with_its_scatter():
    """On made-up seeds, of which one is off by ten points."""
    table = pd.DataFrame(
        {
            "experiment": ["main"] * 4 + ["shuffled_rewards"] * 2,
            "seed": [1, 2, 3, 4, 1, 2],
            "order": [0.5, 1.0, 0.5, 1.0, 0.0, 0.0],
            "yield": [0.5, 0.6, 0.7, 0.8, 0.9, 0.9],
            "gain": [20.0, 40.0, 20.0, 50.0, 3.0, -3.0],
        }
    )
    found = gain.fit(table)
    assert found.slope == pytest.approx(44.0)
    assert found.chance_scatter == 3.0
    assert found.left_out > found.scatter > 4
    assert found.yields == (0.5, 0.9)


def test_a_coin_gains_nothing_and_a_sure_accuracy_has_the_scatter_alone():
    """Below chance are judges that tie; their gain is none, and no loss."""
    assert MICROWORLD.gain(0.5) == MICROWORLD.gain(0.2) == 0
    low, high = MICROWORLD.interval(0.75, 0.0)
    assert (low + high) / 2 == pytest.approx(MICROWORLD.slope / 2)
    assert high - low == pytest.approx(2 * 1.96 * MICROWORLD.left_out)
    wide = MICROWORLD.interval(0.75, standard_error(0.65, 0.85))
    assert wide[1] - wide[0] > high - low
