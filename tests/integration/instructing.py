"""A scripted engine whose new tasks have constraints, and whose answers meet some of them."""

import random

from srlm_kedro.engines.generation.base import Request
from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.verifiable.instructions import make

_SENTENCES = [
    "In short it is a good thing.",
    "People can help very often, and also in time.",
    "P.S. Write soon.",
    "A family with a small garden will share energy and remember a story.",
    "The life of many a great world makes a new way.",
    "Nothing else is known.",
]


class InstructingEngine(ScriptedEngine):
    """Writes instructions of the verifiable world, and answers in one to twelve sentences."""

    def _words(self, request: Request, least: int, chance: random.Random) -> list[str]:
        if not request.chat:
            return make(chance).text.split()
        count = chance.randint(1, 12)
        return " ".join(chance.choice(_SENTENCES) for _ in range(count)).split()
