"""The rubric of verifiable instructions: one yes/no question for each constraint."""

import re

from srlm_kedro.records import Criterion, PromptFault
from srlm_kedro.verifiable.constraints import ALL_KINDS, UNSEEN_KINDS, question
from srlm_kedro.verifiable.instructions import contradicts, has_unknown_demand, parse
from srlm_kedro.verifiable.topics import UNSEEN_TOPICS

_UNSEEN_TOPIC = re.compile(rf"\b(?:{'|'.join(map(re.escape, UNSEEN_TOPICS))})\b", re.IGNORECASE)


class InstructionRubric:
    """Reads the constraints out of an instruction, and asks for each of them.

    It knows how people word constraints, and nothing of the programs that check them.
    """

    def criteria(self, instruction: str) -> list[Criterion]:
        """One criterion for each constraint; none for an instruction without known constraints."""
        found = parse(instruction)
        constraints = found.constraints if found else ()
        return [
            Criterion(each.kind, question(each), ALL_KINDS[each.kind].wanted)
            for each in constraints
        ]

    def prompt_fault(self, instruction: str) -> PromptFault | None:
        """Why a new prompt is refused.

        Rewards say the truth only if all demands are known and can be met together. Topics and
        kinds of held-out prompts stay unseen.
        """
        found = parse(instruction)
        if found is None or has_unknown_demand(instruction) or contradicts(found.constraints):
            return "no_criteria"
        unseen = any(each.kind in UNSEEN_KINDS for each in found.constraints)
        return "held_out" if unseen or _UNSEEN_TOPIC.search(instruction) else None
