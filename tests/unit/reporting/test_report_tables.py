"""The tables of data/08_reporting."""

import io

import pandas as pd
import pytest

from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.reporting.model_tables import STAGES
from srlm_kedro.pipelines.self_rewarding import self_rewarding

from . import tables


def test_head_to_head_has_these_columns():
    """One row per comparison, in the order of the models."""
    table = tables.head_to_head()
    expected = ["model", "opponent", "win", "tie", "loss", "n", "low", "high"]
    assert list(table.columns) == expected
    pairs = list(zip(table["model"], table["opponent"], strict=True))
    assert pairs == [("m1", "sft"), ("m2", "m1"), ("m2", "sft")]


def test_reward_modelling_has_these_columns():
    """The five metrics and the number of prompts; counts of conventions stay with the model."""
    expected = "model,pairwise_accuracy,five_best,exact_match,spearman,kendall,n"
    assert ",".join(tables.reward_modelling().columns) == expected


def test_iterations_has_these_columns():
    """The counts, the scores, and the seconds of each stage."""
    expected = (
        "model,prompts,responses,cut,empty,judgements,parse_rate,pairs,mean_reward,mean_oracle_score,"
        "mean_length,seconds_prompts,seconds_responses,seconds_judging,seconds_pairs,"
        "seconds_checks,seconds_training,seconds_selection,seconds_evaluation,"
        "seconds_study"
    )
    assert ",".join(tables.iterations().columns) == expected


def test_an_iteration_counts_what_it_made():
    """Prompts, responses and drops, judgements, pairs; seconds are sums over a stage's nodes."""
    row = tables.iterations().set_index("model").loc["m2"]
    made = row[["prompts", "responses", "judgements", "parse_rate", "pairs", "mean_reward"]]
    assert made.tolist() == [2, 8, 24, 0.96, 2, 3.25]
    assert row[["cut", "empty"]].tolist() == [3, 1]
    seconds = row[["seconds_prompts", "seconds_training", "seconds_evaluation"]]
    assert seconds.tolist() == [1.5, 20, 2]


def test_what_a_model_lacks_stays_empty_in_the_file():
    """The baseline has no prompts and no judging: empty cells, not zeros."""
    lines = tables.iterations().to_csv(index=False).splitlines()
    assert lines[1] == "sft,,,,,,,,,3.5,10.0,,,,,,7.0,,,"
    assert lines[3].startswith("m2,2,8,3,1,24,0.96,2,3.25,")
    read = pd.read_csv(io.StringIO("\n".join(lines)))
    assert read.loc[0, ["prompts", "seconds_judging"]].isna().all()


def test_errors_are_told_apart_by_kind():
    """Sampled responses only; kinds of task seen and unseen, and greedy, beside."""
    row = tables.errors().set_index("model").loc["m1"]
    expected = {
        "mean_score": 3.5,
        "score_seen": 5,
        "score_unseen": 2,
        "greedy_score": 4,
        "perfect": 0.5,
        "items_wrong": 0.5,
        "constraints_missed": 0.25,
        "voice_missed": 0,
        "extras": 0.5,
        "points_2": 0.5,
        "points_4": 0,
        "mean_length": 10,
        "n": 2,
    }
    assert row[list(expected)].to_dict() == expected


def test_the_study_of_a_model_is_a_row_whatever_is_known_of_it():
    """Figures that a model does not have are empty."""
    table = tables.study().set_index("model")
    assert list(table.index) == tables.MODELS
    assert table["own_right"].tolist() == [60, 60, 60]
    assert table["kl"].isna().tolist() == [True, True, False]
    assert table.loc["m2", ["judge_right_items", "kl"]].tolist() == [5.5, 1.2346]
    assert table["own_right_voice"].isna().all()


_REPORTED = {
    *("describe", "describe_study", "pick_judged", "plot_rewards"),
    *("write_card", "write_pairs_card"),
}


@pytest.mark.filterwarnings("ignore:One or more dataset names")
@pytest.mark.parametrize("update", ["dpo", "positives"])
def test_every_node_of_m1_and_of_an_iteration_belongs_to_a_stage(update):
    """So a renamed node does not lose its seconds."""
    nodes = self_rewarding(LoopParams(iterations=2, update=update)).nodes
    names = {node.name.partition(".")[2] for node in nodes if node.name.startswith(("m1.", "m2."))}
    timed = {node for stage in STAGES.values() for node in stage}
    assert names - timed == _REPORTED
