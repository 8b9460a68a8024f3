"""Answers are composed, written and read back; flawed ones show the mistakes people make."""

import random
import re
from dataclasses import dataclass, replace

from srlm_kedro.microworld.instructions import REQUESTS, Instruction
from srlm_kedro.microworld.vocabulary import CATEGORIES, CATEGORY_OF, ITEMS, NUMBERS, WORDS

OPENERS: dict[str, tuple[str, ...]] = {
    "helpful": ("Here you are", "Of course", "With pleasure"),
    "casual": ("Well", "Hmm", "Yeah"),
    "curt": ("",),
}
"""How an answer sounds by its first words; `helpful` is the voice of an assistant."""

CHATTER: tuple[str, ...] = ("I like that.", "And so on.", "What else?", "That was easy.")

_MISTAKES: dict[str, float] = {
    "swap": 1.0,  # two items change places
    "omit": 1.0,  # one is left out
    "double": 1.5,  # one comes twice
    "kin": 1.0,  # one is another word of its category
    "strange": 1.0,  # one is any word
    "offered": 1.0,  # one is another of the words given
    "more": 1.0,  # one too many
    "unworked": 1.0,  # the words as they were given
}
"""What goes wrong with items, and how often."""

_TAILS = {"done": "Done.", "thanks": "Thank you.", "bye": "Goodbye."}


@dataclass(frozen=True)
class Answer:
    """What an answer holds, as far as the world can read it."""

    items: tuple[str, ...]
    opener: str = OPENERS["helpful"][0]
    shown: frozenset[str] = frozenset()
    """Keys of `REQUESTS` that the answer shows, asked for or not."""
    stop: bool = True
    """The items end with a full stop."""
    chatter: str = ""
    """All text that is neither items nor anything a user can ask for."""

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
_ITEM = f"(?:{'|'.join(sorted(ITEMS, key=len, reverse=True))})\\b"
_BODY = re.compile(rf"(?P<open>\()?\s*(?P<items>{_ITEM}(?:(?:,| and) {_ITEM})*)?(?P<shut>\))?")


def read(text: str) -> Answer:
    """What the world can read in any text; the rest is `chatter`."""
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


def verdicts(instruction: Instruction, items: tuple[str, ...]) -> tuple[bool, ...]:
    """Which items are right: the one asked for at its place, or a new word of its category."""
    if instruction.expected is not None:
        wanted = instruction.expected
        return tuple(at < len(wanted) and item == wanted[at] for at, item in enumerate(items))
    slots = instruction.slots
    return tuple(
        at < len(slots) and item in CATEGORIES[slots[at]] and item not in items[:at]
        for at, item in enumerate(items)
    )


def needed(instruction: Instruction) -> int:
    """How many items a complete answer has."""
    return len(instruction.slots if instruction.expected is None else instruction.expected)


def right_items(instruction: Instruction, rng: random.Random) -> tuple[str, ...]:
    """Items that are all right; drawn where several answers are."""
    if instruction.expected is not None:
        return instruction.expected
    pairs = zip(instruction.counts, instruction.categories, strict=True)
    return tuple(word for n, category in pairs for word in rng.sample(CATEGORIES[category], n))


def wrong_items(instruction: Instruction, rng: random.Random) -> tuple[str, ...]:
    """Items with the mistakes answerers make: swapped, left out, doubled, strange, unworked."""
    right = right_items(instruction, rng)
    while True:
        items = _mistaken(list(right), instruction, rng)
        if len(items) != needed(instruction) or not all(verdicts(instruction, items)):
            return items


def _mistaken(items: list[str], instruction: Instruction, rng: random.Random) -> tuple[str, ...]:
    pool = NUMBERS if instruction.family == "sort" else WORDS
    mistake = rng.choices(list(_MISTAKES), list(_MISTAKES.values()))[0]
    at = rng.randrange(len(items))
    if mistake == "swap":
        items[at], items[at - 1] = items[at - 1], items[at]
    elif mistake == "omit":
        del items[at]
    elif mistake == "double":
        items[at] = rng.choice(items)
    elif mistake == "kin":
        items[at] = rng.choice(CATEGORIES.get(CATEGORY_OF.get(items[at], ""), pool))
    elif mistake == "strange":
        items[at] = rng.choice(pool)
    elif mistake == "offered":
        items[at] = rng.choice(instruction.words or pool)
    elif mistake == "more":
        items.append(rng.choice(instruction.words or pool))
    elif instruction.words:
        items = list(instruction.words)
    return tuple(items) or tuple(rng.sample(pool, 2))


@dataclass(frozen=True)
class Habits:
    """How good a population of answerers is; every figure is a probability."""

    right: float = 0.85
    """All items are right."""
    off_topic: float = 0.05
    """The items have nothing to do with the task (of those not right)."""
    keeps: float = 0.5
    """A request is followed, each by itself."""
    adds: float = 0.03
    """Something that can be asked for is shown without being asked, each by itself."""
    helpful: float = 0.5
    """The voice is an assistant's; otherwise casual (60%) or curt."""
    chatters: float = 0.1


_OTHER_VOICES = ("casual", "casual", "casual", "curt", "curt")

PERFECT = Habits(right=1, off_topic=0, keeps=1, adds=0, helpful=1, chatters=0)


def answer(instruction: Instruction, habits: Habits, rng: random.Random) -> Answer:
    """An answer by somebody with these habits."""
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


def _items(instruction: Instruction, habits: Habits, rng: random.Random) -> tuple[str, ...]:
    if rng.random() < habits.right:
        return right_items(instruction, rng)
    if rng.random() < habits.off_topic:
        return tuple(rng.sample(WORDS, rng.choice((2, 3))))
    return wrong_items(instruction, rng)
