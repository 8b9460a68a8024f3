"""A few hand-written trees with every fault, in each file format of exports."""

import gzip
import json

import pandas as pd

DEFAULTS = {"lang": "en", "synthetic": False, "deleted": False, "review_result": True}
NULLS = dict.fromkeys(["parent_id", "rank", "model_name", "labels", "emojis"])


def message(name, text, *replies, **given):
    """A message as a tree holds it; the prompter speaks at even depths."""
    return {"message_id": name, "text": text, **DEFAULTS, **given, "replies": list(replies)}


def reply(name, rank=None, *replies, **given):
    """An assistant's message."""
    ranked = {} if rank is None else {"rank": rank}
    return message(name, f"Reply {name}", *replies, role="assistant", **ranked, **given)


def prompt(name, text, *replies, **given):
    """A prompter's message."""
    return message(name, text, *replies, role="prompter", **given)


def tree(first, state="ready_for_export"):
    """A tree with every parent stated, and what is null left out."""
    _state_parents(first)
    return {"message_tree_id": first["message_id"], "tree_state": state, "prompt": first}


def _state_parents(above):
    for below in above["replies"]:
        below["parent_id"] = above["message_id"]
        _state_parents(below)


def spam(share):
    """Labels of readers."""
    return {"labels": {"spam": {"value": share, "count": 3}, "quality": {"value": 0.7, "count": 3}}}


def trapped():
    """Two sound prompts of several replies, one of a single reply, and every trap."""
    deeper = prompt("a-next", "And then?", reply("a-last", 0))
    return [
        tree(prompt("a", "Name a\n bird.", reply("a1", 1), reply("a0", 0, deeper), reply("a2", 2))),
        tree(prompt("b", "Why is it so?", reply("b0", 0), reply("b2"), reply("b1", 1))),
        tree(prompt("c", "One reply alone", reply("c0", 0))),
        tree(prompt("d", "name A bird. ", reply("d1", 1), reply("d0", 0))),
        tree(prompt("e", "A machine asks", reply("e0", 0, synthetic=True), synthetic=True)),
        tree(prompt("f", "A machine is best", reply("f0", 0, synthetic=True), reply("f1", 1))),
        tree(prompt("g", "A gap", reply("g0", 0), reply("g2", 2))),
        tree(prompt("h", "A tie", reply("h0", 0), reply("h1", 0))),
        tree(prompt("i", "Nobody ranked", reply("i0"), reply("i1"))),
        tree(prompt("j", "¿Qué es?", reply("j0", 0, lang="es"), lang="es")),
        tree(prompt("k", "Rejected", reply("k0", 0), review_result=False)),
        tree(prompt("l", "Deleted", reply("l0", 0), deleted=True)),
        tree(prompt("m", "Spam", reply("m0", 0), **spam(0.9))),
        tree(prompt("n", " \n", reply("n0", 0))),
        tree(prompt("o", "Still growing", reply("o0", 0), reply("o1", 1)), "growing"),
        tree(reply("p", None, prompt("p0", "I answer myself"))),
        tree(prompt("q", "No answer")),
        tree(prompt("r", "Not all is lost", *_partly_lost(), **spam(0.1))),
    ]


def _partly_lost():
    return [
        reply("r0", 0, deleted=True),
        *(reply("r1", 1), reply("r2", 2, lang="es"), reply("r3", 3)),
        reply("r4", 4, **spam(0.8)),
    ]


def nested(trees):
    """One nested message a line, with explicit nulls."""

    def full(message_, tree_):
        below = [full(reply_, tree_) for reply_ in message_["replies"]]
        whole = {**NULLS, "tree_state": None, **message_, "replies": below or None}
        return whole | {"message_tree_id": None}

    # Alone the state has to be told, for trees that are not ready.
    return [full(tree_["prompt"], tree_) | {"tree_state": tree_["tree_state"]} for tree_ in trees]


def nested_trees(trees):
    """Trees with explicit nulls."""
    pairs = zip(trees, nested(trees), strict=True)
    return [{**tree_, "origin": None, "prompt": first} for tree_, first in pairs]


def flat(trees):
    """One message a row, labels as parallel lists."""
    return [row for tree_ in trees for row in _rows(tree_["prompt"], tree_)]


def _rows(message_, tree_):
    row = {name: value for name, value in message_.items() if name != "replies"}
    row = {**NULLS, **row, **{name: tree_[name] for name in ("message_tree_id", "tree_state")}}
    if labels := row["labels"]:
        row["labels"] = {
            "name": list(labels),
            "value": [label["value"] for label in labels.values()],
            "count": [label["count"] for label in labels.values()],
        }
    yield row
    for below in message_["replies"]:
        yield from _rows(below, tree_)


def json_lines(rows):
    """One JSON object a line."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


SERIALISATIONS = {
    "trees": json_lines,
    "nested trees": lambda trees: json_lines(nested_trees(trees)),
    "nested messages": lambda trees: json_lines(nested(trees)),
    "flat rows": lambda trees: json_lines(flat(trees)),
    "flat rows backwards": lambda trees: json_lines(flat(trees)[::-1]),
    "flat Parquet": lambda trees: pd.DataFrame(flat(trees)).to_parquet(),
    "flat array": lambda trees: json.dumps(flat(trees)).encode(),
    "gzip": lambda trees: gzip.compress(json_lines(trees)),
}
