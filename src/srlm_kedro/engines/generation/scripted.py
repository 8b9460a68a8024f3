"""An engine without a model: it makes up text at once, for tests and for trying the pipelines."""

import math
import random
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from srlm_kedro.engines.generation import watching
from srlm_kedro.engines.generation.base import (
    Choices,
    Completion,
    Request,
    Sampling,
    text_before,
)
from srlm_kedro.engines.generation.choices import check_choices
from srlm_kedro.engines.generation.request_tokens import (
    draw_fitting,
    length_faults,
    read_fitting,
)
from srlm_kedro.errors import InputError
from srlm_kedro.params import Count, Share
from srlm_kedro.records import Checkpoint, derive_seed

_ASKS = [
    "Explain to a beginner",
    "Write a short poem about",
    "List five facts about",
    "Compare two ways of",
    "Draft a polite letter on",
    "Summarise what is known of",
    "Give a recipe that involves",
    "Invent a riddle about",
    "Plan a weekend around",
    "Name common mistakes in",
    "Describe in plain words",
    "Tell a bedtime story about",
    "Argue for and against",
    "Write a small program that models",
    "Translate into simple English a note on",
]
_THINGS = [
    "growing tomatoes",
    "repairing a bicycle chain",
    "the phases of the moon",
    "keeping bees",
    "a lighthouse keeper",
    "learning the violin",
    "public libraries",
    "winter swimming",
    "baking rye bread",
    "migrating storks",
    "old railway stations",
    "saving electricity",
    "a lost umbrella",
    "chess openings",
    "night markets",
    "teaching fractions",
    "island ferries",
    "mountain rescue dogs",
    "mapping a city",
    "paper boats",
]
_MANNERS = [
    "in three sentences",
    "for a child of seven",
    "without any numbers",
    "using only short words",
    "with one surprising example",
    "as a dialogue between neighbours",
    "for a busy reader",
    "and end with a question",
    "with a clear beginning and end",
    "in the style of a radio report",
    "so that a tourist understands it",
    "with two pieces of advice",
]
_REMARKS = [
    "The answer keeps to the question.",
    "Most of what was asked is there.",
    "An example would have helped.",
    "It is clear and easy to follow.",
    "Some of it is beside the point.",
    "The tone suits the reader.",
    "One step is missing.",
    "It could be shorter.",
]
_TOP_SCORE = 5
_NAMED, _EVADED = 0.99, 0.001
"""Probability of all named answers together, and of those that the model would rather not give."""


class ScriptedEngine:
    """Makes up every completion from the seed, the request and the sample's number.

    A prompt that holds `judge_marker` gets a judgement that ends in `verdict`. The scores of one
    prompt are close to a value that depends on the prompt. Raw text to continue (`chat=False`) gets
    a new task, as the stage that generates prompts needs it. Any other prompt gets one to three
    sentences. A token is a word. Of named answers, the first has a probability that depends on the
    prompt alone, and the others share the rest.
    """

    def __init__(
        self,
        judge_marker: str = "Score:",
        score: Annotated[int, Field(ge=0, le=10)] | None = None,
        verdict: str = "Score: {}",
        unparsed: Share = 0.0,
        repeated: Share = 0.0,
        unfinished: Share = 0.0,
        empty: Share = 0.0,
        positions: Count | None = None,
        first_choice: Share | None = None,
    ):
        """Sets how well the script behaves.

        Args:
            judge_marker: Text by which a prompt for the judge is recognised.
            score: The score of every judgement; None spreads the scores over 0 to 5.
            verdict: How a judgement ends, with {} in place of the score.
            unparsed: Share of judgements that end without a score.
            repeated: Share of new tasks that are one and the same task.
            unfinished: Share of completions that are cut in half (`finish="length"`).
            empty: Share of ordinary answers (not judgements or new tasks) that hold no word.
            positions: Longest prompt and completion together, in words; None sets no limit.
            first_choice: Share of the first of the named answers (`Yes`) in their probability;
                None spreads it over 0 to 1. Of the `unparsed` share of requests, all named answers
                are improbable.

        Raises:
            InputError: A share is outside 0 to 1.
        """
        shares = {"unparsed": unparsed, "repeated": repeated}
        shares |= {"unfinished": unfinished, "empty": empty}
        if first_choice is not None:
            shares["first_choice"] = first_choice
        if faults := [f"{name} = {value}" for name, value in shares.items() if not 0 <= value <= 1]:
            raise InputError(
                f"ScriptedEngine: shares are between 0 and 1, not {', '.join(faults)}. "
                "Correct the engine's options."
            )
        self._judge_marker = judge_marker
        self._score = score
        self._ending = verdict
        self._unparsed = unparsed
        self._repeated = repeated
        self._unfinished = unfinished
        self._empty = empty
        self._positions = positions
        self._first_choice = first_choice

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Rows of `sampling.n` completions, one row per request; the model does not matter.

        Raises:
            InputError: Requests do not fit.
        """

        def draw(fitting: Sequence[Request], _: Sequence[list[int]]) -> list[list[Completion]]:
            return [
                [self._told(fitting, place, sampling, seed, n) for n in range(sampling.n)]
                for place in range(len(fitting))
            ]

        return draw_fitting(model, self._positions, requests, _ids(requests), sampling, draw)

    def choice_logprobs(
        self, model: Checkpoint, requests: Sequence[Request], choices: Choices
    ) -> list[list[float]]:
        """The log-probability of each choice, one row per request; the model does not matter.

        Raises:
            InputError: Requests do not fit, or the choices have another form.
        """
        check_choices(choices)

        def read(fitting: Sequence[Request], _: Sequence[list[int]]) -> list[list[float]]:
            return [self._logprobs(request, len(choices)) for request in fitting]

        prompts = _ids(requests)
        return read_fitting(model, self._positions, requests, prompts, len(choices), read)

    def length_faults(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling
    ) -> list[str]:
        """Why each request leaves no room, in words; an empty text for one that fits."""
        return length_faults(_ids(requests), self._positions, sampling)

    def release(self) -> None:
        """Nothing is held."""

    def _told(
        self, requests: Sequence[Request], place: int, sampling: Sampling, seed: int, sample: int
    ) -> Completion:
        completion = self._completion(requests[place], sampling, seed, sample)
        watching.end_all(requests, {(place, sample): completion})
        return completion

    def _completion(
        self, request: Request, sampling: Sampling, seed: int, sample: int
    ) -> Completion:
        if sampling.temperature == 0:
            seed = sample = 0  # Greedy text depends only on the request.
        earlier = [text for turn in request.history for text in turn]
        chance = random.Random(derive_seed(seed, request.id, str(sample), *earlier))
        words = self._words(request, sampling.min_new_tokens, chance)
        limit = sampling.max_new_tokens
        if chance.random() < self._unfinished:
            limit = min(limit, max(len(words) // 2, sampling.min_new_tokens, 1))
        answers = request.chat and self._judge_marker not in request.prompt
        if answers and chance.random() < self._empty:
            words = []
        return _cut(words, limit, sampling.stop)

    def _logprobs(self, request: Request, count: int) -> list[float]:
        chance = random.Random(derive_seed(0, *(turn["content"] for turn in request.messages)))
        named = _EVADED if chance.random() < self._unparsed else _NAMED
        first = chance.random() if self._first_choice is None else self._first_choice
        shares = [first, *[(1 - first) / (count - 1)] * (count - 1)] if count > 1 else [first]
        return [math.log(named * share) if share else -math.inf for share in shares]

    def _words(self, request: Request, least: int, chance: random.Random) -> list[str]:
        if self._judge_marker in request.prompt:
            ending = self._verdict(request.prompt, chance)
            return [*_sentences(chance, least - len(ending)), *ending]
        if not request.chat:
            return self._task(chance) + (_sentences(chance, least) if least > 5 else [])
        return _sentences(chance, least)

    def _verdict(self, prompt: str, chance: random.Random) -> list[str]:
        if chance.random() < self._unparsed:
            return ["I", "would", "rather", "not", "say."]
        score = self._score
        if score is None:
            around = derive_seed(0, prompt) % (_TOP_SCORE + 1)
            score = min(max(around + chance.choice((-1, 0, 0, 0, 1)), 0), _TOP_SCORE)
        return self._ending.format(score).split()

    def _task(self, chance: random.Random) -> list[str]:
        source = random.Random(0) if chance.random() < self._repeated else chance
        parts = [source.choice(bank) for bank in (_ASKS, _THINGS, _MANNERS)]
        return f"{' '.join(parts)}.".split()


def _sentences(chance: random.Random, least: int) -> list[str]:
    """Words of one to three remarks, or of as many as `least` words need."""
    words: list[str] = []
    for _ in range(chance.randint(1, 3)):
        words += chance.choice(_REMARKS).split()
    while len(words) < least:
        words += chance.choice(_REMARKS).split()
    return words


def _ids(requests: Sequence[Request]) -> list[list[int]]:
    """One number per word of the chat or raw text, and one more that opens it."""
    texts = [" ".join(turn["content"] for turn in request.messages) for request in requests]
    return [[0] * (1 + len(text.split())) for text in texts]


def _cut(words: list[str], limit: int, stop: Sequence[str]) -> Completion:
    """The words as a completion of at most `limit` tokens, up to the first stop string."""
    text = " ".join(words[:limit])
    kept = text_before(stop, text)
    if len(kept) < len(text):
        return Completion(text=kept, tokens=len(kept.split()) + 1, finish="stop")
    if len(words) < limit:
        return Completion(text=text, tokens=len(words) + 1, finish="stop")
    return Completion(text=text, tokens=limit, finish="length")
