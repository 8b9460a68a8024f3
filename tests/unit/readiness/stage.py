"""The whole stage in this process, on made-up seed data, with judges that do as they are told."""

import math
import random
import re
from collections.abc import Callable
from typing import Any

import pandas as pd

from srlm_kedro.engines.generation.base import Completion, Request
from srlm_kedro.engines.training.params import DpoParams, SftParams
from srlm_kedro.judge.criteria import CriteriaPrompt, ListedCriteria
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.judging.nodes import JudgingParams
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.pairs import PairsParams
from srlm_kedro.pipelines.prompts.params import PromptsParams
from srlm_kedro.pipelines.readiness import create_pipeline
from srlm_kedro.pipelines.readiness.params import ReadinessParams
from srlm_kedro.pipelines.responses import ResponsesParams
from srlm_kedro.records import Checkpoint, Criterion
from tests.unit.fakes import M1, FakeEngine, LengthReferee

PROMPT = "Q: {instruction}\nA: {response}\nEnd with Score: <points>"
CRITERIA = CriteriaPrompt(
    "{instruction}\n{response}\n{criterion}", ListedCriteria((Criterion("good", "Is it good?"),))
)
SAYS = Callable[[Request, int], str | Completion]


def quality(text: str) -> int:
    """The true points of the response in a text: it says them itself."""
    return int(re.search(r"quality(\d)", text)[1])


def length(text: str) -> int:
    """The words of filling in it."""
    return text.count("word")


def good(request: Request, sample: int) -> str:
    """A judge that sees the truth."""
    return f"It was read with some care.\nScore: {quality(request.prompt)}"


def answer(request: Request, sample: int) -> str:
    """A response of some quality and length."""
    chance = random.Random(f"{request.id} {sample}")
    return response(chance.randrange(5), chance.randrange(1, 9))


def response(points: int, words: int) -> str:
    """A text that says its points."""
    return f"quality{points}{' word' * words}."


def task(request: Request, sample: int) -> str:
    """A new prompt that no other is like."""
    chance = random.Random(f"{request.id} {sample}")
    words = ["".join(chance.choices("bdfgklmnprst", k=5)) for _ in range(8)]
    return f"Tell me of {' '.join(words)}."


class Model(FakeEngine):
    """Judges, answers and writes, each as it is told."""

    def __init__(
        self,
        judges: SAYS = good,
        answers: SAYS = answer,
        writes: SAYS = task,
        sees: Callable[[str], float] = lambda text: (quality(text) + 0.5) / 6,
    ) -> None:
        """`sees` gives the probability of yes, from 0 to 1."""
        super().__init__(self._do)
        self._judges, self._answers, self._writes = judges, answers, writes
        self._sees = sees

    def _do(self, request: Request, sample: int) -> str | Completion:
        if not request.chat:
            return self._writes(request, sample)
        judged = "Score:" in request.prompt
        return (self._judges if judged else self._answers)(request, sample)

    def choice_logprobs(self, model: Checkpoint, requests: Any, choices: Any) -> list[list[float]]:
        """Log-probabilities of yes and no."""
        shares = [self._sees(request.prompt) for request in requests]
        return [[math.log(share), math.log(1 - share)] for share in shares]


def seed_data(prompts: int = 120) -> tuple[pd.DataFrame, pd.DataFrame]:
    """IFT, and four ranked responses to each of some prompts, whose length means nothing."""
    ift = pd.DataFrame(
        [(f"ift-{n}", f"Please tell me thing {n}.", response(4, 3)) for n in range(400)],
        columns=["prompt_id", "prompt", "response"],
    )
    rows = []
    for number in range(prompts):
        chance = random.Random(number)
        for rank, points in enumerate(chance.sample(range(1, 6), 4)):
            text = response(points, chance.randrange(1, 9))
            name = f"eft-{number}"
            rows.append((name, f"Compare item {number}.", f"{name}-r{rank}", text, 5 - points))
    columns = ["prompt_id", "prompt", "response_id", "response", "rank"]
    return ift, pd.DataFrame(rows, columns=columns)


def readiness(
    engine: Any, model: Checkpoint = M1, eft_ranked: pd.DataFrame | None = None, **groups: Any
) -> tuple[pd.DataFrame, str, dict[str, Any]]:
    """The table by question, the text, and all that was made on the way.

    Args:
        engine: The model.
        model: Its place in the chain.
        eft_ranked: The ranked responses, if others than `seed_data` has.
        groups: Groups of parameters, where they differ from the defaults.
    """
    ift, ranked = seed_data()
    kinds = {
        **{"loop": LoopParams, "eft": EftParams, "judging": JudgingParams, "pairs": PairsParams},
        **{"responses": ResponsesParams, "prompts": PromptsParams, "readiness": ReadinessParams},
        **{"sft": SftParams, "dpo": DpoParams},
    }
    given = {"world": "given", **groups.pop("loop", {})}
    params = {name: kind.model_validate(groups.get(name, {})) for name, kind in kinds.items()}
    params["loop"] = LoopParams.model_validate(given)
    asked = CRITERIA if params["loop"].judge_form == "criteria" else PROMPT
    values = {
        **{"policy": model, "judge": model, "writer": model, "ift": ift},
        **{"eft_ranked": ranked if eft_ranked is None else eft_ranked, "asked": asked},
        **{"judge_prompt": PROMPT, "criteria_prompt": groups.get("criteria_prompt", CRITERIA)},
        **{"few_shot_prompt": "{tasks}\nTask:", "checker": groups.get("checker", LengthReferee())},
        **{"generation_engine": engine, "judge_engine": engine, "params:seed": 0},
        **{f"params:{name}": value for name, value in params.items()},
    }
    made: dict[str, Any] = {}
    for node in create_pipeline(params["loop"]).nodes:
        made |= node.run(
            {name: made[name] if name in made else values[name] for name in node.inputs}
        )
    return made["readiness_table"].set_index("question"), made["readiness_summary"], made
