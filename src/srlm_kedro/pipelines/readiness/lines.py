"""One question about a model and its answer, and what the answer depends on."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.judging.nodes import JudgingParams
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.prompts.params import PromptsParams
from srlm_kedro.pipelines.readiness.params import ReadinessParams
from srlm_kedro.pipelines.responses import ResponsesParams

NOT_ASKED = "-"
ORDER = (NOT_ASKED, "ready", "doubtful", "not ready")
"""From the best to the worst."""


@dataclass(frozen=True)
class Line:
    """One question and its answer."""

    question: str
    verdict: str
    """One of `ORDER`; `NOT_ASKED` where there is nothing to judge."""
    needed: bool
    """Whether the loop as it is configured needs it."""
    found: str
    """In words."""
    value: float | None = None
    """The figure that the verdict rests on."""
    low: float | None = None
    high: float | None = None
    """Its 95% interval."""
    chance: float | None = None
    """What chance alone would give."""
    cases: int = 0
    """How many texts or pairs it rests on."""
    advice: str = ""
    """What helps; empty where nothing has to."""


@dataclass(frozen=True)
class Needs:
    """What a loop needs of a model."""

    judges: bool
    """That its judgements order responses now."""
    learns: bool
    """That M1 learns to judge from labels or ranks, whatever the model can do now."""
    eft: bool
    """That EFT leaves examples."""
    before_m1: bool
    """Whether M1 is still to be trained."""

    @classmethod
    def of(cls, model: str, loop: LoopParams) -> "Needs":
        """By the model's place in the chain, and who does what."""
        before = model in ("m0", "sft")
        learns = before and loop.eft in ("ranking", "labels") and loop.judge != "external"
        judges = loop.reward != "checked" and not learns
        return cls(judges, learns, before and loop.eft != "none", before)


@dataclass(frozen=True)
class Asked:
    """All that the verdicts depend on besides the figures."""

    model: str
    loop: LoopParams
    readiness: ReadinessParams
    eft: EftParams
    judging: JudgingParams
    responses: ResponsesParams
    prompts: PromptsParams

    @property
    def needs(self) -> Needs:
        """What the loop needs of this model."""
        return Needs.of(self.model, self.loop)

    @property
    def other_judge(self) -> str:
        """What to take in place of a judge that does not know."""
        model = "a model that follows instructions better"
        if not self.may(judge="external"):
            return model
        return f"another judge (`loop.judge: external`), or {model}"

    def may(self, **changes: Any) -> bool:
        """Whether the loop could be changed so: it is not so yet, and would not be refused."""
        given = self.loop.model_dump()
        if given | changes == given:
            return False
        try:
            LoopParams.model_validate(given | changes)
        except ValidationError:
            return False
        return True


def cut_line(
    question: str, share: float | None, cases: int, asked: Asked, advice: str, needed: bool = True
) -> Line:
    """How many texts the token limit ended."""
    verdict = asked.readiness.cut_off.verdict(or_nan(share))
    found = f"{percent(share)} of {cases}."
    advice = advice if verdict != "ready" else ""
    return Line(question, verdict, needed, found, share, cases=cases, advice=advice)


def percent(share: float | None) -> str:
    """A share for people; a mark if there is none."""
    return "-" if share is None else f"{share:.0%}"


def or_nan(figure: float | None) -> float:
    """A figure that can be compared."""
    return float("nan") if figure is None else figure
