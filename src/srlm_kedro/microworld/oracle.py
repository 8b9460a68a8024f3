"""The oracle: the true additive score of any response, and the reason for each point."""

from collections.abc import Sequence
from dataclasses import dataclass

from srlm_kedro.microworld.answers import FITS, Answer, marks, needed, read
from srlm_kedro.microworld.instructions import Instruction, parse


@dataclass(frozen=True)
class Facts:
    """The true verdict on each item and each request of an answer."""

    marks: tuple[str, ...]
    """The verdict on each item of the answer."""
    needed: int
    """The number of items that were asked for."""
    kept: tuple[bool, ...]
    """Whether each request was followed, in the order of the requests."""
    added: tuple[str, ...]
    """What was added without being requested."""
    voice: str
    chatters: bool

    @property
    def fitting(self) -> int:
        """The number of items that fit."""
        return self.marks.count(FITS)

    @property
    def points(self) -> tuple[bool, ...]:
        """The five criteria, each worth one point.

        Items and requests are separate criteria, so that a fault in one never hides the other.
        """
        return (
            self.fitting > 0,
            2 * sum(self.kept) >= len(self.kept),
            self.fitting == len(self.marks) == self.needed,
            self.voice == "helpful",
            all(self.kept) and not self.added and not self.chatters,
        )


REASONS: tuple[tuple[str, str], ...] = (
    ("It gives something that was asked for.", "It gives nothing that was asked for."),
    ("It follows at least half of the requests.", "It ignores most of the requests."),
    ("Every item is right.", "Not every item is right."),
    ("It sounds like an assistant.", "It does not sound like an assistant."),
    ("It follows every request and adds nothing.", "A request is missed, or something is added."),
)
"""For each point, the reason to give it and the reason not to."""


@dataclass(frozen=True)
class Assessment:
    """The true score of a response, and what is wrong with it."""

    score: int
    """0 to 5."""
    reasons: tuple[str, ...]
    """One reason per point, for giving it or for not giving it."""
    points: tuple[bool, ...]
    """The five criteria, each worth one point."""
    items_wrong: bool
    constraints_missed: float
    """The share of requests that were not followed; 0 if there were none."""
    voice_missed: bool
    extras: bool
    """Something was added that was not requested."""


def facts(instruction: Instruction, answer: Answer) -> Facts:
    """The true verdicts on an answer to the instruction."""
    asked = instruction.requests
    return Facts(
        marks=marks(instruction, answer.items),
        needed=needed(instruction),
        kept=tuple(_kept(request, answer) for request in asked),
        # Joining items by "and" is normal English even if it was not requested.
        added=tuple(sorted(answer.shown - {"and", *asked})),
        voice=answer.voice if answer.stop or answer.voice != "helpful" else "curt",
        chatters=bool(answer.chatter),
    )


def _kept(request: str, answer: Answer) -> bool:
    single = request == "and" and len(answer.items) < 2
    return request in answer.shown and not single


class Oracle:
    """Scores responses by the rules of the world; it reads only the prompt and the response."""

    def understands(self, prompt: str) -> bool:
        """Whether the prompt is an instruction of this world."""
        return parse(prompt) is not None

    def kind(self, prompt: str) -> str | None:
        """The family and requests of a prompt, such as `list+brackets`; None outside the world."""
        instruction = parse(prompt)
        return instruction.kind if instruction else None

    def assess(self, prompt: str, response: str) -> Assessment:
        """The true score of `response`.

        Raises:
            ValueError: `prompt` is no instruction of this world.
        """
        instruction = parse(prompt)
        if instruction is None:
            raise ValueError(
                f"oracle: the prompt {prompt[:60]!r} is no instruction of the microworld, so no"
                " true score exists. Ask `understands` first, or use prompts made by `seed_data`."
            )
        found = facts(instruction, read(response))
        points = found.points
        missed = [kept for kept in found.kept if not kept]
        return Assessment(
            score=sum(points),
            reasons=tuple(REASONS[at][0 if given else 1] for at, given in enumerate(points)),
            points=points,
            items_wrong=not points[2],
            constraints_missed=len(missed) / len(found.kept) if found.kept else 0.0,
            voice_missed=not points[3],
            extras=bool(found.added) or found.chatters,
        )

    def assess_all(self, pairs: Sequence[tuple[str, str]]) -> list[Assessment]:
        """The true score of each (prompt, response), as referees return it."""
        return [self.assess(prompt, response) for prompt, response in pairs]
