"""Composes answers, writes them and reads them back; flawed answers have people's mistakes."""

import random
import re
from dataclasses import dataclass, replace

from srlm_kedro.microworld.instructions import (
    CATEGORIES,
    CATEGORY_OF,
    REQUESTS,
    WORDS,
    Instruction,
)
from srlm_kedro.microworld.params import AnswererParams

OPENERS: dict[str, tuple[str, ...]] = {
    "helpful": ("Here you are", "Of course", "With pleasure"),
    "casual": ("Well", "Hmm", "Yeah"),
    "curt": ("",),
}
"""The first words of an answer by its voice; `helpful` is the voice of an assistant."""

CHATTER: tuple[str, ...] = ("I like that.", "And so on.", "What else?", "That was easy.")

_MISTAKES: dict[str, float] = {
    "double": 1.0,  # an item occurs twice
    "strange": 1.0,  # an item is replaced by any word
    "omit": 4.0,  # an item is left out
    "more": 4.0,  # there is one item too many
    "heedless": 2.0,  # the unwanted word occurs, or the wanted first word does not come first
}
"""The mistakes with items, by their relative frequency."""

FITS, AGAIN, STRANGE, UNWANTED, EXTRA = "fits", "again", "strange", "unwanted", "extra"
"""The verdict on an item, given the item itself and those before it."""

_TAILS = {"done": "Done.", "thanks": "Thank you.", "bye": "Goodbye."}


@dataclass(frozen=True)
class Answer:
    """The content of an answer, as far as the world can read it."""

    items: tuple[str, ...]
    opener: str = OPENERS["helpful"][0]
    shown: frozenset[str] = frozenset()
    """Keys of `REQUESTS` that the answer follows, whether they were requested or not."""
    stop: bool = True
    """The items end with a full stop."""
    chatter: str = ""
    """All text that is neither an item nor anything that a user can request."""

    @property
    def voice(self) -> str:
        """`helpful`, `casual` or `curt`."""
        return next(voice for voice, openers in OPENERS.items() if self.opener in openers)


def write(answer: Answer) -> str:
    """The answer in English."""
    items = (" and " if "and" in answer.shown else ", ").join(answer.items)
    if "brackets" in answer.shown:
        items = f"({items})"
    parts = [
        "Hello!" if "hello" in answer.shown else "",
        f"{answer.opener}:" if answer.opener else "",
        f"{items}." if answer.stop else items,
        *(text for request, text in _TAILS.items() if request in answer.shown),
        answer.chatter,
    ]
    return " ".join(part for part in parts if part)


_HEAD = re.compile(
    r"(?P<hello>Hello!)?\s*"
    rf"(?P<opener>{'|'.join(text for texts in OPENERS.values() for text in texts if text)})?"
    r"\s*:?\s*"
)
_ITEM = f"(?:{'|'.join(sorted(WORDS, key=len, reverse=True))})\\b"
_BODY = re.compile(rf"(?P<open>\()?\s*(?P<items>{_ITEM}(?:(?:,| and) {_ITEM})*)?(?P<shut>\))?")


def read(text: str) -> Answer:
    """The answer that a text contains; what cannot be read is its `chatter`."""
    text = " ".join(text.split())
    head = _HEAD.match(text)
    body = _BODY.match(text, head.end())
    rest = text[body.end() :]
    stop = rest.startswith(".")
    rest = rest.removeprefix(".")
    shown = {"hello"} if head["hello"] else set()
    shown |= {"brackets"} if body["open"] and body["shut"] else set()
    items = body["items"] or ""
    shown |= {"and"} if " and " in items and "," not in items else set()
    for request, tail in _TAILS.items():
        if tail in rest:
            shown.add(request)
            rest = rest.replace(tail, "", 1)
    return Answer(
        items=tuple(re.findall(_ITEM, items)),
        opener=head["opener"] or "",
        shown=frozenset(shown),
        stop=stop,
        chatter=" ".join(rest.split()),
    )


def marks(instruction: Instruction, items: tuple[str, ...]) -> tuple[str, ...]:
    """The verdict on each item: that it fits, or why it does not."""
    mark = _mark_of_category if instruction.expected is None else _mark_repeated
    return tuple(mark(instruction, items[:at], item) for at, item in enumerate(items))


def _mark_repeated(instruction: Instruction, before: tuple[str, ...], item: str) -> str:
    """The verdict on a word to repeat: in any order, but only as often as it was given."""
    if before.count(item) < instruction.words.count(item):
        return FITS
    return AGAIN if item in before else STRANGE


def _mark_of_category(instruction: Instruction, before: tuple[str, ...], item: str) -> str:
    """The verdict on a word of a category: each word must be new, and none may be in excess."""
    if item in before:
        return AGAIN
    category = CATEGORY_OF.get(item)
    if category not in instruction.categories:
        return STRANGE
    if instruction.family == "without" and item in instruction.words:
        return UNWANTED
    if instruction.family == "led" and not before and item not in instruction.words:
        return STRANGE
    wanted = instruction.slots.count(category)
    known = {word for word in before if CATEGORY_OF.get(word) == category}
    return FITS if len(known) < wanted else EXTRA


def needed(instruction: Instruction) -> int:
    """The number of items of a complete answer."""
    return len(instruction.slots if instruction.expected is None else instruction.expected)


def right_items(instruction: Instruction, rng: random.Random) -> tuple[str, ...]:
    """Items that are all right; they are random if several answers are right."""
    if instruction.expected is not None:
        return instruction.expected
    if instruction.family in ("without", "led"):
        (word,), (count,) = instruction.words, instruction.counts
        (category,) = instruction.categories
        others = [each for each in CATEGORIES[category] if each != word]
        if instruction.family == "led":
            return (word, *rng.sample(others, count - 1))
        return tuple(rng.sample(others, count))
    pairs = zip(instruction.counts, instruction.categories, strict=True)
    return tuple(word for n, category in pairs for word in rng.sample(CATEGORIES[category], n))


def wrong_items(instruction: Instruction, rng: random.Random) -> tuple[str, ...]:
    """Items with a typical mistake."""
    right = right_items(instruction, rng)
    while True:
        items = _mistaken(list(right), instruction, rng)
        if len(items) != needed(instruction) or set(marks(instruction, items)) != {FITS}:
            return items


def _mistaken(items: list[str], instruction: Instruction, rng: random.Random) -> tuple[str, ...]:
    same_category = CATEGORIES[CATEGORY_OF[items[-1]]]
    mistake = rng.choices(list(_MISTAKES), list(_MISTAKES.values()))[0]
    at = rng.randrange(1, len(items))
    if mistake == "double":
        items[at] = rng.choice(items[:at])
    elif mistake == "strange":
        items[rng.randrange(len(items))] = rng.choice(WORDS)
    elif mistake == "omit":
        # The last item goes: a wanted first word must stay.
        del items[at if instruction.expected else -1]
    elif mistake == "more":
        items.append(rng.choice([each for each in same_category if each not in items]))
    elif mistake == "heedless" and instruction.family == "without":
        items[rng.randrange(len(items))] = instruction.words[0]
    elif mistake == "heedless" and instruction.family == "led":
        items[0] = rng.choice(same_category)
    return tuple(items)


_OTHER_VOICES = ("casual", "casual", "casual", "curt", "curt")

PERFECT = AnswererParams(right=1, off_topic=0, keeps=1, adds=0, helpful=1, chatters=0)


def answer(instruction: Instruction, habits: AnswererParams, rng: random.Random) -> Answer:
    """A random answer by a person with these habits."""
    shown = frozenset(
        request
        for request in REQUESTS
        if rng.random() < (habits.keeps if request in instruction.requests else habits.adds)
    )
    voice = "helpful" if rng.random() < habits.helpful else rng.choice(_OTHER_VOICES)
    items = _items(instruction, habits, rng)
    made = Answer(
        items=items,
        opener=rng.choice(OPENERS[voice]),
        shown=shown - {"and"} if len(items) < 2 else shown,
        stop=voice == "helpful" or rng.random() < 0.5,
    )
    return replace(made, chatter=rng.choice(CHATTER)) if rng.random() < habits.chatters else made


def _items(instruction: Instruction, habits: AnswererParams, rng: random.Random) -> tuple[str, ...]:
    if rng.random() < habits.right:
        return _slipped(right_items(instruction, rng), instruction, habits.slips, rng)
    if rng.random() < habits.off_topic:
        return tuple(rng.sample(WORDS, rng.choice((2, 3))))
    return _slipped(wrong_items(instruction, rng), instruction, habits.slips, rng)


def _slipped(
    items: tuple[str, ...], instruction: Instruction, slips: float, rng: random.Random
) -> tuple[str, ...]:
    """The items, each of which may be replaced.

    The replacement is the item before it (weight 2), any word (weight 1), or the word that must not
    occur (weight 3).
    """
    unwanted = instruction.words if instruction.family == "without" else ()
    result: list[str] = []
    for item in items:
        if rng.random() < slips:
            item = rng.choice([*2 * result[-1:], rng.choice(WORDS), *3 * unwanted])
        result.append(item)
    return tuple(result)
