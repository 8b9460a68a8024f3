"""Makes instructions, phrases them and parses them: `parse(phrase(x)) == x` for every wording."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

CATEGORIES: dict[str, tuple[str, ...]] = {
    "fruits": ("apple", "pear", "plum", "lemon", "peach", "grape"),
    "animals": ("dog", "cat", "horse", "cow", "sheep", "goat"),
    "tools": ("hammer", "saw", "drill", "axe", "rake", "spade"),
    "drinks": ("water", "tea", "coffee", "milk", "juice", "cocoa"),
    "birds": ("crow", "swan", "owl", "robin", "eagle", "duck"),
    "flowers": ("rose", "tulip", "daisy", "lily", "poppy", "violet"),
    "colors": ("red", "blue", "green", "yellow", "black", "white"),
    "trees": ("oak", "pine", "elm", "birch", "maple", "cedar"),
}
"""Eight categories of six words each; no word is in two categories."""

CATEGORY_OF: dict[str, str] = {word: name for name, words in CATEGORIES.items() for word in words}
"""The category of each word."""

WORDS: tuple[str, ...] = tuple(CATEGORY_OF)

COUNTS: dict[str, int] = {"two": 2, "three": 3, "four": 4}
"""How many items of a category an instruction may ask for."""

TASKS: Mapping[str, tuple[str, ...]] = {
    "list": (
        "Name me {n} {a}.",
        "Give me {n} {a}.",
        "Please list {n} {a}.",
        "I need {n} {a}.",
    ),
    "both": (
        "Name me {n} {a} and {m} {b}.",
        "Give me {n} {a} and {m} {b}.",
        "Please list {n} {a} and {m} {b}.",
        "I need {n} {a} and {m} {b}.",
    ),
    "without": (
        "Name me {n} {a} but no {word}.",
        "Give me {n} {a} without {word}.",
        "Please list {n} {a} other than {word}.",
        "I need {n} {a} but not {word}.",
    ),
    "led": (
        "Name me {n} {a} with {word} first.",
        "Give me {n} {a} starting with {word}.",
        "Please list {n} {a} beginning with {word}.",
        "I need {word} and then other {a} so that it makes {n}.",
    ),
    "repeat": (
        "Repeat the words {words}.",
        "Copy this for me: {words}.",
        "Say again: {words}.",
    ),
}
"""Five families of tasks, each with several wordings."""

REQUESTS: Mapping[str, tuple[str, ...]] = {
    "and": ("Join them by and.", "Put and between them.", "Use and, not commas."),
    "brackets": ("Put them in brackets.", "Use brackets.", "Write brackets around them."),
    "hello": ("Begin with hello.", "Say hello first.", "Start with a hello."),
    "bye": ("Say goodbye too.", "Add a goodbye.", "Close with goodbye."),
    "thanks": ("Thank me too.", "Add a thank you.", "End with thanks."),
    "done": ("Say done at the end.", "Finish with done.", "Close with done."),
}
"""What a user may request besides the task: the form of the answer."""

HELD_OUT: frozenset[tuple[str, str]] = frozenset(
    {
        ("list", "done"),
        ("both", "and"),
        ("without", "thanks"),
        ("led", "brackets"),
        ("repeat", "hello"),
    }
)
"""Combinations of a family and a request that only evaluation has."""

_REQUEST_COUNTS = (0, 1, 2, 3)
_REQUEST_WEIGHTS = (0.15, 0.25, 0.35, 0.25)
_TASK_LAST = 0.25


@dataclass(frozen=True)
class Instruction:
    """What a user asks for, without the wording."""

    family: str
    counts: tuple[int, ...] = ()
    """How many of each category."""
    categories: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """The words to repeat, or the one word that must not occur or must come first."""
    requests: tuple[str, ...] = ()
    """Keys of `REQUESTS`, in the order of the text."""

    @property
    def expected(self) -> tuple[str, ...] | None:
        """The words to repeat, in any order; None if the answer may choose its words."""
        return self.words if self.family == "repeat" else None

    @property
    def slots(self) -> tuple[str, ...]:
        """The category of each item of the answer, in any order."""
        pairs = zip(self.counts, self.categories, strict=True) if self.counts else ()
        return tuple(category for count, category in pairs for _ in range(count))

    @property
    def held_out(self) -> bool:
        """Whether it has a combination that no training text has."""
        return any((self.family, request) in HELD_OUT for request in self.requests)

    @property
    def kind(self) -> str:
        """Family and requests: `list+brackets+hello`."""
        return "+".join([self.family, *sorted(self.requests)])


def make(rng: random.Random, held_out: bool = False) -> Instruction:
    """A random instruction; `held_out` says whether it has a combination of `HELD_OUT`."""
    while True:
        family = rng.choice(list(TASKS))
        count = rng.choices(_REQUEST_COUNTS, _REQUEST_WEIGHTS)[0]
        requests = tuple(rng.sample(list(REQUESTS), count))
        made = Instruction(family, *_content(family, rng), requests=requests)
        if made.held_out == held_out:
            return made


def _content(family: str, rng: random.Random) -> tuple[tuple, tuple, tuple]:
    """Counts, categories and words of a new task."""
    if family == "both":
        return (rng.choice((2, 3)), 2), tuple(rng.sample(list(CATEGORIES), 2)), ()
    if family == "repeat":
        return (), (), tuple(rng.sample(WORDS, rng.choice((3, 4))))
    category = rng.choice(list(CATEGORIES))
    word = () if family == "list" else (rng.choice(CATEGORIES[category]),)
    return (rng.choice(list(COUNTS.values())),), (category,), word


def phrase(instruction: Instruction, rng: random.Random) -> str:
    """The instruction in English, in a random wording."""
    count_words = {count: word for word, count in COUNTS.items()}
    counts = [count_words[count] for count in instruction.counts]
    slots = {
        **dict(zip(("n", "m"), counts, strict=False)),
        **dict(zip(("a", "b"), instruction.categories, strict=False)),
        "words": ", ".join(instruction.words),
        "word": "".join(instruction.words[:1]),
    }
    task = rng.choice(TASKS[instruction.family]).format(**slots)
    requests = [rng.choice(REQUESTS[request]) for request in instruction.requests]
    last = rng.random() < _TASK_LAST
    return " ".join([*requests, task] if last else [task, *requests])


def _one_of(words: object) -> str:
    return "(?:" + "|".join(sorted(words)) + ")"  # type: ignore[call-overload]


_COUNT, _CATEGORY = _one_of(COUNTS), _one_of(CATEGORIES)
_WORD = _one_of(WORDS)
_SLOTS = {
    "n": f"(?P<n>{_COUNT})",
    "m": f"(?P<m>{_COUNT})",
    "a": f"(?P<a>{_CATEGORY})",
    "b": f"(?P<b>{_CATEGORY})",
    "words": f"(?P<words>{_WORD}(?:, {_WORD})+)",
    "word": f"(?P<word>{_WORD})",
}


def _compiled(wordings: Mapping[str, tuple[str, ...]]) -> list[tuple[str, re.Pattern[str]]]:
    """One pattern per wording, with the name of its task or request."""
    return [
        (name, re.compile(re.sub(r"\\{(\w+)\\}", lambda m: _SLOTS[m[1]], re.escape(wording))))
        for name, variants in wordings.items()
        for wording in variants
    ]


_TASK_PATTERNS = _compiled(TASKS)
_REQUEST_PATTERNS = _compiled(REQUESTS)


def _match(
    sentence: str, patterns: list[tuple[str, re.Pattern[str]]]
) -> tuple[str, dict[str, str]] | None:
    for name, pattern in patterns:
        if found := pattern.fullmatch(sentence):
            return name, found.groupdict()
    return None


def parse(text: str) -> Instruction | None:
    """The instruction that the text expresses; None if it is no instruction of this world."""
    sentences = re.findall(r"[^.?]+[.?]", text)
    if "".join(sentences) != text.strip():
        return None
    task, requests = None, []
    for sentence in (part.strip() for part in sentences):
        if found := _match(sentence, _REQUEST_PATTERNS):
            requests.append(found[0])
        elif task is None and (found := _match(sentence, _TASK_PATTERNS)):
            task = found
        else:
            return None
    if task is None or len(set(requests)) < len(requests):
        return None
    return _built(*task, requests=tuple(requests))


def _built(family: str, slots: dict[str, str], requests: tuple[str, ...]) -> Instruction | None:
    """The instruction of a matched sentence; None if its words do not fit its family."""
    listed = slots.get("words") or slots.get("word")
    words = tuple(listed.split(", ")) if listed else ()
    categories = tuple(slots[key] for key in ("a", "b") if key in slots)
    if "word" in slots and CATEGORY_OF[words[0]] != categories[0]:
        return None
    return Instruction(
        family,
        counts=tuple(COUNTS[slots[key]] for key in ("n", "m") if key in slots),
        categories=categories,
        words=words,
        requests=requests,
    )
