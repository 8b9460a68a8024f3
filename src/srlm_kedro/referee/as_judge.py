"""A referee that takes the place of the judge, to see what the loop does with true rewards.

It answers judge prompts as a generation engine does, so the loop stays the same.
"""

import re
from collections.abc import Sequence

from srlm_kedro.engines.generation.base import Choices, Completion, Request, Sampling
from srlm_kedro.errors import InputError
from srlm_kedro.judge.prompt import INSTRUCTION, RESPONSE, check_judge_prompt
from srlm_kedro.records import Checkpoint
from srlm_kedro.referee.base import Assessment, KnowingReferee, Referee

_NO_SCORE = "There is no true score for it."


class RefereeEngine:
    """Finds instruction and response in a filled judge prompt, and answers with the true score.

    A judgement is the referee's reasons and `Score: <n>`. It has no score if the referee gives
    none, or if the referee is a `KnowingReferee` and does not understand the instruction.
    """

    def __init__(self, referee: Referee, judge_prompt: str):
        """Takes the referee and the run's judge prompt, which says where each text is.

        Raises:
            InputError: All faults of the prompt.
        """
        self._referee = referee
        self._filled = _filled_pattern(check_judge_prompt(judge_prompt))

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """The same judgement `sampling.n` times per request; model and seed make no difference.

        Raises:
            InputError: A request is not a filled judge prompt.
        """
        pairs = [self._pair(request) for request in requests]
        known = dict.fromkeys(pair for pair in pairs if self._is_known(pair[0]))
        found = dict(zip(known, self._referee.assess_all(list(known)), strict=True))
        return [[_judgement(found.get(pair))] * sampling.n for pair in pairs]

    def choice_logprobs(
        self, model: Checkpoint, requests: Sequence[Request], choices: Choices
    ) -> list[list[float]]:
        """A referee gives one score for a whole response: it has no answer to a single question.

        Raises:
            InputError: Always.
        """
        raise InputError(
            "referee: it gives scores and no probabilities of named answers, so it cannot judge "
            "criteria one by one. Take the worded form of judging, or another engine as the judge."
        )

    def length_faults(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling
    ) -> list[str]:
        """An empty text for each request: a referee reads texts of any length."""
        return [""] * len(requests)

    def release(self) -> None:
        """Frees what the referee holds."""
        if hasattr(self._referee, "release"):
            self._referee.release()

    def _is_known(self, prompt: str) -> bool:
        return not isinstance(self._referee, KnowingReferee) or self._referee.understands(prompt)

    def _pair(self, request: Request) -> tuple[str, str]:
        found = self._filled.fullmatch(request.prompt)
        if found is None:
            raise InputError(
                f"referee: request {request.id} was not made from its `judge_prompt`: "
                f"{request.prompt[:60]!r}. In the engine's options, name the same file as the "
                "catalog's `judge_prompt`."
            )
        return found["instruction"], found["response"]


def _filled_pattern(template: str) -> re.Pattern[str]:
    """A pattern that finds in a filled template the texts that fill it, byte for byte."""
    pattern = re.escape(template)
    for place, name in ((INSTRUCTION, "instruction"), (RESPONSE, "response")):
        pattern = pattern.replace(re.escape(place), f"(?P<{name}>.*?)")
    return re.compile(pattern, re.DOTALL)


def _judgement(assessment: Assessment | None) -> Completion:
    score = None if assessment is None else assessment.score
    if score is None:
        return Completion(_NO_SCORE, len(_NO_SCORE.split()), "stop")
    text = f"{' '.join(assessment.reasons)}\nScore: {score:g}"
    return Completion(text, len(text.split()), "stop")
