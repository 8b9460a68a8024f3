"""The seed data of verifiable instructions."""

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from pydantic import ValidationError

from srlm_kedro.engines.generation.base import Completion
from srlm_kedro.errors import GateError
from srlm_kedro.pipelines.ift import EftRow, EvalRow, IftRow, refuse_faulty_seed
from srlm_kedro.pipelines.verifiable.nodes import (
    check_seed_responses,
    draw_seed_responses,
    make_instructions,
)
from srlm_kedro.pipelines.verifiable.params import VerifiableParams
from srlm_kedro.records import Checkpoint
from srlm_kedro.verifiable.constraints import UNSEEN_KINDS
from srlm_kedro.verifiable.instructions import parse
from srlm_kedro.verifiable.topics import TOPICS, UNSEEN_TOPICS
from tests.unit.fakes import FakeEngine

M0 = Checkpoint(Path("m0"), "m0")
SMALL = VerifiableParams(ift=30, eft=40, eval_prompts=20)


def topic(prompt: str) -> str:
    """The longest known topic in a prompt's first sentences."""
    return max((one for one in (*TOPICS, *UNSEEN_TOPICS) if one in prompt), key=len)


def test_every_prompt_is_there_once():
    """As many of each use as asked for, and none in two tables."""
    table = make_instructions(VerifiableParams(ift=2000, eft=3000, eval_prompts=500))
    assert table["use"].value_counts().to_dict() == {"ift": 2000, "eft": 3000, "eval": 500}
    assert table["prompt"].is_unique
    assert table["id"].is_unique
    rows = [table[table["use"] == use] for use in ("ift", "eft", "eval")]
    refuse_faulty_seed(dict(zip(("ift", "eft", "eval"), rows, strict=True)))


def test_unseen_topics_and_kinds_are_held_out_only():
    """A quarter of the held-out prompts each, and the column `seen` says so."""
    table = make_instructions(VerifiableParams(ift=300, eft=300, eval_prompts=40))
    kinds = table["prompt"].map(lambda text: {each.kind for each in parse(text).constraints})
    new_kind = kinds.map(lambda each: bool(each & set(UNSEEN_KINDS)))
    new_topic = table["prompt"].map(topic).isin(UNSEEN_TOPICS)
    held_out = table["use"] == "eval"
    assert not (new_kind | new_topic)[~held_out].any()
    assert (new_kind.sum(), new_topic.sum()) == (10, 10)
    assert not (new_kind & new_topic).any()
    assert table["seen"].equals(~(new_kind | new_topic))
    assert table.loc[new_kind, "kind"].str.startswith("unseen kind: ").all()
    assert table.loc[new_topic, "kind"].str.startswith("unseen topic: ").all()


@pytest.mark.parametrize(("topics", "kinds"), [(0.0, 0.0), (1.0, 0.0), (0.5, 0.5), (0.45, 0.55)])
def test_the_shares_never_change_the_number_of_held_out_prompts(topics, kinds):
    """Also where both round up."""
    params = VerifiableParams(
        ift=1, eft=1, eval_prompts=9, unseen_topics=topics, unseen_kinds=kinds
    )
    assert (make_instructions(params)["use"] == "eval").sum() == 9


def test_shares_above_one_are_refused():
    """They are shares of the same prompts."""
    with pytest.raises(ValidationError, match="together above 1"):
        VerifiableParams(unseen_topics=0.6, unseen_kinds=0.5)


def test_the_same_seed_gives_the_same_prompts():
    """Another seed others."""
    first, again, other = (
        make_instructions(SMALL.model_copy(update={"seed": seed})) for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(first, again)
    assert not set(first["prompt"]) & set(other["prompt"])


def test_only_prompts_to_learn_from_are_answered():
    """`sampling.n` responses to each, by M0; held-out prompts get none."""
    engine = FakeEngine(lambda request, sample: f"answer {sample}")
    table = make_instructions(SMALL)
    drawn = draw_seed_responses(M0, table, engine, SMALL)
    assert engine.models == ["m0"]
    assert {request.prompt for request in engine.requests} == set(
        table.loc[table["use"] != "eval", "prompt"]
    )
    assert drawn["id"].value_counts().eq(4).all()


class Points:
    """A checker whose verdicts a response names: `1 0` meets the first of two constraints."""

    def assess_all(self, pairs):
        return [
            SimpleNamespace(verdicts=[("kind", mark == "1") for mark in response.split()])
            for _, response in pairs
        ]


def instructions(**uses: str) -> pd.DataFrame:
    """A prompt for each id, with its use."""
    rows = [(name, use, f"ask {name}", "include", True) for name, use in uses.items()]
    return pd.DataFrame(rows, columns=["id", "use", "prompt", "kind", "seen"])


def answered(*rows: tuple[str, str] | tuple[str, str, str]) -> pd.DataFrame:
    """Responses by the id of their prompt."""
    full = [(*row, "stop")[:3] for row in rows]
    return pd.DataFrame(full, columns=["id", "response", "finish"])


USES = instructions(i1="ift", i2="ift", e1="eft", e2="eft", v1="eval")


def test_the_best_complete_response_is_the_ift_example():
    """The first of equal ones; a prompt whose responses meet nothing, or are cut, is left out."""
    drawn = answered(
        *(("i1", "0 1"), ("i1", "1 1", "length"), ("i1", "1 0"), ("i1", "0 0")),
        *(("i2", "0 0"), ("i2", "1 1", "length")),
        *(("e1", "1 0"), ("e1", "0 0")),
    )
    ift, _, _ = check_seed_responses(USES, drawn, Points())
    assert ift.values.tolist() == [["i1", "ask i1", "0 1"]]


def test_eft_says_of_each_response_what_it_meets():
    """Ranks are by the share met, equal ones share a rank, and cut responses count too."""
    drawn = answered(
        ("i1", "1 1"),
        *(("e1", "0 1"), ("e1", "1 1", "length"), ("e1", "1 0"), ("e1", "0 0"), ("e1", "0 1")),
        *(("e2", "1 1"), ("e2", " ")),
    )
    _, eft, _ = check_seed_responses(USES, drawn, Points())
    assert eft["id"].tolist() == ["e1"]
    assert eft["responses"][0] == [
        {"text": "0 1", "rank": 1, "points": [False, True]},
        {"text": "1 1", "rank": 0, "points": [True, True]},
        {"text": "1 0", "rank": 1, "points": [True, False]},
        {"text": "0 0", "rank": 2, "points": [False, False]},
    ]


@pytest.mark.parametrize("missing", ["ift", "eft"])
def test_a_model_that_meets_nothing_stops_the_run(missing):
    """There would be nothing to learn from."""
    rows = {"ift": [("i1", "1 1")], "eft": [("e1", "1 1"), ("e1", "0 1")]}
    drawn = answered(*(row for use, group in rows.items() if use != missing for row in group))
    with pytest.raises(GateError, match="meet a constraint, which is too few for IFT and EFT"):
        check_seed_responses(USES, drawn, Points())


def test_the_tables_are_rows_of_the_seed_data():
    """They are what the loop reads, by the real programs."""
    pytest.importorskip("langdetect")
    from srlm_kedro.verifiable.referee import Checker

    texts = [
        "In short: tea is warm.",
        "* one\n* two\n* three\nP.S. Good, very good family news.",
        "",
    ]
    engine = FakeEngine(lambda request, sample: Completion(texts[sample % 3], 9, "stop"))
    table = make_instructions(SMALL)
    made = [
        check_seed_responses(table, draw_seed_responses(M0, table, engine, SMALL), Checker())
        for _ in range(2)
    ]
    for kind, first, again in zip((IftRow, EftRow, EvalRow), *made, strict=True):
        pd.testing.assert_frame_equal(first, again)
        for row in first.to_dict("records"):
            kind.model_validate(row)
    ift, eft, held_out = made[0]
    assert len(held_out) == 20
    assert set(ift["prompt"]).isdisjoint(eft["prompt"])
    for row in eft.itertuples():
        for response in row.responses:
            assert len(response["points"]) == len(parse(row.prompt).constraints)


RAW = Path(__file__).parents[3] / "data/01_raw/smollm"


def lines_of(file):
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_the_committed_prompts_are_those_that_the_code_makes():
    """All of conf/smollm's, by their ids."""
    conf = Path(__file__).parents[3] / "conf/smollm/parameters.yml"
    given = yaml.safe_load(conf.read_text("utf-8"))["verifiable"]
    made = make_instructions(VerifiableParams(**given)).set_index("id")["prompt"]
    rows = [row for file in RAW.glob("*.jsonl") for row in lines_of(file)]
    assert {row["id"]: row["prompt"] for row in rows}.items() <= made.to_dict().items()
    assert sum(row["id"].startswith("eval") for row in rows) == 160


def test_the_committed_points_are_those_that_the_programs_give():
    """And ranks follow them."""
    pytest.importorskip("langdetect")
    from srlm_kedro.verifiable.referee import Checker

    for row in lines_of(RAW / "eft.jsonl"):
        found = Checker().assess_all([(row["prompt"], each["text"]) for each in row["responses"]])
        points = [[met for _, met in one.verdicts] for one in found]
        assert points == [each["points"] for each in row["responses"]], row["id"]
        shares = sorted({sum(each) for each in points}, reverse=True)
        ranks = [shares.index(sum(each)) for each in points]
        assert ranks == [each["rank"] for each in row["responses"]], row["id"]
