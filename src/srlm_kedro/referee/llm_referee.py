"""A language model as referee: it compares two responses in words, and scores them if told how."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from srlm_kedro.engines.generation.base import Completion, GenerationEngine
from srlm_kedro.errors import InputError, summary
from srlm_kedro.judge.parsing import parse_score
from srlm_kedro.judge.prompt import check_judge_prompt, fill, fill_judge_prompt, placeholder_faults
from srlm_kedro.params import TOKENS, Temperature
from srlm_kedro.referee.base import Comparison
from srlm_kedro.referee.llm_judge import LlmJudge

_PROMPT, _FIRST, _SECOND = "{prompt}", "{first}", "{second}"


@dataclass(frozen=True)
class Opinion:
    """What a language model says of one response: a score, and no errors by kind."""

    score: float | None
    """0 to 5; None where it gave none."""
    reasons: tuple[str, ...] = ()
    """Its words, raw."""
    items_wrong: None = None
    constraints_missed: None = None
    voice_missed: None = None
    extras: None = None


class LlmReferee:
    """The referee of head-to-head comparisons; it scores single responses only if told how.

    Paper: section 3.1 has GPT-4 compare. The wording is ours.
    """

    def __init__(
        self,
        engine: GenerationEngine,
        compare_prompt: str,
        model: str = "judge",
        model_path: str | None = None,
        judge_prompt: str | None = None,
        temperature: Temperature = 0.0,
        max_new_tokens: Annotated[int, Field(ge=1, le=TOKENS)] = 1024,
    ):
        """Names the judge, as for `LlmJudge`, and what it is asked.

        Args:
            engine: Draws its words.
            compare_prompt: Text with {prompt}, {first} and {second}, which asks for [[A]], [[B]]
                or [[C]].
            model: Its name, as the server knows it.
            model_path: Its Hugging Face folder; None where a server holds it.
            judge_prompt: The additive prompt by which it scores each response too; None: it
                compares alone, and every score is missing.
            temperature: 0 gives the same words again.
            max_new_tokens: Longest judgement.

        Raises:
            InputError: All faults of a prompt.
        """
        self._judge = LlmJudge(engine, model, model_path, temperature, max_new_tokens)
        self._compare_prompt = check_compare_prompt(compare_prompt)
        self._judge_prompt = judge_prompt and check_judge_prompt(judge_prompt)

    def compare(self, comparisons: Sequence[Comparison]) -> list[Completion]:
        """Its words on each, raw; `parse_verdict` reads them."""
        return self._judge.ask([self._filled(one) for one in comparisons])

    def assess_all(self, pairs: Sequence[tuple[str, str]]) -> list[Opinion]:
        """A score for each prompt and response; none without a `judge_prompt`."""
        if not self._judge_prompt:
            return [Opinion(None)] * len(pairs)
        said = self._judge.ask([fill_judge_prompt(self._judge_prompt, *pair) for pair in pairs])
        return [Opinion(parse_score(one.text, one.finish).score, (one.text,)) for one in said]

    def refuse_unready(self) -> None:
        """Raises InputError where its model cannot be drawn from."""
        self._judge.refuse_unready()

    def release(self) -> None:
        """Gives back what the engine holds."""
        self._judge.release()

    def _filled(self, one: Comparison) -> str:
        places = {_PROMPT: one.prompt, _FIRST: one.first, _SECOND: one.second}
        return fill(self._compare_prompt, places)


def check_compare_prompt(template: str) -> str:
    """The template itself, when its three places stand in it once and it names the verdicts.

    Raises:
        InputError: All faults of the template.
    """
    faults = placeholder_faults(template, (_PROMPT, _FIRST, _SECOND))
    faults += [
        f"it never offers {one}" for one in ("[[A]]", "[[B]]", "[[C]]") if one not in template
    ]
    if faults:
        raise InputError(summary(f"compare prompt: {len(faults)} faults.", faults))
    return template
