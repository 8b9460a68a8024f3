"""A referee that compares: both orders, raw verdicts, and its metrics."""

from collections.abc import Callable

import pandas as pd
import pytest

from srlm_kedro.engines.generation.base import Completion
from srlm_kedro.errors import GateError
from srlm_kedro.pipelines.evaluation.comparisons import COLUMNS, compare_with_elders
from srlm_kedro.pipelines.evaluation.head_to_head import settle_comparisons
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.referee.base import Comparison

from .test_head_to_head import NAN, Scorer, scores

EVALUATION = EvaluationParams(resamples=200, max_unparsed=1.0)


class Comparer(Scorer):
    """A referee whose completion is a function of the comparison."""

    def __init__(self, rule: Callable[[Comparison], str]):
        self._rule = rule
        self.seen: list[Comparison] = []
        self.calls = 0

    def compare(self, comparisons):
        self.seen += comparisons
        self.calls += 1
        return [Completion(self._rule(one), 3, "stop") for one in comparisons]


def better(one):
    """The true score, which the responses of these tests contain."""
    first, second = (float(text.split()[1]) for text in (one.first, one.second))
    return f"[[{'A' if first > second else 'B' if second > first else 'C'}]]"


def contest(rule, model, previous, baseline=None, evaluation=EVALUATION):
    tables = model, previous, previous if baseline is None else baseline
    referee = Comparer(rule)
    verdicts = compare_with_elders(*tables, referee, evaluation)
    return referee, verdicts, settle_comparisons(*tables, verdicts, evaluation, 0)


def test_every_comparison_is_shown_in_both_orders():
    """A referee that always prefers the first response gives ties, which are counted."""
    referee, verdicts, (table, metrics) = contest(
        lambda one: "[[A]]", scores("m2", {"a": [5]}), scores("m1", {"a": [0]})
    )
    assert table["tie"].tolist() == [100.0]
    assert [(one.prompt, one.first, one.second) for one in referee.seen] == [
        ("do a", "m2 5", "m1 0"),
        ("do a", "m1 0", "m2 5"),
    ]
    assert verdicts["order"].tolist() == ["model_first", "opponent_first"]
    assert metrics["eval/order_disagreement"] == 1.0


def test_verdicts_are_kept_raw_with_what_was_compared():
    """The table has each response, the order, the raw verdict and how it was parsed."""
    _, verdicts, _ = contest(
        lambda one: f"So. {better(one)}", scores("m2", {"a": [5]}), scores("m1", {"a": [0]})
    )
    assert list(verdicts.columns) == COLUMNS
    assert verdicts.iloc[1].to_dict() == {
        "model": "m2",
        "opponent": "m1",
        "prompt_id": "a",
        "response_id": "m2-a-s0",
        "response_id_other": "m1-a-s0",
        "order": "opponent_first",
        "text": "So. [[B]]",
        "finish": "stop",
        "thought": "",
        "verdict": "second",
        "reason": "ok",
    }


def test_comparisons_overrule_the_scores():
    """The comparisons decide the head-to-head, and a referee need not score."""

    def prefer_m1(one):
        return "[[A]]" if one.first.startswith("m1") else "[[B]]"

    unscored = scores("m1", {"a": [0]}).assign(score=NAN)
    _, _, (table, _) = contest(prefer_m1, scores("m2", {"a": [5]}), unscored)
    assert table["loss"].tolist() == [100.0]


def test_a_true_comparer_and_the_scores_agree():
    """Both give the same wins, ties, losses and intervals."""
    tables = (
        scores("m2", {"a": [5, 3], "b": [1, 1], "c": [4, 0]}),
        scores("m1", {"a": [3, 4], "b": [1, 0], "c": [5, 0]}),
        scores("sft", {"a": [1, 1], "b": [2, 0], "c": [0, 0]}),
    )
    _, _, (compared, _) = contest(better, *tables)
    by_scores = compare_with_elders(*tables, Scorer(), EVALUATION)
    scored, _ = settle_comparisons(*tables, by_scores, EVALUATION, 0)
    pd.testing.assert_frame_equal(compared, scored)


def test_all_is_asked_at_once_and_m1_meets_its_baseline_once():
    """There is one call per model; matched pairing needs the fewest comparisons."""
    baseline = scores("sft", {"a": [1, 2], "b": [0, 3]})
    matched = EVALUATION.model_copy(update={"pairing": "matched"})
    model = scores("m1", {"a": [2, 2], "b": [1, 1]})
    referee, verdicts, _ = contest(better, model, baseline, evaluation=matched)
    assert (referee.calls, len(verdicts)) == (1, 2 * 2 * 2)
    referee, _, _ = contest(better, model, baseline)
    assert len(referee.seen) == 2 * 2 * 2 * 2


def test_words_without_a_verdict_are_left_out_and_counted():
    """A missing verdict in one order is no tie."""

    def shy(one):
        return "I cannot tell." if one.first == "m2 5" else better(one)

    model, opponent = scores("m2", {"a": [5], "b": [4]}), scores("m1", {"a": [1], "b": [1]})
    _, verdicts, (table, metrics) = contest(shy, model, opponent)
    row = table.iloc[0]
    assert (row["win"], row["tie"], row["n"]) == (100.0, 0.0, 1)
    assert verdicts["reason"].tolist() == ["no_verdict", "ok", "ok", "ok"]
    assert (metrics["eval/verdicts"], metrics["eval/verdicts_unparsed"]) == (4, 1)
    assert metrics["eval/order_disagreement"] == 0


def test_a_referee_that_says_nothing_decides_nothing():
    """The scores do not replace missing verdicts."""
    with pytest.raises(GateError, match="have no prompt in common"):
        contest(lambda one: "Well.", scores("m2", {"a": [5]}), scores("m1", {"a": [3]}))


def test_too_many_without_a_verdict_stop_the_run():
    """The message says how many, which first, and what to do."""
    limited = EVALUATION.model_copy(update={"max_unparsed": 0.4})
    shy = {"m2 5": "It is hard to tell."}
    with pytest.raises(GateError, match=r"m2.verdicts: 50% of 2 .*m2-a-s0.*hard to tell"):
        contest(
            lambda one: shy.get(one.first, "[[A]]"),
            scores("m2", {"a": [5]}),
            scores("m1", {"a": [3]}),
            evaluation=limited,
        )


def test_a_better_parser_needs_no_new_comparison():
    """The raw verdicts are parsed again; earlier parses do not count."""
    tables = scores("m2", {"a": [5]}), scores("m1", {"a": [3]}), scores("m1", {"a": [3]})
    verdicts = compare_with_elders(*tables, Comparer(better), EVALUATION)
    forgotten = verdicts.assign(verdict=None, reason="no_verdict")
    table, _ = settle_comparisons(*tables, forgotten, EVALUATION, 0)
    assert table["win"].tolist() == [100.0]


@pytest.mark.parametrize("referee", [Comparer(better), Scorer()])
def test_verdicts_survive_the_disk(referee, tmp_path):
    """The result is the same after a round trip through Parquet."""
    tables = scores("m2", {"a": [5]}), scores("m1", {"a": [3]}), scores("m1", {"a": [3]})
    compare_with_elders(*tables, referee, EVALUATION).to_parquet(tmp_path / "verdicts.parquet")
    read = pd.read_parquet(tmp_path / "verdicts.parquet")
    table, _ = settle_comparisons(*tables, read, EVALUATION, 0)
    assert table["win"].tolist() == [100.0]
