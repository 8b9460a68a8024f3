"""A referee that knows which constraints a response meets."""

from collections.abc import Sequence
from dataclasses import dataclass

from srlm_kedro.verifiable.checkers import is_met, refuse_missing
from srlm_kedro.verifiable.constraints import question
from srlm_kedro.verifiable.instructions import parse

_FULL = 5.0


@dataclass(frozen=True)
class Assessment:
    """Which constraints of an instruction a response meets."""

    score: float
    """0 to 5: five times the share of the constraints that are met."""
    reasons: tuple[str, ...]
    """One sentence for each constraint."""
    constraints_missed: float
    """Share of the constraints."""
    verdicts: tuple[tuple[str, bool], ...]
    """The kind of each constraint, and whether it is met, in the order of the instruction."""
    items_wrong: None = None
    voice_missed: None = None
    extras: None = None


class Checker:
    """Checks each constraint of an instruction by a program."""

    def refuse_unready(self) -> None:
        """Refuses to start without the programs.

        Raises:
            InputError: They cannot be imported.
        """
        refuse_missing()

    def understands(self, prompt: str) -> bool:
        """Whether the prompt has a constraint that can be checked."""
        return parse(prompt) is not None

    def kind(self, prompt: str) -> str | None:
        """The kinds of its constraints, such as `avoid+bullets`; None if it has none."""
        instruction = parse(prompt)
        return instruction.kind if instruction else None

    def assess(self, prompt: str, response: str) -> Assessment:
        """What the programs find.

        Raises:
            ValueError: The prompt has no constraint that can be checked.
        """
        instruction = parse(prompt)
        if instruction is None:
            raise ValueError(
                f"checkers: the prompt {prompt[:60]!r} has no constraint that can be checked. Ask "
                "`understands` first."
            )
        met = [is_met(each, response) for each in instruction.constraints]
        asked = [question(each) for each in instruction.constraints]
        share = sum(met) / len(met)
        return Assessment(
            score=_FULL * share,
            reasons=tuple(
                f"{'Met' if good else 'Missed'}: {text}"
                for good, text in zip(met, asked, strict=True)
            ),
            constraints_missed=1 - share,
            verdicts=tuple(
                (each.kind, good) for each, good in zip(instruction.constraints, met, strict=True)
            ),
        )

    def assess_all(self, pairs: Sequence[tuple[str, str]]) -> list[Assessment]:
        """The assessment of each (prompt, response), in the same order."""
        return [self.assess(prompt, response) for prompt, response in pairs]
