"""What programs find of held-out responses: shares by kind, gains with intervals, variety."""

from types import SimpleNamespace

import pandas as pd
import pytest

from srlm_kedro.pipelines.verifiable.measures import (
    distinct_pairs,
    measure_constraints,
    measure_criteria,
    measure_fluency,
    measure_gains,
    part_of,
    repeats,
)
from srlm_kedro.pipelines.verifiable.params import VerifiableParams
from srlm_kedro.records import Checkpoint
from srlm_kedro.verifiable.referee import Checker

PROMPTS = {
    "e1": ('Tell me something about soup. Include the word "small".', "include"),
    "e2": ("Tell me something about snow. Avoid commas. Use fewer than 40 words.", "x+y"),
    "e3": ("Tell me something about owls. Avoid commas.", "unseen topic: no_commas"),
    "e4": ("", "unseen kind: include+long"),
}


def responses(texts, model="m1"):
    """Sampled responses to the prompts, by the prompt's id."""
    rows = [
        (model, name, f"{name}-{n}", *PROMPTS[name], "sampled", n, text, len(text.split()), "stop")
        for name, group in texts.items()
        for n, text in enumerate(group)
    ]
    columns = ["model", "prompt_id", "response_id", "prompt", "kind", "mode", "sample"]
    return pd.DataFrame(rows, columns=[*columns, "response", "tokens", "finish"])


class Read:
    """Finds verdicts where a response states them: `long+ short-` meets `long` alone."""

    def assess_all(self, pairs):
        return [
            SimpleNamespace(verdicts=[(each[:-1], each[-1] == "+") for each in text.split()])
            for _, text in pairs
        ]


def scores(verdicts, model):
    """Sampled responses that state their verdicts."""
    return responses(verdicts, model).assign(score=0.0)


def test_each_kind_is_counted_in_its_part_and_in_all():
    """A comma that is used counts where commas are forbidden, and nowhere else."""
    table, metrics = measure_constraints(
        responses({"e1": ["a small, hot dish", "a dish"], "e2": ["cold, white"], "e3": ["birds"]}),
        Checker(),
    )
    found = table.set_index(["part", "kind"])["met"].to_dict()
    assert found["seen", "include"] == 0.5
    assert found["seen", "no_commas"] == 0
    assert found["unseen topic", "no_commas"] == 1
    assert found["all", "no_commas"] == 0.5
    assert found["all", "all"] == pytest.approx(3 / 5)
    assert metrics["met/all/all"] == pytest.approx(3 / 5)
    assert metrics["met/every_constraint"] == pytest.approx(2 / 4)
    assert (table["model"] == "m1").all()


def test_greedy_responses_do_not_count():
    """Only sampled ones do."""
    table = responses({"e1": ["a small dish", "a dish"]})
    table.loc[1, "mode"] = "greedy"
    assert measure_constraints(table, Checker())[1]["met/all/all"] == 1


def test_cut_and_repeating_responses_are_counted():
    """A text repeats itself if fewer than half of its runs of four words are different."""
    table = responses({"e1": ["a small dish", "it is hot and " * 4], "e3": ["birds", "more birds"]})
    table.loc[0, "finish"] = "length"
    metrics = measure_constraints(table, Checker())[1]
    assert (metrics["met/cut_off"], metrics["met/repeating"]) == (1 / 4, 1 / 4)
    assert not repeats(["one", "two", "three", "four", "five", "six"])
    assert not repeats([])


def judgements(table, points):
    """Answers to `a` and `b`, both wanted, of each response: log-odds of yes."""
    zeros = [[0.0] * len(each) for each in points]
    return pd.DataFrame(
        {
            "response_id": table["response_id"],
            "wanted": [[True] * len(each) for each in points],
            "log_yes": points,
            "log_no": zeros,
        }
    )


def test_a_judge_is_measured_by_kind():
    """It knows `a`, is at chance on `b`, and `c` is never missed."""
    table = responses({"e1": ["a+ b+", "a- b+"], "e2": ["a+ b- c+"], "e3": ["a- b-"]})
    points = [[3.0, 0.0], [-1.0, 1.0], [2.0, 1.0, 0.0], [1.0, 0.0]]
    found, metrics = measure_criteria(table, judgements(table, points), Read())
    by_kind = found.set_index("kind")
    assert by_kind["n"].to_dict() == {"all": 9, "a": 4, "b": 4, "c": 1}
    assert (metrics["criteria/auc/a"], metrics["criteria/auc/b"]) == (1.0, 0.5)
    assert pd.isna(by_kind.loc["c", "auc"])
    assert "criteria/auc/c" not in metrics
    assert (found["model"] == "m1").all()


def test_a_judge_without_room_says_nothing_of_a_kind():
    """Answers that could not be read are left out."""
    table = responses({"e1": ["a+", "a-"], "e2": ["a-"]})
    nan = float("nan")
    found, _ = measure_criteria(table, judgements(table, [[1.0], [0.0], [nan]]), Read())
    assert found.set_index("kind").loc["a", ["n", "auc"]].tolist() == [2, 1.0]


def test_gains_are_paired_by_prompt():
    """A model that gains .5 on every prompt has an interval of no width."""
    m1 = scores({"e1": ["a- b-", "a+ b-"], "e2": ["a+ b- c- d-"], "e3": ["a+ b-"]}, "m1")
    m2 = scores({"e1": ["a+ b-", "a+ b+"], "e2": ["a+ b+ c+ d-"], "e3": ["a+ b+"]}, "m2")
    sft = scores({"e1": ["a+"]}, "sft")
    table, metrics = measure_gains(m2, m1, m1, sft, Read(), VerifiableParams(), 0)
    whole = table.set_index(["against", "part"])
    assert tuple(whole.loc[("m1", "all"), ["prompts", "gain", "low", "high"]]) == (3, 0.5, 0.5, 0.5)
    assert whole.loc[("m1", "unseen topic"), "prompts"] == 1
    assert whole.loc[("sft", "all"), "gain"] == pytest.approx(-0.25)
    assert metrics["gain/vs_m1_low"] == 0.5


def test_a_model_is_not_compared_with_itself():
    """M1's predecessor is the baseline."""
    m1, sft = scores({"e1": ["a+"]}, "m1"), scores({"e1": ["a-"]}, "sft")
    table, _ = measure_gains(m1, sft, m1, sft, Read(), VerifiableParams(), 0)
    assert set(table["against"]) == {"sft"}


def test_unseen_kinds_are_measured_without_the_seen_ones_beside_them():
    """Both count in the whole."""
    m1, m2 = scores({"e4": ["long- include-"]}, "m1"), scores({"e4": ["long- include+"]}, "m2")
    gains, _ = measure_gains(m2, m1, m1, m1, Read(), VerifiableParams(), 0)
    found = gains.set_index(["against", "part"])["gain"]
    assert found["m1", "all"] == 0.5
    assert found["m1", "unseen kind"] == 0
    shares, _ = measure_constraints(m2, Read())
    met = shares.set_index(["part", "kind"])["met"].to_dict()
    assert met["all", "all"] == 0.5
    assert met["unseen kind", "all"] == 0
    assert met["all", "include"] == 1
    assert ("unseen kind", "include") not in met


def test_parts():
    """A kind without a label is seen."""
    found = part_of(pd.Series(["include", "unseen topic: include", "unseen kind: long+short"]))
    assert list(found) == ["seen", "unseen topic", "unseen kind"]


def test_distinct_pairs():
    """Repetition lowers it, within and across texts."""
    assert distinct_pairs([["a", "b", "c"]]) == 1
    assert distinct_pairs([["a", "b", "a", "b"]]) == pytest.approx(2 / 3)
    assert distinct_pairs([["a", "b"], ["a", "b"]]) == 0.5
    assert distinct_pairs([[], ["a"]]) == 0


def test_variety_does_not_depend_on_length():
    """Only beginnings count."""
    words = [f"w{n}" for n in range(20)]
    short, long = " ".join(words), " ".join([*words, *["again"] * 40])
    found = [measure_constraints(responses({"e1": [text]}), Checker())[1] for text in (short, long)]
    assert [one["met/distinct_pairs"] for one in found] == [1, 1]
    assert [one["met/words"] for one in found] == [20, 60]


def test_fluency_is_per_token_without_ends(tmp_path):
    """The model that is asked is M0, and not about a response without text."""

    class Trainer:
        def log_probs(self, model, examples):
            assert model.name == "m0"
            assert not any(one.complete for one in examples)
            return [-2.0 * len(one.completion.split()) for one in examples]

    table = responses({"e1": ["one two three", "four five"], "e2": ["four five six"]})
    table.loc[len(table)] = {**table.loc[0], "prompt_id": "e3", "response": ""}
    table = table.assign(tokens=4)
    found = measure_fluency(table, Checkpoint(tmp_path, "m0"), Trainer())
    assert found == {"fluency/log_prob": pytest.approx(-2.0)}
