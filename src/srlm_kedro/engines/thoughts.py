"""Where a model's thoughts end and its answer begins. Imports nothing heavy.

A reasoning model thinks before it answers, between marks (`<think>...</think>`, `[THINK]`) or on a
channel of its own. Only the answer is a response, a judgement or a prompt. A thought that never
ends has none: what it holds is no answer, whatever it says.
"""

import re

PAIRS = (
    ("<think>", "</think>"),  # Qwen3, DeepSeek R1, QwQ, GLM, SmolLM3, Phi 4 and most others
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),  # EXAONE Deep
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("[THINK]", "[/THINK]"),  # Magistral
    ("◁think▷", "◁/think▷"),  # Kimi
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    ("<|channel>", "<channel|>"),  # Gemma 4
)
"""What opens a thought, and what closes it."""
CHANNEL, MESSAGE = "<|channel|>", "<|message|>"
"""Harmony (gpt-oss): a channel's name stands between them, and the answer is on `final`."""
MARKS = frozenset({mark for pair in PAIRS for mark in pair} | {CHANNEL, MESSAGE})
"""All of them; they are kept when drawn tokens become text, special tokens or not."""

_FINAL = f"{CHANNEL}final{MESSAGE}"
_CLOSE = dict(PAIRS)
_BOTH = {
    opening: re.compile(f"(?P<opens>{re.escape(opening)})|{re.escape(close)}")
    for opening, close in PAIRS
}
_HEADER = re.compile(r"<\|channel\|>\s*(?P<name>\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>")
_ON_A_CHANNEL = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>")
_MESSAGE_END = re.compile(r"<\|(?:end|return|call|start)\|>|(?:assistant)?<\|channel\|>")
# What harmony leaves where its special tokens were taken off.
_BARE_CHANNEL = re.compile(r"\s*(?:analysis|commentary)(?=[A-Z])")
_BARE_FINAL = "assistantfinal"
_WRAPPING = ("<answer>", "</answer>")  # Hunyuan
_SPACES = re.compile(r"\s*+")


def split(text: str, cut: bool = False, whole: bool = False) -> tuple[str, str]:
    """The thought, marks and spaces behind it included, and the answer.

    A thought stands at the text's beginning, or ends with a mark that nothing opened (where a chat
    template had opened it). Marks further behind are words of the answer. A text without a thought
    is an answer as it is.

    Args:
        text: All that was drawn, behind what the chat template opened (`opened`).
        cut: Whether the limit of tokens ended it; then a mark that is quoted within an unfinished
            thought does not end it.
        whole: Whether nothing was taken off its beginning: then a mark that nothing opened is a
            word of the answer.
    """
    if _ON_A_CHANNEL.match(text):
        return _by_channel(text)
    if _BARE_CHANNEL.match(text):
        place = text.rfind(_BARE_FINAL)
        return _at(text, len(text) if place < 0 else place + len(_BARE_FINAL))
    place = _behind_thoughts(text, cut, whole)
    return _at(text, place) if place else ("", text)


def opened(text: str) -> str:
    """The thought that a generation prompt leaves open, from its mark on; empty if none."""
    headers = list(_HEADER.finditer(text))
    if headers:
        return "" if headers[-1]["name"] == "final" else text[headers[-1].start() :]
    place, opening = max((text.rfind(opening), opening) for opening, _ in PAIRS)
    return "" if place < 0 or _CLOSE[opening] in text[place:] else text[place:]


def closing(opening: str) -> str:
    """What ends the thought of `opened`, with no word in it, and begins the answer."""
    if opening.startswith(CHANNEL):
        return f"<|end|><|start|>assistant{_FINAL}"
    mark = next(mark for mark in _CLOSE if opening.startswith(mark))
    return f"\n{_CLOSE[mark]}\n\n" if opening.endswith("\n") else _CLOSE[mark]


def marked(text: str) -> bool:
    """Whether any mark stands in the text: a template's that may think, an opened answer's."""
    return any(mark in text for mark in MARKS)


def _at(text: str, place: int) -> tuple[str, str]:
    """Cut where the answer's first word stands; what wraps an answer is taken off."""
    place = _word(text, place)
    if not text.startswith(_WRAPPING[0], place):
        return text[:place], text[place:]
    place = _word(text, place + len(_WRAPPING[0]))
    inside = text[place:].partition(_WRAPPING[1])[0]
    return text[:place], inside.rstrip()


def _by_channel(text: str) -> tuple[str, str]:
    """The last message on `final`; nothing where none was begun."""
    ends = [header.end() for header in _HEADER.finditer(text) if header["name"] == "final"]
    place = ends[-1] if ends else len(text)
    return text[:place], _MESSAGE_END.split(text[place:], maxsplit=1)[0]


def _behind_thoughts(text: str, cut: bool, whole: bool) -> int:
    """Where the thoughts at the beginning have ended: 0 without any, the end if one never does."""
    place = 0 if whole or _opening_at(text, 0) else _behind_unopened(text)
    while opening := _opening_at(text, place):
        end = _end(text, text.index(opening, place), opening, cut)
        if end is None:
            return len(text)
        place = end
    return place


def _opening_at(text: str, place: int) -> str | None:
    """The mark that opens a thought there, spaces aside."""
    place = _word(text, place)
    return next((opening for opening, _ in PAIRS if text.startswith(opening, place)), None)


def _word(text: str, place: int) -> int:
    """Where the first word from `place` on begins."""
    return _SPACES.match(text, place).end()  # type: ignore[union-attr]


def _behind_unopened(text: str) -> int:
    """Behind the first mark that closes what was never opened; 0 without any."""
    found = ((text.find(close), opening, close) for opening, close in PAIRS)
    places = [
        place + len(close)
        for place, opening, close in found
        if place >= 0 and text.find(opening, 0, place) < 0
    ]
    return min(places, default=0)


def _end(text: str, start: int, opening: str, cut: bool) -> int | None:
    """Behind the mark that closes the thought which begins at `start`; None if none does.

    A thought may quote both marks: they count in pairs. Where they never add up, the last mark
    closes it, unless the text was cut.
    """
    depth, last = 0, None
    for mark in _BOTH[opening].finditer(text, start):
        depth += 1 if mark["opens"] else -1
        last = last if mark["opens"] else mark.end()
        if depth == 0:
            return last
    return None if cut else last
