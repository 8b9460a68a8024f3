"""A language model as referee: it compares two responses, and can score single ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from srlm_kedro.engines.generation.base import Completion, GenerationEngine
from srlm_kedro.errors import InputError, summary
from srlm_kedro.judge.parsing import parse_score
from srlm_kedro.judge.prompt import check_judge_prompt, fill, fill_judge_prompt, placeholder_faults
from srlm_kedro.params import MAX_TOKENS, Temperature
from srlm_kedro.referee.base import Comparison
from srlm_kedro.referee.llm_judge import LlmJudge

_PROMPT, _FIRST, _SECOND = "{prompt}", "{first}", "{second}"


@dataclass(frozen=True)
class Opinion:
    """What a language model says about one response: a score, but no kinds of error."""

    score: float | None
    """0 to 5; None if the model gave none."""
    reasons: tuple[str, ...] = ()
    """The model's raw text."""
    items_wrong: None = None
    constraints_missed: None = None
    voice_missed: None = None
    extras: None = None


class LlmReferee:
    """Compares responses head to head. It scores single responses only with a `judge_prompt`.

    Paper: section 3.1, where GPT-4 compares. The wording of our prompt is our own.
    """

    def __init__(
        self,
        engine: GenerationEngine,
        compare_prompt: str,
        model: str = "judge",
        model_path: str | None = None,
        judge_prompt: str | None = None,
        temperature: Temperature = 0.0,
        max_new_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = 1024,
    ):
        """Names the model, as for `LlmJudge`, and sets its prompts.

        Args:
            engine: Draws the answers.
            compare_prompt: Text with {prompt}, {first} and {second}, which asks for [[A]], [[B]]
                or [[C]].
            model: The model's name on the server.
            model_path: The model's Hugging Face folder; None if a server holds the model.
            judge_prompt: The additive prompt for scoring each response as well. With None the
                model only compares, and every score is missing.
            temperature: 0 gives the same answers again.
            max_new_tokens: Longest answer.

        Raises:
            InputError: All faults of a prompt.
        """
        self._judge = LlmJudge(engine, model, model_path, temperature, max_new_tokens)
        self._compare_prompt = check_compare_prompt(compare_prompt)
        self._judge_prompt = judge_prompt and check_judge_prompt(judge_prompt)

    def compare(self, comparisons: Sequence[Comparison]) -> list[Completion]:
        """The model's raw text about each comparison; `parse_verdict` reads it."""
        return self._judge.ask([self._filled(one) for one in comparisons])

    def assess_all(self, pairs: Sequence[tuple[str, str]]) -> list[Opinion]:
        """A score for each (prompt, response); no scores without a `judge_prompt`."""
        if not self._judge_prompt:
            return [Opinion(None)] * len(pairs)
        answers = self._judge.ask([fill_judge_prompt(self._judge_prompt, *pair) for pair in pairs])
        return [Opinion(parse_score(one.text, one.finish).score, (one.text,)) for one in answers]

    def refuse_unready(self) -> None:
        """Raises InputError if its engine cannot draw from its model."""
        self._judge.refuse_unready()

    def release(self) -> None:
        """Frees what the engine holds."""
        self._judge.release()

    def _filled(self, one: Comparison) -> str:
        places = {_PROMPT: one.prompt, _FIRST: one.first, _SECOND: one.second}
        return fill(self._compare_prompt, places)


def check_compare_prompt(template: str) -> str:
    """The template itself, if it has each placeholder once and names the three verdicts.

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
