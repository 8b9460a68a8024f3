"""EFT from seed data that say which criteria each response meets."""

import math

import pandas as pd
import pytest

from srlm_kedro.errors import GateError, InputError
from srlm_kedro.judge.criteria import CriteriaPrompt, ListedCriteria, judge_by_criteria
from srlm_kedro.judge.judgements import judge_responses
from srlm_kedro.pipelines.eft import create_labels_pipeline
from srlm_kedro.pipelines.eft.labels import COLUMNS, label_faults, select_labelled
from srlm_kedro.pipelines.eft.nodes import judge_ranked
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.eft.selection import select_eft
from srlm_kedro.pipelines.ift import EftRow, prepare_eft
from srlm_kedro.pipelines.sft import eft_examples
from srlm_kedro.records import Criterion, Example
from tests.unit.fakes import M1
from tests.unit.judge.test_criteria import ChoosingEngine, log_odds

POLITE = Criterion("polite", "Is it polite?")
COMMA = Criterion("comma", "Does it have a comma?", wanted=False)
PROMPT = CriteriaPrompt("{response} {criterion}", ListedCriteria((POLITE, COMMA)))
ANY = EftParams(min_kept=1)


def pool(*points: list[bool] | None) -> pd.DataFrame:
    """One prompt with a response for each list of points."""
    responses = [
        {"text": f"answer {n}", "rank": n, **({} if met is None else {"points": met})}
        for n, met in enumerate(points)
    ]
    row = EftRow.model_validate({"id": "e0", "prompt": "ask", "responses": responses})
    return prepare_eft(pd.DataFrame([row.model_dump()]))


MANY = [[n % 3 == 0, n % 4 == 0] for n in range(24)]
"""8 of 24 meet the first criterion, 6 the second."""


def test_each_criterion_of_each_response_is_a_question_with_its_answer():
    """`Yes` where what is asked for is there: it is met and wanted, or missed and unwanted."""
    table, metrics = select_labelled(pool([True, True], [False, False]), PROMPT, ANY, seed=0)
    assert table.columns.tolist() == COLUMNS
    found = dict(zip(table["prompt"], table["completion"], strict=True))
    assert found == {
        "answer 0 Is it polite?": "Yes",
        "answer 0 Does it have a comma?": "No",
        "answer 1 Is it polite?": "No",
        "answer 1 Does it have a comma?": "Yes",
    }
    assert metrics["eft/judgements"] == metrics["eft/kept"] == 4
    assert metrics["eft/kind_polite"] == metrics["eft/kind_comma"] == 2


def test_answers_are_balanced_within_each_kind():
    """A judge must not learn which answer is commoner, of all questions or of one kind."""
    table, metrics = select_labelled(pool(*MANY), PROMPT, ANY, seed=0)
    counts = table.groupby(["kind", "completion"]).size()
    assert counts.to_dict() == {
        ("comma", "No"): 6,
        ("comma", "Yes"): 6,
        ("polite", "No"): 8,
        ("polite", "Yes"): 8,
    }
    assert metrics["eft/kept_share"] == 28 / 48


def test_no_more_than_asked_for_of_each_answer():
    """Drawn by the seed, and in the order of the pool."""
    eft = EftParams(min_kept=1, per_answer=5)
    drawn = [select_labelled(pool(*MANY), PROMPT, eft, seed)[0] for seed in (0, 0, 1)]
    assert (drawn[0].groupby(["kind", "completion"]).size() == 5).all()
    pd.testing.assert_frame_equal(drawn[0], drawn[1])
    assert not drawn[0].equals(drawn[2])
    places = [int(name.rpartition("r")[2]) for name in drawn[0]["response_id"]]
    assert places == sorted(places)


def test_too_few_examples_stop_the_run():
    """All responses meet everything, so no answer has a counterpart."""
    with pytest.raises(GateError, match=r"0 of 4 labelled criteria .*`eft\.min_kept`"):
        select_labelled(pool([True, True], [True, True]), PROMPT, ANY, seed=0)


@pytest.mark.parametrize(
    ("points", "fault"),
    [
        ([[True, False], [True]], "response e0-r1: it has 1 points, and the judge has 2"),
        ([[True, False], None], r"eft_seed: 1 of 2 .* have no `points` \(the first is e0-r1\)"),
        ([None, None], "eft_seed: 2 of 2 .*e0-r0.*Give all of them `points`, or .*eft: baseline`"),
        ([[True, False, True], [True, False]], "response e0-r0: it has 3 points"),
    ],
)
def test_points_that_do_not_fit_the_criteria_are_refused(points, fault):
    """Each response by its name, and nothing is guessed for those without."""
    with pytest.raises(InputError, match=fault):
        select_labelled(pool(*points), PROMPT, ANY, seed=0)


def test_all_faulty_responses_are_named_at_once():
    """One line for all without points, one for each other; a sound pool has none."""
    assert len(label_faults(pool(None, [True], None, [True, True]), PROMPT)) == 2
    assert label_faults(pool([True, True], [True, False]), PROMPT) == []


def test_points_come_through_a_file(tmp_path):
    """They are lists of a Parquet table when the stage reads them."""
    pool(*MANY).to_parquet(tmp_path / "ranked.parquet")
    read = pd.read_parquet(tmp_path / "ranked.parquet")
    first, second = (
        select_labelled(table, PROMPT, ANY, seed=0)[0] for table in (pool(*MANY), read)
    )
    pd.testing.assert_frame_equal(first, second)


def test_seed_data_without_points_make_the_table_that_they_always_made():
    """No column more, and the rows of the file hold no empty points."""
    table = pool(None, None)
    assert table.columns.tolist() == ["prompt_id", "prompt", "response_id", "response", "rank"]
    responses = [{"text": "x", "rank": 0}, {"text": "y", "rank": 1}]
    row = {"id": "e", "prompt": "p", "responses": responses}
    assert EftRow.model_validate(row).model_dump() == row


def test_only_the_answers_token_is_trained_on():
    """An example of a criterion has no end token; one of a judgement in words has."""
    table, _ = select_labelled(pool([True, True], [False, False]), PROMPT, ANY, seed=0)
    assert eft_examples(table)[0] == Example("answer 0 Is it polite?", "Yes", complete=False)
    worded = pd.DataFrame({"prompt": ["Q"], "completion": ["Score: 3"]})
    assert eft_examples(worded) == [Example("Q", "Score: 3", complete=True)]


def test_no_model_judges_the_labelled_responses():
    """The stage has no engine."""
    inputs = create_labels_pipeline().inputs()
    assert "criteria_prompt" in inputs
    assert not {"generation_engine", "baseline", "judge"} & inputs


def test_the_baselines_own_answers_are_examples_where_they_agree_with_people():
    """`loop.eft: baseline` in the form by criteria: the likelier answer to each question."""
    ranked = pool(None, None, None)
    polite = {"answer 0": 0.9, "answer 1": 0.6, "answer 2": 0.7}

    def read(request):
        share = polite[request.prompt[:8]] if "polite" in request.prompt else 0.25
        return log_odds(share, 1 - share)

    judgements = judge_ranked(M1, ranked, PROMPT, ChoosingEngine(read), ANY, seed=0)
    train, metrics = select_eft(ranked, judgements, PROMPT, ANY, seed=0)
    assert train["complete"].eq(False).all()
    assert set(train["response_id"]) == {"e0-r0"}
    assert train[["prompt", "completion"]].values.tolist() == [
        ["answer 0 Is it polite?", "Yes"],
        ["answer 0 Does it have a comma?", "No"],
    ]
    assert metrics["eft/judgements"] == 3
    assert all(example.complete is False for example in eft_examples(train))


def test_a_baseline_that_answers_something_else_is_told_so():
    """It says neither `Yes` nor `No`; nothing is advised that criteria refuse or that is set."""
    ranked = pool(None, None)
    unread = ChoosingEngine(lambda request: (-math.inf, -math.inf))
    judgements = judge_ranked(M1, ranked, PROMPT, unread, ANY, seed=0)
    with pytest.raises(GateError) as told:
        select_eft(ranked, judgements, PROMPT, ANY, seed=0)
    assert "Of no use: 2 no_answer (neither answer" in str(told.value)
    assert "Spell the answers" in str(told.value)
    _, metrics = select_eft(ranked, judgements, PROMPT, EftParams(min_kept=0), seed=0)
    assert (metrics["eft/unparsed_no_answer"], metrics["eft/unparsed_no_score"]) == (2, 0)
    tied = ChoosingEngine(lambda request: log_odds(0.5, 0.5))
    judgements = judge_ranked(M1, ranked, PROMPT, tied, ANY, seed=0)
    with pytest.raises(GateError) as told:
        select_eft(ranked, judgements, PROMPT, ANY, seed=0)
    assert "2 disagreeing" in str(told.value)
    assert "`loop.eft: labels`" in str(told.value)
    assert "ranking`" not in str(told.value)
    assert "judge_form" not in str(told.value)


def test_judging_once_more_gives_the_same_table():
    """Nothing is drawn: neither seed nor retries have an effect."""
    ranked = pool(None, None)
    engine = ChoosingEngine(lambda request: log_odds(0.4, 0.2))
    first = judge_responses(engine, M1, PROMPT, ranked, ANY.sampling, seed=0, retries=5).whole()
    second = judge_responses(engine, M1, PROMPT, ranked, ANY.sampling, seed=9).whole()
    pd.testing.assert_frame_equal(first, second)
    assert len(judge_by_criteria(engine, M1, PROMPT, ranked)) == 2
