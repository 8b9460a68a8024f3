"""Where a model's thoughts end and its answer begins. Imports nothing heavy.

A reasoning model thinks before it answers, between marks (`<think>...</think>`, `[THINK]`) or on a
separate channel. Only the answer is a response, a judgement or a prompt. After a thought that never
ends there is no answer, whatever the thought says.
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
"""The mark that opens a thought, and the mark that closes it."""
CHANNEL, MESSAGE = "<|channel|>", "<|message|>"
"""Harmony (gpt-oss): a channel's name is between them, and the answer is on `final`."""
MARKS = frozenset({mark for pair in PAIRS for mark in pair} | {CHANNEL, MESSAGE})
"""All marks. They are kept when sampled tokens become text, even if they are special tokens."""

_FINAL = f"{CHANNEL}final{MESSAGE}"
_CLOSE = dict(PAIRS)
_BOTH = {
    opening: re.compile(f"(?P<opens>{re.escape(opening)})|{re.escape(close)}")
    for opening, close in PAIRS
}
_HEADER = re.compile(r"<\|channel\|>\s*(?P<name>\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>")
_ON_A_CHANNEL = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>")
_MESSAGE_END = re.compile(r"<\|(?:end|return|call|start)\|>|(?:assistant)?<\|channel\|>")
# What remains of harmony's format after its special tokens were removed.
_BARE_CHANNEL = re.compile(r"\s*(?:analysis|commentary)(?=[A-Z])")
_BARE_FINAL = "assistantfinal"
_WRAPPING = ("<answer>", "</answer>")  # Hunyuan
_SPACES = re.compile(r"\s*+")


def split(text: str, cut: bool = False, whole: bool = False) -> tuple[str, str]:
    """The thought, with its marks and the spaces after it, and the answer.

    A thought begins where the text begins. If a chat template opened it, it ends with a mark that
    nothing in the text opened. Later marks are words of the answer. A text without a thought is an
    answer as it is.

    Args:
        text: Everything that was sampled, after what the chat template opened (`opened`).
        cut: Whether the limit of tokens ended it. Then a mark that an unfinished thought quotes
            does not end that thought.
        whole: Whether nothing was removed from its beginning. Then a mark that nothing opened is a
            word of the answer.
    """
    if _ON_A_CHANNEL.match(text):
        return _split_channels(text)
    if _BARE_CHANNEL.match(text):
        place = text.rfind(_BARE_FINAL)
        return _split_at(text, len(text) if place < 0 else place + len(_BARE_FINAL))
    place = _end_of_thoughts(text, cut, whole)
    return _split_at(text, place) if place else ("", text)


def opened(text: str) -> str:
    """The thought that a generation prompt leaves open, from its opening mark on; empty if none."""
    headers = list(_HEADER.finditer(text))
    if headers:
        return "" if headers[-1]["name"] == "final" else text[headers[-1].start() :]
    place, opening = max((text.rfind(opening), opening) for opening, _ in PAIRS)
    return "" if place < 0 or _CLOSE[opening] in text[place:] else text[place:]


def closing(opening: str) -> str:
    """The text that ends a thought of `opened` without a word in it, and begins the answer."""
    if opening.startswith(CHANNEL):
        return f"<|end|><|start|>assistant{_FINAL}"
    mark = next(mark for mark in _CLOSE if opening.startswith(mark))
    return f"\n{_CLOSE[mark]}\n\n" if opening.endswith("\n") else _CLOSE[mark]


def has_marks(text: str) -> bool:
    """Whether any mark is in the text, such as a chat template for models that think."""
    return any(mark in text for mark in MARKS)


def _split_at(text: str, place: int) -> tuple[str, str]:
    """The text cut where the answer's first word begins; tags that wrap the answer are removed."""
    place = _next_word(text, place)
    if not text.startswith(_WRAPPING[0], place):
        return text[:place], text[place:]
    place = _next_word(text, place + len(_WRAPPING[0]))
    inside = text[place:].partition(_WRAPPING[1])[0]
    return text[:place], inside.rstrip()


def _split_channels(text: str) -> tuple[str, str]:
    """What precedes the last message on `final`, and that message; it is empty if none began."""
    ends = [header.end() for header in _HEADER.finditer(text) if header["name"] == "final"]
    place = ends[-1] if ends else len(text)
    return text[:place], _MESSAGE_END.split(text[place:], maxsplit=1)[0]


def _end_of_thoughts(text: str, cut: bool, whole: bool) -> int:
    """Where the thoughts at the beginning end: 0 without any, the text's end if one never ends."""
    place = 0 if whole or _opening_at(text, 0) else _end_of_unopened(text)
    while opening := _opening_at(text, place):
        end = _end_of_thought(text, text.index(opening, place), opening, cut)
        if end is None:
            return len(text)
        place = end
    return place


def _opening_at(text: str, place: int) -> str | None:
    """The mark that opens a thought at this place, apart from spaces."""
    place = _next_word(text, place)
    return next((opening for opening, _ in PAIRS if text.startswith(opening, place)), None)


def _next_word(text: str, place: int) -> int:
    """Where the first word from `place` on begins."""
    return _SPACES.match(text, place).end()  # type: ignore[union-attr]


def _end_of_unopened(text: str) -> int:
    """The end of the first mark that closes what was never opened; 0 if there is none."""
    found = ((text.find(close), opening, close) for opening, close in PAIRS)
    places = [
        place + len(close)
        for place, opening, close in found
        if place >= 0 and text.find(opening, 0, place) < 0
    ]
    return min(places, default=0)


def _end_of_thought(text: str, start: int, opening: str, cut: bool) -> int | None:
    """The end of the mark that closes the thought which begins at `start`; None if none does.

    A thought may quote both marks: they count in pairs. If they never add up, the last mark closes
    it, unless the text was cut.
    """
    depth, last = 0, None
    for mark in _BOTH[opening].finditer(text, start):
        depth += 1 if mark["opens"] else -1
        last = last if mark["opens"] else mark.end()
        if depth == 0:
            return last
    return None if cut else last
