"""Pairs, chats and scored completions of other datasets as seed data."""

import json
import logging

import pandas as pd
import pytest
from kedro.io import DatasetError

from srlm_kedro.datasets.rows.dialogues import UnusableRowError
from srlm_kedro.datasets.rows.preferences import CONTRADICTING, REASONS, common_ranking
from srlm_kedro.datasets.seed import SeedDataset
from srlm_kedro.errors import InputError
from srlm_kedro.pipelines.ift import prepare_eft

IFT, EFT, EVAL = (f"srlm_kedro.pipelines.ift.{name}Row" for name in ("Ift", "Eft", "Eval"))


def said(role, content):
    return {"role": role, "content": content}


def chat(*texts, **names):
    """A chat in which user and assistant alternate."""
    keys = names or {"role": "role", "user": "user", "assistant": "assistant", "content": "content"}
    return [
        {keys["role"]: keys["assistant" if n % 2 else "user"], keys["content"]: text}
        for n, text in enumerate(texts)
    ]


def hh(*texts):
    speakers = ["Human", "Assistant"] * len(texts)
    turns = (f"\n\n{speaker}: {text}" for speaker, text in zip(speakers, texts, strict=False))
    return "".join(turns)


def seed(tmp_path, rows, record=EFT, **options):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return SeedDataset(str(path), record, **options)


def read(tmp_path, rows, record=EFT, **options):
    return seed(tmp_path, rows, record, **options).load().to_dict("records")


def ranked(*texts):
    """The texts, from the best to the worst."""
    return [{"text": text, "rank": rank} for rank, text in enumerate(texts)]


PAIR = {"prompt": "p", "chosen": "good", "rejected": "bad"}
FORMS = {
    "texts": PAIR,
    "full chats": {"chosen": chat("p", "good"), "rejected": chat("p", "bad")},
    "full chats and the prompt": {
        **{"prompt": "p", "chosen": chat("p", "good"), "rejected": chat("p", "bad")}
    },
    "chats that go on": {
        "prompt": chat("p"),
        "chosen": [said("assistant", "good")],
        "rejected": [said("assistant", "bad")],
    },
    "one message each": {
        **{"prompt": "p", "chosen": said("assistant", "good"), "rejected": said("gpt", "bad")}
    },
    "an empty system message": {
        "chosen": [said("system", ""), *chat("p", "good")],
        "rejected": chat("p", "bad"),
    },
    "content in parts": {
        "chosen": [said("user", [{"type": "text", "text": "p"}]), said("assistant", "good")],
        "rejected": chat("p", "bad"),
    },
    "dialogues": {"chosen": hh("p", "good"), "rejected": hh("p", "bad")},
    "dialogues that go on": {"prompt": hh("p", ""), "chosen": " good", "rejected": " bad"},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_pair_is_a_ranking_of_two(tmp_path, form):
    """A pair has texts, chat messages, or texts with `Human:` and `Assistant:`."""
    (row,) = read(tmp_path, [FORMS[form]])
    assert row == {"id": "eft-0001", "prompt": "p", "responses": ranked("good", "bad")}


@pytest.mark.parametrize("form", FORMS)
def test_a_pair_is_an_example_where_examples_are_asked_for(tmp_path, form):
    """The example has the chosen response."""
    assert read(tmp_path, [FORMS[form]], IFT) == [
        {"id": "ift-0001", "prompt": "p", "response": "good"}
    ]


def test_ultrafeedback_is_read_for_every_table(tmp_path):
    """With only the id in `columns`, the columns that repeat the pair are ignored."""
    row = {
        **FORMS["full chats and the prompt"],
        **{"prompt_id": "ab", "messages": chat("p", "good"), "score_chosen": 8.0},
    }
    columns = {"id": "prompt_id"}
    assert read(tmp_path, [row], columns=columns)[0]["responses"] == ranked("good", "bad")
    assert read(tmp_path, [row], IFT, columns=columns) == [
        {"id": "ab", "prompt": "p", "response": "good"}
    ]
    assert read(tmp_path, [row], EVAL, columns=columns)[0]["prompt"] == "p"


def test_scored_completions_are_a_ranking(tmp_path):
    """The highest score has rank 0; equal scores share a rank."""
    scores = {"a": 3.5, "b": 8, "c": 3.5}
    completions = [{"response": text, "overall_score": n} for text, n in scores.items()]
    row = {"instruction": "p", "completions": completions, "source": "web"}
    columns = {"prompt": "instruction"}
    assert read(tmp_path, [row], columns=columns)[0]["responses"] == [
        {"text": "a", "rank": 1},
        {"text": "b", "rank": 0},
        {"text": "c", "rank": 1},
    ]
    assert read(tmp_path, [row], IFT, columns=columns)[0]["response"] == "b"


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("messages", chat("p", "r")),
        ("messages", [said("system", " "), *chat("p", "r")]),
        (
            "conversations",
            chat("p", "r", role="from", user="human", assistant="gpt", content="value"),
        ),
    ],
)
def test_a_chat_of_one_exchange_is_an_example(tmp_path, name, messages):
    """Both names of the column work, and the chat is a prompt if the record is one."""
    columns = {"messages": name}
    assert read(tmp_path, [{name: messages}], IFT, columns=columns) == [
        {"id": "ift-0001", "prompt": "p", "response": "r"}
    ]
    assert read(tmp_path, [{name: messages}], EVAL, columns=columns)[0]["prompt"] == "p"
    assert read(tmp_path, [{name: messages[:-1]}], EVAL, columns=columns)[0]["prompt"] == "p"


def test_prompt_and_response_may_be_messages(tmp_path):
    """Conversational fine-tuning data has this form."""
    row = {"prompt": chat("p"), "response": [said("assistant", "r")]}
    assert read(tmp_path, [row], IFT) == [{"id": "ift-0001", "prompt": "p", "response": "r"}]
    with pytest.raises(DatasetError, match="response: Field required"):
        read(tmp_path, [{"prompt": said("user", "p")}], IFT)


LONG = chat("p", "r", "q")
USELESS = {
    "several turns": {
        "chosen": [*LONG, said("assistant", "good")],
        "rejected": [*LONG, said("assistant", "bad")],
    },
    "system message": {
        "chosen": [said("system", "Be brief."), *chat("p", "good")],
        "rejected": chat("p", "bad"),
    },
    "no response": {"chosen": chat("p"), "rejected": chat("p", "bad")},
    "blank response": {"prompt": "p", "chosen": " \n\u200b", "rejected": "bad"},
    "equal responses": {"prompt": "p", "chosen": "same", "rejected": " same\n"},
    "different dialogues": {"chosen": hh("p", "good"), "rejected": hh("q", "bad")},
    "no score": {"prompt": "p", "completions": [{"text": "a", "score": 1}, {"text": "b"}]},
}


@pytest.mark.parametrize("reason", USELESS)
def test_a_row_of_no_use_is_refused_with_the_words_that_leave_it_out(tmp_path, reason, caplog):
    """The message says what to write; then rows are dropped only for that reason, and counted."""
    rows = [USELESS[reason], PAIR | {"prompt": "other"}]
    with pytest.raises(DatasetError, match=rf"`drop: \[{reason}\]`[^~]*{reason} 1: .*line 1"):
        read(tmp_path, rows)
    with caplog.at_level(logging.INFO, "srlm_kedro"):
        (row,) = read(tmp_path, rows, drop=[reason])
    assert row["prompt"] == "other"
    assert f"1 prompts of 2 rows; dropped: {reason} 1" in caplog.text
    other = next(name for name in REASONS if name != reason)
    with pytest.raises(DatasetError, match="rows are of no use"):
        read(tmp_path, rows, drop=[other])


def test_all_faults_are_told_at_once(tmp_path):
    """One message has rows of no use by reason, and bad rows."""
    rows = [*USELESS.values(), {"prompt": "p", "chosen": "a"}, {"prompt": 5, **FORMS["dialogues"]}]
    with pytest.raises(DatasetError, match="2 bad rows") as refusal:
        read(tmp_path, rows)
    message = str(refusal.value)
    assert "rejected is missing; a pair has `chosen` and `rejected`" in message
    assert f"{len(USELESS)} rows are of no use" in message
    assert all(f"{reason} 1: " in message for reason in USELESS)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"chosen": "a", "rejected": "b"}, "no column `prompt`, and no user speaks in `chosen`"),
        (PAIR | {"rejected": None}, "rejected is missing"),
        (PAIR | {"rejected": 7}, "rejected: neither a text nor a list of messages"),
        (PAIR | {"rejected": ["bad"]}, r"rejected.0: no message"),
        (PAIR | {"chosen": [said("tool", "x")]}, "role 'tool' is none of user, assistant, system"),
        (PAIR | {"chosen": [said("assistant", [{"type": "image"}])]}, "its content is no text"),
        (FORMS["full chats"] | {"prompt": "q"}, "`prompt` is not what `chosen` begins with"),
        ({"messages": chat("p", "r")}, "they hold one response, and a ranking needs two"),
        ({"prompt": "p", "completions": "a"}, "completions: no list of objects"),
        ({"prompt": "p", "responses": ["a", "b"]}, "lists of the same length"),
    ],
)
def test_a_row_that_is_no_pair_is_refused_with_its_place(tmp_path, row, why):
    """The message says which line, and what is wrong with it."""
    with pytest.raises(DatasetError, match=f"rows.jsonl, line 1: .*{why}"):
        read(tmp_path, [row])


def test_pairs_of_one_prompt_are_one_ranking(tmp_path, caplog):
    """Case and spacing of the prompt do not matter; the best response is the example."""
    rows = [
        PAIR | {"id": "a"},
        {"id": "b", "prompt": "other", "chosen": "x", "rejected": "y"},
        {"id": "c", "prompt": " P", "chosen": "bad", "rejected": "worst"},
        {"id": "d", "prompt": "p", "chosen": "best", "rejected": "good"},
    ]
    with caplog.at_level(logging.INFO, "srlm_kedro"):
        first, second = read(tmp_path, rows)
    assert (first["id"], second["id"]) == ("a", "b")
    assert {r["text"]: r["rank"] for r in first["responses"]} == {
        **{"best": 0, "good": 1, "bad": 2, "worst": 3}
    }
    assert "pairs joined to the first of their prompt: 2" in caplog.text
    assert read(tmp_path, rows, IFT)[0]["response"] == "best"


def test_pairs_that_make_no_ranking_are_dropped_only_where_allowed(tmp_path):
    """All pairs of a cycle are dropped; if the order stays open, the first pair remains."""
    cycle = [PAIR, PAIR | {"chosen": "bad", "rejected": "good"}]
    apart = [PAIR | {"prompt": "q"}, {"prompt": "q", "chosen": "x", "rejected": "y"}]
    with pytest.raises(DatasetError, match=r"contradicting pairs 2: [^~]*no common ranking 1: "):
        read(tmp_path, cycle + apart)
    (row,) = read(tmp_path, cycle + apart, drop=["contradicting pairs", "no common ranking"])
    assert (row["prompt"], row["responses"]) == ("q", ranked("good", "bad"))


def test_repeated_prompts_keep_the_first_where_that_is_allowed(tmp_path):
    """This holds for every form. Otherwise all rows stay for the check of all tables."""
    rows = [{"prompt": "p", "response": "a"}, {"prompt": "P ", "response": "b"}]
    assert len(read(tmp_path, rows, IFT)) == 2
    (row,) = read(tmp_path, rows, IFT, drop=["repeated prompt"])
    assert row["response"] == "a"


def test_what_is_read_becomes_the_table_of_ranked_responses(tmp_path):
    """The stage takes the table like any other seed data."""
    table = prepare_eft(seed(tmp_path, [FORMS["dialogues"]]).load())
    assert table[["response", "rank"]].to_dict("list") == {
        "response": ["good", "bad"],
        "rank": [0, 1],
    }


def test_another_choice_of_drops_is_another_table(tmp_path):
    """Another `drop` changes the fingerprint; such a table cannot be saved."""
    plain = seed(tmp_path, [PAIR])
    dropping = seed(tmp_path, [PAIR], drop=["no score"])
    assert not hasattr(plain, "fingerprint")
    assert dropping.fingerprint() != seed(tmp_path, [PAIR], columns={}).fingerprint()
    with pytest.raises(DatasetError, match="cannot be saved"):
        dropping.save(pd.DataFrame([{"id": "a"}]))


@pytest.mark.parametrize("drop", [["turns"], "several turns"])
def test_a_reason_that_is_none_is_refused(tmp_path, drop):
    """The message lists all reasons."""
    with pytest.raises(InputError, match=r"is none\. The reasons: several turns"):
        seed(tmp_path, [PAIR], drop=drop)


def test_thousands_of_pairs_of_one_prompt_are_ranked_at_once():
    """A cycle among them is found as quickly."""
    chain = [(str(n), str(n + 1)) for n in range(20_000)]
    assert common_ranking(chain)[-1] == {"text": "20000", "rank": 20_000}
    with pytest.raises(UnusableRowError, match=CONTRADICTING):
        common_ranking([*chain, ("20000", "0")])
