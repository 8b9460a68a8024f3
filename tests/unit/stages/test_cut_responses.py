"""How training learns that a response was cut."""

import pandas as pd

from srlm_kedro.engines.training.base import Trained
from srlm_kedro.engines.training.params import DpoParams, SftParams
from srlm_kedro.pipelines.dpo import train_dpo
from srlm_kedro.pipelines.sft import train_on_positives
from srlm_kedro.records import Example, Preference
from tests.unit.fakes import M1


class Trainer:
    """A trainer that keeps its examples."""

    def sft(self, model, examples, params, seed):
        self.given = examples
        return Trained(M1, [{"step": 1.0, "loss": 1.0}])

    def dpo(self, policy, reference, pairs, params, seed):
        self.given = pairs
        return Trained(M1, [{"step": 1.0, "loss": 1.0}])


def test_a_pair_tells_the_trainer_which_side_was_cut():
    """Each side of a pair has its own flag."""
    rows = [("ask", "a", "b", "stop", "stop"), ("ask", "c", "d", "length", "stop")]
    rows.append(("ask", "e", "f", "stop", "length"))
    columns = ["prompt", "chosen", "rejected", "chosen_finish", "rejected_finish"]
    trainer = Trainer()
    train_dpo(M1, pd.DataFrame(rows, columns=columns), {}, trainer, DpoParams(), 0)
    assert trainer.given == [
        Preference("ask", "a", "b"),
        Preference("ask", "c", "d", chosen_complete=False),
        Preference("ask", "e", "f", rejected_complete=False),
    ]


def test_positives_hold_no_dropped_response_and_leave_a_kept_cut_one_open():
    """A dropped response has no reward; seed data has no cut responses."""
    ift = pd.DataFrame({"prompt": ["seed"], "response": ["said"]})
    eft = pd.DataFrame({"prompt": ["judge"], "completion": ["Score: 4"]})
    rows = [
        ("ask", "whole", "stop", 5.0),
        ("ask", "kept though c", "length", 5.0),
        ("ask", "dropped since c", "length", float("nan")),
        ("ask", "no positive", "stop", 4.0),
    ]
    judged = pd.DataFrame(rows, columns=["prompt", "response", "finish", "reward"])
    trainer = Trainer()
    metrics = train_on_positives(M1, ift, eft, judged, {}, trainer, SftParams(), 0)[2]
    assert trainer.given == [
        Example("seed", "said"),
        Example("judge", "Score: 4"),
        Example("ask", "whole"),
        Example("ask", "kept though c", complete=False),
    ]
    assert metrics["train/positives"] == 2
