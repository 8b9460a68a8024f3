"""What a run starts from is checked before any work."""

import pandas as pd
import pytest
from kedro.io import DataCatalog

from srlm_kedro.errors import InputError
from srlm_kedro.pipelines.checks.counts import (
    one_sided_split,
    too_few_demonstrations,
    too_few_prompts,
)
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.pairs import PairsParams
from srlm_kedro.pipelines.prompts.params import PromptsParams
from srlm_kedro.running.readiness import model_faults


class Referee:
    """A referee whose model cannot be drawn from."""

    def refuse_unready(self):
        raise InputError("judge: its model is none")


def test_a_referees_model_is_looked_at_with_those_that_are_given():
    """It is used only at the end of a run; engines without a model are skipped."""
    engines = {"referee": Referee(), "generation_engine": object()}
    assert model_faults([], engines, DataCatalog({})) == ["referee: judge: its model is none"]


@pytest.mark.parametrize(("rows", "faults"), [(7, 1), (8, 0)])
def test_a_few_shot_prompt_of_the_first_iteration_is_made_of_ift_alone(rows, faults):
    """A prompt needs six demonstrations from IFT, and two more while no model has written any."""
    table = pd.DataFrame({"prompt": [f"p{number}" for number in range(rows)]})
    assert len(too_few_demonstrations(table, PromptsParams())) == faults


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"eval_prompts": 3}, None),
        ({"eval_prompts": 4}, "`eft.eval_prompts` = 4): none is left to learn from"),
        ({"eval_fraction": 0.01}, "`eft.eval_fraction` = 0.01): no judge could be measured"),
    ],
)
def test_both_sides_of_efts_split_need_a_prompt(knobs, said):
    """Prompts that differ only in case and spaces count once."""
    prompts = pd.Series(["Ask.", "ask. ", "b", "c", "d"])
    found = one_sided_split(prompts, EftParams(**knobs))
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_an_iteration_cannot_give_more_pairs_than_prompts():
    """The smallest value of a schedule counts."""
    prompts = PromptsParams(count=[50, 20])
    assert too_few_prompts(prompts, PairsParams(min_pairs=20)) == []
    assert "`prompts.count` = 20" in too_few_prompts(prompts, PairsParams(min_pairs=21))[0]
