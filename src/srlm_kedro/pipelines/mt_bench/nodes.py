"""A model answers both turns of each question, and a judge from outside grades each turn.

Paper: section 3.1 reports MT-Bench, single answers graded from 1 to 10 by GPT-4.
"""

from collections.abc import Sequence
from typing import Annotated, Protocol

import pandas as pd

from srlm_kedro.engines.generation.base import Completion, GenerationEngine, Request
from srlm_kedro.errors import InputError, summary
from srlm_kedro.judge.prompt import fill, placeholder_faults
from srlm_kedro.judge.verdict import parse_rating
from srlm_kedro.params import Reads
from srlm_kedro.pipelines.mt_bench.params import MtBenchParams
from srlm_kedro.records import Checkpoint, derive_seed

_TURN = ["model", "question_id", "category", "turn"]
ANSWERS = [*_TURN, "question", "answer", "tokens", "finish", "thought"]
"""One row a turn (1, 2)."""
JUDGEMENTS = [*_TURN, "text", "finish", "thought", "score", "reason"]
"""One row a turn, raw: `score` is NaN and `reason` says why, or `reason` is `ok`."""
_REFERENCE, _CONVERSATION = "{reference}", "{conversation}"
_NO_REFERENCE = "None is known."


class Judge(Protocol):
    """Somebody who is asked in words, many things at a time (`referee.llm_judge.LlmJudge`)."""

    def ask(self, prompts: Sequence[str]) -> list[Completion]:
        """What it says to each."""
        ...


def answer_questions(
    model: Checkpoint,
    mt_bench_questions: pd.DataFrame,
    generation_engine: GenerationEngine,
    mt_bench: Annotated[MtBenchParams, Reads("sampling")],
    seed: int,
) -> pd.DataFrame:
    """The answers to both turns; the second is asked in view of the first and its answer.

    Raises:
        InputError: There are no questions, or two of one id.
    """
    _refuse_faulty(mt_bench_questions)
    questions = list(mt_bench_questions.itertuples())
    histories: list[tuple[tuple[str, str], ...]] = [()] * len(questions)
    rows = []
    for turn in (1, 2):
        requests = [
            Request(f"{one.id}-t{turn}", (one.prompt, one.follow_up)[turn - 1], history=earlier)
            for one, earlier in zip(questions, histories, strict=True)
        ]
        label = derive_seed(seed, "mt_bench")
        drawn = generation_engine.generate(model, requests, mt_bench.sampling, label)
        answers = [completions[0] for completions in drawn]
        rows += [
            (model.name, one.id, one.category, turn, asked.prompt, *_told(answer))
            for one, asked, answer in zip(questions, requests, answers, strict=True)
        ]
        histories = [
            (*asked.history, (asked.prompt, answer.text))
            for asked, answer in zip(requests, answers, strict=True)
        ]
    return pd.DataFrame(rows, columns=ANSWERS)


def judge_answers(
    mt_bench_questions: pd.DataFrame,
    mt_bench_answers: pd.DataFrame,
    mt_bench_judge: Judge,
    mt_bench_prompt: str,
) -> pd.DataFrame:
    """The judge's words on each turn, raw; for the second turn it sees the first one too.

    Raises:
        InputError: All faults of the prompt.
    """
    check_mt_bench_prompt(mt_bench_prompt)
    references = mt_bench_questions.set_index("id")["reference"]
    prompts = []
    for row in mt_bench_answers.itertuples():
        own = mt_bench_answers["question_id"] == row.question_id
        turns = mt_bench_answers[own & (mt_bench_answers["turn"] <= row.turn)].sort_values("turn")
        values = {
            _REFERENCE: _references(references[row.question_id], row.turn),
            _CONVERSATION: _conversation(turns),
        }
        prompts.append(fill(mt_bench_prompt, values))
    said = mt_bench_judge.ask(prompts)
    words = {name: [getattr(one, name) for one in said] for name in ("text", "finish", "thought")}
    return read_again(mt_bench_answers[_TURN].assign(**words))[JUDGEMENTS]


def read_again(judgements: pd.DataFrame) -> pd.DataFrame:
    """The same judgements with score and reason read afresh from the raw text."""
    parsed = [parse_rating(row.text, row.finish) for row in judgements.itertuples()]
    return judgements.assign(
        score=pd.Series([one.score for one in parsed], judgements.index, dtype=float),
        reason=pd.Series([one.reason for one in parsed], judgements.index, dtype=object),
    )


def _told(answer: Completion) -> tuple[str, int, str, str]:
    return answer.text, answer.tokens, answer.finish, answer.thought


def _conversation(turns: pd.DataFrame) -> str:
    return "\n\n".join(
        f"[User, turn {row.turn}]\n{row.question}\n\n[Assistant, turn {row.turn}]\n{row.answer}"
        for row in turns.itertuples()
    )


def _references(known: Sequence[str], turn: int) -> str:
    """The right answers up to the turn."""
    numbered = [(number, text) for number, text in enumerate(known[:turn], 1) if text.strip()]
    return "\n\n".join(f"[Turn {n}]\n{text}" for n, text in numbered) or _NO_REFERENCE


def check_mt_bench_prompt(template: str) -> None:
    faults = placeholder_faults(template, (_REFERENCE, _CONVERSATION))
    faults += [] if "[[" in template else ["it never asks for a rating in double brackets"]
    if faults:
        raise InputError(summary(f"mt_bench prompt: {len(faults)} faults.", faults))


def _refuse_faulty(questions: pd.DataFrame) -> None:
    if questions.empty:
        raise InputError("mt_bench_questions: holds no rows. Name a file of questions.")
    ids = questions["id"]
    if faults := [f"the id {one} stands there twice" for one in ids[ids.duplicated()]]:
        raise InputError(summary(f"mt_bench_questions: {len(faults)} faults.", faults))
