"""What is generated: judgements behind a shared rubric, and candidates of short prompts."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.models import BEFORE, Shape, read_tokenizer, words
from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.records import Checkpoint


@dataclass(frozen=True)
class Work:
    """Prompts, and how many tokens are drawn behind each; the end token never comes early."""

    name: str
    shape: Shape
    checkpoint: Checkpoint
    prompts: tuple[str, ...]
    prefix: int
    """Tokens that all prompts begin with."""
    samples: int
    """Completions a prompt: N or K."""
    new_tokens: int

    @property
    def sampling(self) -> Sampling:
        """The paper's temperature and top-p, at a fixed length."""
        length = self.new_tokens
        return Sampling(
            n=self.samples,
            temperature=0.7,
            top_p=0.9,
            max_new_tokens=length,
            min_new_tokens=length,
        )

    @property
    def requests(self) -> list[Request]:
        """The prompts, as our engines are asked."""
        return [Request(str(number), prompt) for number, prompt in enumerate(self.prompts)]

    def ids(self) -> list[list[int]]:
        """The prompts' tokens, shortest first."""
        tokenizer = read_tokenizer(self.checkpoint)
        chats = [[{"role": "user", "content": prompt}] for prompt in self.prompts]
        rows: list[list[int]] = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, return_dict=False
        )
        return sorted(rows, key=len)

    def drawn(self, prompts: int) -> int:
        """Tokens drawn behind so many prompts."""
        return prompts * self.samples * self.new_tokens


def agreeing(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens with which both begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def middle(rows: list[list[int]], count: int) -> list[list[int]]:
    """So many rows of average length, of rows by length: for who cannot do all of them."""
    first = (len(rows) - count) // 2
    return rows[first : first + count]


def judging(checkpoint: Checkpoint, shape: Shape, responses: int, quick: bool = False) -> Work:
    """A rubric of 220 tokens, then 130 to 200 of instruction and response; K=3 of 40 tokens."""
    chance = random.Random(1)
    prefix, shortest, longest, new = (12, 5, 9, 3) if quick else (220, 130, 200, 40)
    rubric = words(prefix - len(BEFORE), shape, chance)
    # One token of the rest is the template's last.
    rests = [words(n - 1, shape, chance) for n in _lengths(shortest, longest, responses)]
    prompts = tuple(f"{rubric} {rest}" for rest in rests)
    return Work(f"judging, {shape.name}", shape, checkpoint, prompts, prefix, 3, new)


def sampling(checkpoint: Checkpoint, shape: Shape, prompts: int, quick: bool = False) -> Work:
    """Prompts of 40 to 80 tokens behind the chat's header; N=4 of 60 tokens."""
    chance = random.Random(2)
    shortest, longest, new = (5, 9, 3) if quick else (40, 80, 60)
    inner = len(BEFORE) + 1
    texts = tuple(words(n - inner, shape, chance) for n in _lengths(shortest, longest, prompts))
    return Work(f"sampling, {shape.name}", shape, checkpoint, texts, len(BEFORE), 4, new)


def _lengths(shortest: int, longest: int, count: int) -> list[int]:
    """Evenly spread, in shuffled order."""
    step = (longest - shortest) / max(count - 1, 1)
    lengths = [round(shortest + step * number) for number in range(count)]
    random.Random(0).shuffle(lengths)
    return lengths
