"""A scripted engine in which some models answer validation prompts badly, and judges see it."""

import re
from collections.abc import Sequence

from srlm_kedro.engines.generation.base import Completion, Request, Sampling
from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.records import Checkpoint

_BAD, _GOOD = "Rubbish!", "Sense!"
_OF_ITERATIONS = re.compile(r"m\d+-[wp]\d+")


class DecliningEngine(ScriptedEngine):
    """Answers as the script does, but for prompts that people wrote: there judges see who answers.

    A model whose folder is named in `worse` gets 0 for every answer, any other model 4. Prompts of
    the loop's own and their answers are as ever, so that there are pairs to train on.
    """

    def __init__(self, worse: Sequence[str] = ()):
        super().__init__()
        self._worse = set(worse)

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        rows = super().generate(model, requests, sampling, seed)
        mark = _BAD if model.path.name in self._worse else _GOOD
        return [
            [self._marked(request, one, mark) for one in row]
            for request, row in zip(requests, rows, strict=True)
        ]

    def _marked(self, request: Request, drawn: Completion, mark: str) -> Completion:
        if self._judge_marker in request.prompt:
            scores = {_BAD: "Score: 0", _GOOD: "Score: 4"}
            said = [score for word, score in scores.items() if word in request.prompt]
            return Completion(said[0], 3, "stop") if said else drawn
        if _OF_ITERATIONS.match(request.id):
            return drawn
        return Completion(f"{mark} {drawn.text}", drawn.tokens, drawn.finish)
