"""From human conversations to seed data."""

from collections import Counter

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from srlm_kedro.datasets.oasst import OasstDataset
from srlm_kedro.errors import InputError
from srlm_kedro.pipelines.ift import (
    EftRow,
    EvalRow,
    IftRow,
    prepare_eft,
    prepare_ift,
    refuse_faulty_seed,
)
from srlm_kedro.pipelines.oasst.nodes import select_oasst
from srlm_kedro.pipelines.oasst.screening import OasstParams
from tests.unit.oasst.trees import SERIALISATIONS, flat, prompt, reply, trapped, tree

REASONS = {
    "d": "duplicate prompt",
    **dict.fromkeys(["e", "e0", "f0"], "synthetic"),
    "f": "lost best reply",
    "g": "gap in ranks",
    "h": "equal ranks",
    "i": "no ranked reply",
    **dict.fromkeys(["b2", "i0", "i1"], "unranked"),
    **dict.fromkeys(["j", "j0", "r2"], "language"),
    "k": "rejected in review",
    **dict.fromkeys(["l", "r0"], "deleted"),
    **dict.fromkeys(["m", "r4"], "spam"),
    "n": "no text",
    **dict.fromkeys(["o", "o0", "o1"], "tree state"),
    **dict.fromkeys(["p", "p0"], "wrong role"),
    "q": "no ranked reply",
    **dict.fromkeys(["a-next", "a-last"], "not first turn"),
    **dict.fromkeys(["d0", "d1", "f1", "g0", "g2", "h0", "h1"], "prompt dropped"),
    **dict.fromkeys(["k0", "l0", "m0", "n0"], "prompt dropped"),
}


def messages(tmp_path, content):
    path = tmp_path / "export"
    path.write_bytes(content)
    return OasstDataset(str(path)).load()


def selected(tmp_path, trees, seed=0, form="trees", **given):
    table = messages(tmp_path, SERIALISATIONS[form](trees))
    return select_oasst(table, OasstParams(**given), seed)


def many(count):
    """Sound trees of two and three ranked replies."""
    return [
        tree(prompt(f"t{n}", f"Prompt {n}", *(reply(f"t{n}-{r}", r) for r in range(2 + n % 2))))
        for n in range(count)
    ]


def test_every_message_is_used_or_dropped_for_one_reason(tmp_path):
    """Prompts, their replies and the drops are together all messages."""
    *_, drops, metrics = selected(tmp_path, trapped())
    assert dict(drops.itertuples(index=False)) == REASONS
    assert metrics["oasst/messages"] == len(flat(trapped()))
    kept = metrics["oasst/prompts"] + metrics["oasst/ranked_replies"]
    assert metrics["oasst/messages"] == kept + metrics["oasst/dropped"]
    assert (metrics["oasst/prompts"], metrics["oasst/ranked_replies"]) == (4, 8)
    assert metrics["oasst/ordered_pairs"] == 3 + 1 + 0 + 1


def test_every_reason_is_a_metric(tmp_path):
    """Also the reasons that dropped nothing."""
    *_, metrics = selected(tmp_path, trapped())
    told = {name: value for name, value in metrics.items() if name.startswith("oasst/dropped_")}
    counted = Counter(f"oasst/dropped_{reason.replace(' ', '_')}" for reason in REASONS.values())
    assert {name: value for name, value in told.items() if value} == counted
    assert told["oasst/dropped_missing_parent"] == 0


@pytest.mark.parametrize("form", SERIALISATIONS)
def test_the_serialisation_changes_nothing(tmp_path, form):
    """The same trees give the same tables, whatever the order and the format."""
    expected = selected(tmp_path, trapped() + many(20))
    for found, wanted in zip(
        selected(tmp_path, trapped() + many(20), form=form), expected, strict=True
    ):
        if isinstance(wanted, dict):
            assert found == wanted
        else:
            assert_frame_equal(found, wanted)


def test_tables_have_the_shape_of_seed_data(tmp_path):
    """Each row fits the record of its table, and the tables pass the check of all seed data."""
    ift, eft, held_out, *_ = selected(tmp_path, many(40))
    for table, record in ((ift, IftRow), (eft, EftRow), (held_out, EvalRow)):
        assert [record.model_validate(row).model_dump() for row in table.to_dict("records")] == (
            table.to_dict("records")
        )
    refuse_faulty_seed({"ift_seed": ift, "eft_seed": eft, "eval_prompts": held_out})
    assert (len(ift), len(eft), len(held_out)) == (18, 18, 4)


def test_ift_takes_the_best_reply_and_eft_all_that_are_comparable(tmp_path):
    """Ranks are counted among the replies kept; the order of replies does not show the ranks."""
    # `r` lost its best reply, so that it can serve EFT alone.
    ift, eft, *_ = selected(tmp_path, trapped(), max_eval_share=0, eft_share=0.4)
    best = {"a": "Reply a0", "b": "Reply b0", "c": "Reply c0"}
    assert dict(zip(ift["id"], ift["response"], strict=True)) == best
    assert eft.to_dict("records") == [
        {
            "id": "r",
            "prompt": "Not all is lost",
            "responses": [{"text": "Reply r1", "rank": 0}, {"text": "Reply r3", "rank": 1}],
        }
    ]
    _, eft, *_ = selected(tmp_path, trapped(), max_eval_share=0, eft_share=0.99)
    ranks = {row.id: [each["rank"] for each in row.responses] for row in eft.itertuples()}
    assert ranks == {"a": [0, 1, 2], "b": [0, 1], "r": [0, 1]}
    backwards = [tree(prompt("z", "Why not?", reply("z0", 1), reply("z1", 0)))]
    single = [tree(prompt("s", "For IFT", reply("s0", 0)))]
    _, eft, *_ = selected(tmp_path, backwards + single, max_eval_share=0, eft_share=0.99)
    assert [each["rank"] for each in eft.set_index("id").loc["z", "responses"]] == [1, 0]


def test_a_prompt_whose_best_reply_was_dropped_never_goes_to_ift(tmp_path):
    """If `eft_share` is 0 it is not used, and counted."""
    ift, *_, metrics = selected(tmp_path, trapped(), max_eval_share=0, eft_share=0)
    assert set(ift["id"]) == {"a", "b", "c"}
    assert metrics["oasst/unused_prompts"] == 1


def test_the_split_follows_from_prompts_and_seed(tmp_path):
    """Another seed, another split; another order or other ids, the same."""
    ift, eft, held_out, *_ = selected(tmp_path, many(30))
    again = selected(tmp_path, many(30)[::-1])
    assert_frame_equal(again[0], ift)
    assert set(selected(tmp_path, many(30), seed=1)[2]["id"]) != set(held_out["id"])
    table = messages(tmp_path, SERIALISATIONS["trees"](many(30)))
    table = table.replace(r"^t(\d)", r"z\1", regex=True)
    found = select_oasst(table, OasstParams(), 0)
    assert found[1]["id"].str.startswith("z").all()
    assert list(found[1]["prompt"]) == list(eft["prompt"])


def test_counts_and_shares_are_kept(tmp_path):
    """Held out: a number, and of few prompts a share; IFT: a number; EFT: a share of the rest."""
    ift, eft, held_out, _, metrics = selected(
        tmp_path, many(100), eval_count=7, eft_share=0.25, ift_count=20
    )
    assert (len(held_out), len(eft), len(ift)) == (7, 23, 20)
    assert metrics["oasst/unused_prompts"] == 50
    assert metrics["oasst/eft_replies"] == eft["responses"].map(len).sum()
    ift, eft, held_out, *_ = selected(tmp_path, many(100), ift_count=None, eft_share=0)
    assert (len(held_out), len(eft), len(ift)) == (10, 0, 90)


def test_fewer_rows_than_asked_for_are_told_with_the_reason(tmp_path, caplog):
    """Of few prompts, a share limits what is held out, and EFT's part limits IFT."""
    with caplog.at_level("INFO"):
        *_, metrics = selected(tmp_path, many(40), eval_count=10, ift_count=24)
    assert (metrics["oasst/eval_short"], metrics["oasst/ift_short"]) == (6, 6)
    sizes, held_out, ift = caplog.messages
    assert sizes.startswith("oasst: of 40 usable prompts, 4 are held out for evaluation, 18 go to")
    assert "`oasst.eval_count` = 10 evaluation prompts were asked for, there are 4" in held_out
    assert "`oasst.max_eval_share` = 0.1 of 40 prompts" in held_out
    assert "`oasst.ift_count` = 24 IFT examples were asked for, there are 18" in ift
    assert "18 are EFT's" in ift
    assert "`oasst.eft_share` (now 0.5)" in ift


def test_what_was_asked_for_and_is_there_is_told_without_a_warning(tmp_path, caplog):
    """One line has the sizes. `ift_count: null` asks for no number."""
    with caplog.at_level("INFO"):
        *_, metrics = selected(tmp_path, many(100), eval_count=7, ift_count=20)
        *_, all_left = selected(tmp_path, many(100), eval_count=7, ift_count=None)
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO"]
    assert metrics["oasst/ift_short"] == all_left["oasst/ift_short"] == 0


def test_long_texts_are_counted_drops(tmp_path):
    """A long prompt is dropped with its replies, a long reply without the others."""
    trees = [
        tree(prompt("a", "x" * 11, reply("a0", 0), reply("a1", 1))),
        tree(prompt("b", "x" * 10, reply("b0", 0), reply("b1", 1), reply("b2-is-long", 2))),
        *many(4),
    ]
    *_, drops, metrics = selected(
        tmp_path, trees, max_prompt_characters=10, max_response_characters=10
    )
    dropped = dict(drops.itertuples(index=False))
    assert dropped == {
        **{"a": "too long", "b2-is-long": "too long"},
        **{"a0": "prompt dropped", "a1": "prompt dropped"},
    }
    assert metrics["oasst/dropped_too_long"] == 2


def test_other_languages_can_be_wanted(tmp_path):
    """Both prompts and replies are in that language."""
    ift, *_ = selected(tmp_path, trapped(), languages=("es",), eft_share=0)
    assert list(ift["id"]) == ["j"]


def test_messages_without_a_sure_place_are_counted_drops(tmp_path):
    """Faults of structure drop messages; sound trees are used."""
    twice = prompt("t1", "the id of another")
    rows = [*many(6), tree(twice)]
    *_, drops, metrics = selected(tmp_path, rows)
    assert set(drops["reason"]) == {"duplicate id"}
    assert metrics["oasst/dropped_duplicate_id"] == 5
    assert metrics["oasst/prompts"] == 5


def test_nothing_left_is_refused_with_the_reasons(tmp_path):
    """It holds for an export of synthetic conversations, and for an empty one."""
    machine = [tree(prompt("a", "p", reply("a0", 0, synthetic=True), synthetic=True))]
    with pytest.raises(InputError, match=r"left for IFT and EFT.*synthetic 2"):
        selected(tmp_path, machine)
    single = [tree(prompt("a", "p", reply("a0", 0)))]
    with pytest.raises(InputError, match="left for EFT"):
        selected(tmp_path, single)
    assert len(selected(tmp_path, single, eft_share=0)[0]) == 1


def test_tables_survive_parquet_on_the_way_to_the_next_stage(tmp_path):
    """Lists of mappings come back as arrays of them."""
    ift, eft, *_ = selected(tmp_path, many(12))
    for name, table in (("ift", ift), ("eft", eft)):
        table.to_parquet(tmp_path / name)
    assert_frame_equal(prepare_eft(pd.read_parquet(tmp_path / "eft")), prepare_eft(eft))
    assert_frame_equal(prepare_ift(pd.read_parquet(tmp_path / "ift")), prepare_ift(ift))
    assert prepare_eft(eft)["response_id"].is_unique
