"""The contamination check and its gate."""

import logging
from pathlib import Path

import pandas as pd
import pytest

from srlm_kedro.errors import GateError, InputError
from srlm_kedro.pipelines.contamination import create_pipeline, create_seed_pipeline
from srlm_kedro.pipelines.contamination.nodes import (
    COLUMNS,
    ContaminationParams,
    check_contamination,
    check_seed_contamination,
    gate_contamination,
    gate_seed_contamination,
)
from srlm_kedro.records import Checkpoint

M1 = Checkpoint(Path("m1"), "m1")
PARAMS = ContaminationParams(ngram=3, max_exact_share=0.25, max_overlap_share=0.5)
HELD_OUT = pd.DataFrame(
    {
        "id": ["e1", "e2", "e3", "e4"],
        "prompt": ["Name two birds.", "Sort 3, 1 and 2.", "Say the word elm twice.", "Hello?"],
    }
)


def _seed(prompts, responses):
    ids = [f"p{number}" for number in range(len(prompts))]
    return pd.DataFrame({"prompt_id": ids, "prompt": prompts, "response": responses})


def _ranked(prompt, *responses):
    rows = [("q0", prompt, f"q0-r{n}", text) for n, text in enumerate(responses)]
    return pd.DataFrame(rows, columns=["prompt_id", "prompt", "response_id", "response"])


def _pairs(chosen, rejected):
    row = {"chosen_id": "c", "chosen": chosen, "rejected_id": "r", "rejected": rejected}
    return pd.DataFrame([row])


def _prompts(*texts):
    return pd.DataFrame({"prompt_id": [f"m2-p{n}" for n in range(len(texts))], "prompt": texts})


def test_seed_prompts_and_responses_are_looked_at():
    """An evaluation prompt is found in each of the four columns of text."""
    table, metrics = check_seed_contamination(
        _seed(["name two BIRDS"], ["I say: sort 3, 1 and 2. Done."]),
        _ranked("Say the word elm", "hello", "no"),
        PARAMS,
        eval_prompts=HELD_OUT,
    )
    assert list(table.columns) == COLUMNS
    assert table[["eval_id", "source", "source_id", "kind"]].to_numpy().tolist() == [
        ["e1", "ift.prompt", "p0", "exact"],
        ["e2", "ift.response", "p0", "ngram"],
        ["e3", "eft_ranked.prompt", "q0", "ngram"],
        ["e4", "eft_ranked.response", "q0-r0", "exact"],
    ]
    assert metrics == {
        "contamination/eval_prompts_prompts": 4,
        "contamination/eval_prompts_exact": 2,
        "contamination/eval_prompts_overlapping": 4,
        "contamination/exact_share": 0.5,
        "contamination/overlap_share": 1.0,
    }


def test_a_prompt_of_several_rows_is_one_text():
    """A ranked prompt occurs in the row of each response, and counts once."""
    table, _ = check_seed_contamination(
        _seed([], []), _ranked("Name two birds", "a", "b", "c"), PARAMS, eval_prompts=HELD_OUT
    )
    assert table["texts"].tolist() == [1]


def test_new_prompts_and_both_sides_of_pairs_are_looked_at():
    """A prompt that gave no pair is checked too."""
    table, _ = check_contamination(
        _prompts("Name two birds!", "Something else."),
        _pairs("Sort 3, 1 and 2.", "I say the word elm."),
        PARAMS,
        eval_prompts=HELD_OUT,
    )
    assert table["source"].tolist() == ["prompts.prompt", "pairs.chosen", "pairs.rejected"]
    assert table["overlap"].tolist() == [1.0, 1.0, pytest.approx(2 / 3)]


def test_each_evaluation_set_counts_for_itself_and_the_worst_decides():
    """A small set that is contaminated as a whole counts more than a large one."""
    small = pd.DataFrame({"id": ["b1"], "prompt": ["Who are you, my friend?"]})
    _, metrics = check_contamination(
        _prompts("Who are you, my friend?"),
        _pairs("a", "b"),
        PARAMS,
        eval_prompts=HELD_OUT,
        bench=small,
    )
    assert metrics["contamination/eval_prompts_exact"] == 0
    assert metrics["contamination/bench_exact"] == 1
    assert metrics["contamination/exact_share"] == 1.0


def test_a_small_overlap_stands_in_the_table_and_counts_from_the_limit_on():
    """`min_overlap` decides what is counted, not what is in the table."""
    asked = (_prompts("Say the word oak."), _pairs("a", "b"))
    for least, counted in ((0.0, 1), (1 / 3, 0)):
        params = ContaminationParams(ngram=3, min_overlap=least)
        table, metrics = check_contamination(*asked, params, eval_prompts=HELD_OUT)
        assert table["eval_id"].tolist() == ["e3"]
        assert metrics["contamination/eval_prompts_overlapping"] == counted


def test_alpaca_eval_and_mt_bench_are_read_as_they_come():
    """Instructions get numbers as ids, and each turn of a question is checked."""
    table, metrics = check_contamination(
        _prompts("Name two birds.", "Now in French, please."),
        _pairs("a", "b"),
        PARAMS,
        alpaca=[{"instruction": "What?", "output": ""}, {"instruction": "Name two birds"}],
        mt_bench=pd.DataFrame(
            {"question_id": ["81"], "turns": [["Say elm.", "Now in French please"]]}
        ),
    )
    assert table[["eval_set", "eval_id"]].to_numpy().tolist() == [
        ["alpaca", "1"],
        ["mt_bench", "81-t2"],
    ]
    assert metrics["contamination/mt_bench_prompts"] == 2


def test_evaluation_sets_that_cannot_be_read_are_refused_together():
    """An empty set has no share, and a set of unknown form does not pass as clean."""
    with pytest.raises(InputError) as refused:
        check_contamination(
            _prompts("x"), _pairs("a", "b"), PARAMS, bench=HELD_OUT.head(0), odd=[{"text": "x"}]
        )
    assert "bench: no prompts" in str(refused.value)
    assert "odd: needs columns id and prompt, key and prompt (IFEval), " in str(refused.value)


def test_clean_data_passes_without_a_word(caplog):
    """There is no row and no warning."""
    table, metrics = check_contamination(
        _prompts("Quite another thing."), _pairs("a", "b"), PARAMS, eval_prompts=HELD_OUT
    )
    with caplog.at_level(logging.WARNING):
        assert gate_contamination(M1, table, metrics, PARAMS) == {"checked": True}
    assert table.empty
    assert not caplog.records


def test_what_the_limits_bear_is_told_as_a_warning(caplog):
    """One of four prompts is within a limit of a quarter, and is logged."""
    table, metrics = check_contamination(
        _prompts("Name two birds."), _pairs("a", "b"), PARAMS, eval_prompts=HELD_OUT
    )
    with caplog.at_level(logging.WARNING):
        gate_contamination(M1, table, metrics, PARAMS)
    assert "25.0% of the prompts" in caplog.text
    assert "eval_prompts e1 equals prompts.prompt m2-p0: 'Name two birds.'" in caplog.text


def test_too_many_equal_prompts_stop_the_iteration():
    """The message says which model, which limit, what was found, and where to look."""
    table, metrics = check_contamination(
        _prompts("Name two birds.", "Hello"), _pairs("a", "b"), PARAMS, eval_prompts=HELD_OUT
    )
    with pytest.raises(GateError) as refused:
        gate_contamination(M1, table, metrics, PARAMS)
    message = str(refused.value)
    assert message.startswith(
        "m2: in the evaluation set with the largest share, 50.0% of the prompts"
    )
    assert "over `contamination.max_exact_share` = 0.25)" in message
    assert "read the table m2.contamination" in message
    assert "eval_prompts e4 equals prompts.prompt m2-p1" in message


def test_too_many_overlaps_stop_the_seed_data():
    """Overlaps have a limit of their own; the examples begin with the largest."""
    table, metrics = check_seed_contamination(
        _seed(
            ["Say the word oak", "Name two birds and trees", "Then sort 3, 1 and 4"], ["", "", ""]
        ),
        _ranked("x", "y"),
        PARAMS,
        eval_prompts=HELD_OUT,
    )
    with pytest.raises(GateError, match=r"max_overlap_share` = 0.5\)") as refused:
        gate_seed_contamination(table, metrics, PARAMS)
    message = str(refused.value)
    assert message.startswith("seed data: in the evaluation set with the largest share, ")
    assert message.index("e1 shares 100% of its runs") < message.index("e3 shares 33%")


def test_the_pipelines_have_the_agreed_names():
    """Free inputs and outputs, with one evaluation set or several."""
    made = {"contamination", "contamination_metrics", "contamination_checked"}
    seed = create_seed_pipeline()
    assert seed.inputs() == {"ift", "eft_ranked", "eval_prompts", "params:contamination"}
    assert seed.all_outputs() == made
    step = create_pipeline(["eval_prompts", "mt_bench.questions"])
    assert step.inputs() == {
        *("policy", "prompts", "pairs", "eval_prompts", "mt_bench.questions"),
        "params:contamination",
    }
    assert step.all_outputs() == made


def test_both_turns_of_a_benchmark_are_held_against_training():
    """A second turn that occurs in the seed data counts, in every form of the table."""
    questions = pd.DataFrame({"id": ["81"], "prompt": ["Write."], "follow_up": ["Name two birds."]})
    seed = _seed(["Name two birds."], ["Owl and crow."])
    table, _ = check_seed_contamination(seed, _ranked("Why?", "So."), PARAMS, mt_bench=questions)
    assert table[["eval_id", "kind"]].to_numpy().tolist() == [["81-t2", "exact"]]


def test_ifevals_own_rows_are_a_set():
    """Its keys are the ids."""
    rows = [{"key": 1000, "prompt": "Name two birds.", "kwargs": [{}]}]
    table, metrics = check_seed_contamination(
        _seed(["name two birds"], ["Ok."]),
        _ranked("Hm?", "a", "b"),
        PARAMS,
        eval_prompts=HELD_OUT,
        ifeval_prompts=rows,
    )
    assert metrics["contamination/ifeval_prompts_exact"] == 1
    assert table[table["eval_set"] == "ifeval_prompts"]["eval_id"].tolist() == ["1000"]


def test_a_set_that_is_not_there_is_left_out():
    """The others are compared, and the absent one has no count."""
    _, metrics = check_seed_contamination(
        _seed(["name two birds"], ["Ok."]),
        _ranked("Hm?", "a", "b"),
        PARAMS,
        eval_prompts=HELD_OUT,
        ifeval_prompts=None,
    )
    assert metrics["contamination/eval_prompts_exact"] == 1
    assert not [name for name in metrics if "ifeval" in name]
