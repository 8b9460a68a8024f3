"""A referee in the place of a judge's model: what rewards are worth when they are true.

It answers judge prompts as a generation engine does, so that the loop stays as it is.
"""

import re
from collections.abc import Sequence

from srlm_kedro.engines.generation.base import Completion, Request, Sampling
from srlm_kedro.errors import InputError
from srlm_kedro.judge.prompt import INSTRUCTION, RESPONSE, check_judge_prompt
from srlm_kedro.records import Checkpoint
from srlm_kedro.referee.base import Assessment, KnowingReferee, Referee

_NO_SCORE = "There is no true score of it."


class RefereeEngine:
    """Reads instruction and response out of a filled judge prompt, and writes what is true.

    A judgement is the referee's reasons and `Score: <n>`; without a score where the referee has
    none, or where it is a `KnowingReferee` and the instruction is beyond it.
    """

    def __init__(self, referee: Referee, judge_prompt: str):
        """Names the referee, and the judge prompt of the run, which tells where to read.

        Raises:
            InputError: All faults of the prompt.
        """
        self._referee = referee
        self._filled = _reader(check_judge_prompt(judge_prompt))

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """The same judgement `sampling.n` times; neither model nor seed matter.

        Raises:
            InputError: A request is no filled judge prompt.
        """
        pairs = [self._pair(request) for request in requests]
        known = dict.fromkeys(pair for pair in pairs if self._is_known(pair[0]))
        told = dict(zip(known, self._referee.assess_all(list(known)), strict=True))
        return [[_judgement(told.get(pair))] * sampling.n for pair in pairs]

    def length_faults(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling
    ) -> list[str]:
        """None: a referee reads texts of any length."""
        return [""] * len(requests)

    def release(self) -> None:
        """Gives back what the referee holds."""
        if hasattr(self._referee, "release"):
            self._referee.release()

    def _is_known(self, prompt: str) -> bool:
        return not isinstance(self._referee, KnowingReferee) or self._referee.understands(prompt)

    def _pair(self, request: Request) -> tuple[str, str]:
        found = self._filled.fullmatch(request.prompt)
        if found is None:
            raise InputError(
                f"referee: request {request.id} is not filled from its `judge_prompt`: "
                f"{request.prompt[:60]!r}. Name the file of the catalog's `judge_prompt` in the "
                "engine's options."
            )
        return found["instruction"], found["response"]


def _reader(template: str) -> re.Pattern[str]:
    """The template as a pattern; what stands in its places comes out byte for byte."""
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
