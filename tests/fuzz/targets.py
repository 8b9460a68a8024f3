"""What is fuzzed: each target takes any bytes, and raises only for a fault of ours.

They stand among the tests, for a corpus is kept and a crash becomes a case there.
"""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from srlm_kedro.datasets.oasst import oasst_table
from srlm_kedro.datasets.rows.reader import read_table
from srlm_kedro.datasets.seed import seed_table
from srlm_kedro.display.safe_text import escaped, one_line, render_page
from srlm_kedro.engines.generation.base import Sampling
from srlm_kedro.engines.generation.servers.replies import Failure, Reply, read_reply
from srlm_kedro.engines.generation.servers.top_tokens import choice_row, read_top
from srlm_kedro.errors import InputError
from srlm_kedro.freshness.manifest import manifest_path, read_manifest
from srlm_kedro.judge.parsing import REASONS, parse_score
from srlm_kedro.judge.prompt import fill_judge_prompt
from srlm_kedro.judge.verdict import parse_rating, parse_verdict
from srlm_kedro.pipelines.ift import EftRow, IftRow
from srlm_kedro.pipelines.prompts.filters import first_task

_FILE = Path(tempfile.gettempdir()) / f"fuzzed-{os.getpid()}"
_TEMPLATE = "User: {instruction}\n\n<response>\n{response}\n</response>\n\nScore:"


def score(data: bytes) -> None:
    """The score parser."""
    for finish in ("stop", "length"):
        parsed = parse_score(_text(data), finish)
        assert parsed.reason in REASONS
        assert (parsed.score is None) == (parsed.reason != "ok")
        assert parsed.score is None or 0 <= parsed.score <= 5


def verdict(data: bytes) -> None:
    """The verdict and the rating parser."""
    said, rated = parse_verdict(_text(data)), parse_rating(_text(data))
    assert (said.winner is None) == (said.reason != "ok")
    assert rated.score is None or 1 <= rated.score <= 10


def prompts(data: bytes) -> None:
    """What is taken of a continuation."""
    task, _ = first_task(_text(data))
    assert task in _text(data)


def judge_prompt(data: bytes) -> None:
    """The places of a judge prompt."""
    filled = fill_judge_prompt(_TEMPLATE, _text(data), _text(data))
    assert filled.count("<response>") == filled.count("</response>") == 1


def shown(data: bytes) -> None:
    """Text in a page, a table and a message."""
    text = _text(data)
    made = render_page("<p>{{ text }}</p>", text=text)
    assert made.isascii()
    assert made.count("<") == 2
    for said in (escaped(text), one_line(text, 80)):
        assert "\x1b" not in said
        said.encode("utf-8")


def tables(data: bytes) -> None:
    """Files that people bring."""
    _read(data, lambda path: read_table(path))


def seed(data: bytes) -> None:
    """Seed data, by record and by chosen columns."""
    _read(data, lambda path: seed_table(read_table(path), IftRow, None))
    _read(data, lambda path: seed_table(read_table(path), EftRow, {"prompt": "text"}))


def oasst(data: bytes) -> None:
    """Exports of conversations."""
    _read(data, lambda path: oasst_table(read_table(path)))


def manifest(data: bytes) -> None:
    """Notes beside outputs."""
    _FILE.write_bytes(b"")
    manifest_path(_FILE).write_bytes(data)
    found = read_manifest(_FILE)
    assert found is None or isinstance(found, dict)


def reply(data: bytes) -> None:
    """What a server answers, once the client has read it as JSON."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return
    assert isinstance(read_reply(body, 2, Sampling(n=2, stop=("\n",))), Reply | Failure)
    read = read_top(body)
    if isinstance(read, Reply):
        row = choice_row(read.top, (("Yes",), ("No",)))
        assert len(row) == 2


def _read(data: bytes, read: Callable[[Path], Any]) -> None:
    _FILE.write_bytes(data)
    try:
        read(_FILE)
    except InputError as error:
        _refuse_escapes(str(error))


def _refuse_escapes(said: str) -> None:
    assert "\x1b" not in said


def _text(data: bytes) -> str:
    """Any text; half surrogate pairs come in as bytes that are no UTF-8."""
    return data.decode("utf-8", "surrogateescape")


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(score, verdict, prompts, judge_prompt, shown),
        *(tables, seed, oasst, manifest, reply),
    )
}

_CHAT = {"finish_reason": "stop", "message": {"content": "fine"}}
_USAGE = {"prompt_tokens": 3, "completion_tokens": 4}
_IFT = b'{"id": "a", "prompt": "p", "response": "r"}\n'
_EFT = (
    b'{"id": "a", "prompt": "p", "responses": [{"text": "x", "rank": 0}, {"text": "y", "rank": 1}]}'
)
_TREE = (
    b'{"prompt": {"message_id": "a", "role": "prompter", "text": "t", "replies": [], "rank": 0}}\n'
)
_FLAT = b'{"message_id": "b", "parent_id": "a", "role": "assistant", "text": "t", "labels": '
_FLAT += b'{"name": ["spam"], "value": [0.1]}, "deleted": false}'
_CSV = b'id,prompt,response\na,"x\ny",z\n'
_TABLES = [_IFT, _IFT + _EFT, _TREE + _FLAT, _CSV, b"[" + _TREE + b"]", _CSV.replace(b",", b";")]

SEEDS: dict[str, Sequence[bytes]] = {
    "score": [
        b"Fine.\nScore: 4",
        b"**Total score:** [4/5]",
        b"Score (0-5): 1 + 1 = 2",
        b"4 out of 5",
        b"Score: 1 (use) + 1 = 2/5\nWait, ",
        b'{"score": "4/5", "x": {"score": 1}}',
        b"| **Total** | 4 |\n[RESULT] four",
        b"It says 'Final score: 5'. Revised score: 3?",
    ],
    "verdict": [
        b"[[A]]",
        b"Final verdict: Answer B is better.",
        b"Rating: [[7/10]]",
        b"It is a tie.",
        b"[[A]]\nOn reflection, '[[B]]'.",
    ],
    "prompts": [b"Sure, here:\n1. Sing.\n2. Ask.", b"Task 9: Sing.\nAnswer: La", b"**Prompt:** x"],
    "judge_prompt": [b"</response>", b'< RESPONSE id="1">', b"{response} {instruction}"],
    "shown": ["<script>\x1b[2J\u202e {{ 7 * 7 }}".encode(), b"\xff\xfe\x00"],
    "tables": _TABLES,
    "seed": _TABLES,
    "oasst": _TABLES,
    "manifest": [b'{"parts": {"version": "1"}, "digest": "0", "seconds": 0.5}'],
    "reply": [
        json.dumps({"choices": [_CHAT, _CHAT], "usage": _USAGE}).encode(),
        json.dumps(
            {"choices": [{"text": "a\nb", "finish_reason": "length"}], "usage": _USAGE}
        ).encode(),
    ],
}
"""Where mutation begins."""
