"""The rubric of verifiable instructions: one yes/no question for each constraint."""

from srlm_kedro.records import Criterion
from srlm_kedro.verifiable.constraints import ALL_KINDS, question
from srlm_kedro.verifiable.instructions import parse


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
