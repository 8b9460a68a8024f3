"""MT-Bench: an external judge rates a model's answers to both turns of each question.

Paper: section 3.1, single answers rated from 1 to 10 by GPT-4.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

import pandas as pd
from kedro.pipeline import Node, Pipeline
from pydantic import BaseModel, ConfigDict, Field, model_validator

from srlm_kedro.engines.generation.base import Completion, GenerationEngine, Request, StageSampling
from srlm_kedro.errors import InputError, summary
from srlm_kedro.judge.prompt import fill, placeholder_faults
from srlm_kedro.judge.verdict import parse_rating
from srlm_kedro.params import LIMIT, MAX_TOKENS, Params, Reads
from srlm_kedro.records import Checkpoint, derive_seed


class MtBenchSampling(StageSampling):
    """How answers are drawn (paper: not stated)."""

    n: int = Field(1, ge=1, le=1)
    """One answer per turn, because the second turn follows the first."""
    temperature: float = Field(0.0, ge=0, le=10)
    """Deviation: one value for all categories. The benchmark itself uses 0 for extraction, math,
    coding and reasoning, 0.1 for STEM and humanities, 0.7 for writing and roleplay."""
    max_new_tokens: int = Field(1024, ge=1, le=MAX_TOKENS)
    """Longest answer in tokens."""


class MtBenchParams(Params):
    """The parameters `mt_bench`."""

    sampling: MtBenchSampling = MtBenchSampling()
    """How the answers to both turns are drawn."""
    max_unparsed: Annotated[float, LIMIT] = Field(0.10, ge=0, le=1)
    """The run stops if a larger share of the judgements has no rating. All judgements are kept:
    with a higher limit the run goes on and does not ask the judge again."""


class MtBenchQuestion(BaseModel):
    """A question of two turns.

    A row may also have the form of the benchmark's own file: `question_id`, `category`, `turns`,
    `reference`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1)
    category: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    """The first turn."""
    follow_up: str = Field(min_length=1)
    """The second turn."""
    reference: list[str] = Field([], max_length=2)
    """The right answer to the first turn, or to both turns, where it is known."""

    @model_validator(mode="before")
    @classmethod
    def _as_published(cls, row: Any) -> Any:
        if not isinstance(row, dict) or "turns" not in row:
            return row
        turns = row["turns"]
        if not isinstance(turns, list) or len(turns) != 2:
            raise ValueError("`turns` must be a list of two texts")
        kept = {name: row[name] for name in row if name not in ("question_id", "turns")}
        named = {"id": str(row["question_id"])} if "question_id" in row else {}
        split = {"prompt": turns[0], "follow_up": turns[1]}
        return kept | named | split | {"reference": row.get("reference") or []}


PAPER = {"sft": 6.85, "m1": 6.78, "m2": 7.01, "m3": 7.25}
"""`mt_bench/score` in the paper, with GPT-4 as the judge."""
_TURN = ["model", "question_id", "category", "turn"]
ANSWERS = [*_TURN, "question", "answer", "tokens", "finish", "thought"]
"""Columns of `mt_bench_answers`: one row per turn (1 or 2)."""
JUDGEMENTS = [*_TURN, "text", "finish", "thought", "score", "reason"]
"""Columns of `mt_bench_judgements`: one row per turn, raw. `reason` is `ok`, or it says why `score`
is NaN."""
_REFERENCE, _CONVERSATION = "{reference}", "{conversation}"
_NO_REFERENCE = "None is known."


class Judge(Protocol):
    """A judge that answers many prompts at a time (`referee.llm_judge.LlmJudge`)."""

    def ask(self, prompts: Sequence[str]) -> list[Completion]:
        """One completion for each prompt."""
        ...


def answer_questions(
    model: Checkpoint,
    mt_bench_questions: pd.DataFrame,
    generation_engine: GenerationEngine,
    mt_bench: Annotated[MtBenchParams, Reads("sampling")],
    seed: int,
) -> pd.DataFrame:
    """The answers to both turns; the second turn follows the first turn and its answer.

    Raises:
        InputError: There are no questions, or two questions have the same id.
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
            (model.name, one.id, one.category, turn, asked.prompt, *_columns(answer))
            for one, asked, answer in zip(questions, requests, answers, strict=True)
        ]
        histories = [
            (*asked.history, (asked.prompt, answer.text))
            for asked, answer in zip(requests, answers, strict=True)
        ]
    return pd.DataFrame(rows, columns=ANSWERS)


def _refuse_faulty(questions: pd.DataFrame) -> None:
    if questions.empty:
        raise InputError("mt_bench_questions: it holds no rows. Name a file of questions.")
    ids = questions["id"]
    if faults := [f"the id {one} occurs twice" for one in ids[ids.duplicated()]]:
        raise InputError(summary(f"mt_bench_questions: {len(faults)} faults.", faults))


def _columns(answer: Completion) -> tuple[str, int, str, str]:
    return answer.text, answer.tokens, answer.finish, answer.thought


def judge_answers(
    mt_bench_questions: pd.DataFrame,
    mt_bench_answers: pd.DataFrame,
    mt_bench_judge: Judge,
    mt_bench_prompt: str,
) -> pd.DataFrame:
    """The judgement of each turn, raw; for the second turn the judge sees both turns.

    Raises:
        InputError: All faults of the judge's prompt.
    """
    check_mt_bench_prompt(mt_bench_prompt)
    references = mt_bench_questions.set_index("id")["reference"]
    prompts = []
    for row in mt_bench_answers.itertuples():
        same = mt_bench_answers["question_id"] == row.question_id
        turns = mt_bench_answers[same & (mt_bench_answers["turn"] <= row.turn)].sort_values("turn")
        values = {
            _REFERENCE: _references(references[row.question_id], row.turn),
            _CONVERSATION: _conversation(turns),
        }
        prompts.append(fill(mt_bench_prompt, values))
    drawn = mt_bench_judge.ask(prompts)
    raw = {name: [getattr(one, name) for one in drawn] for name in ("text", "finish", "thought")}
    return reparse(mt_bench_answers[_TURN].assign(**raw))[JUDGEMENTS]


def check_mt_bench_prompt(template: str) -> None:
    """Refuses a judge's prompt that lacks a place to fill, or never asks for a rating.

    Raises:
        InputError: All faults of the prompt.
    """
    faults = placeholder_faults(template, (_REFERENCE, _CONVERSATION))
    faults += [] if "[[" in template else ["it never asks for a rating in double brackets"]
    if faults:
        raise InputError(summary(f"mt_bench prompt: {len(faults)} faults.", faults))


def _conversation(turns: pd.DataFrame) -> str:
    return "\n\n".join(
        f"[User, turn {row.turn}]\n{row.question}\n\n[Assistant, turn {row.turn}]\n{row.answer}"
        for row in turns.itertuples()
    )


def _references(known: Sequence[str], turn: int) -> str:
    """The right answers to the turns up to `turn`."""
    numbered = [(number, text) for number, text in enumerate(known[:turn], 1) if text.strip()]
    return "\n\n".join(f"[Turn {n}]\n{text}" for n, text in numbered) or _NO_REFERENCE


def reparse(judgements: pd.DataFrame) -> pd.DataFrame:
    """The judgements with `score` and `reason` parsed again from the raw text."""
    parsed = [parse_rating(row.text, row.finish) for row in judgements.itertuples()]
    return judgements.assign(
        score=pd.Series([one.score for one in parsed], judgements.index, dtype=float),
        reason=pd.Series([one.reason for one in parsed], judgements.index, dtype=object),
    )


def create_pipeline() -> Pipeline:
    """`model`, `mt_bench_questions`, `mt_bench_judge`, `mt_bench_prompt` -> `mt_bench_judgements`.

    On the way: `mt_bench_answers`. `mt_bench_scores` measures them.
    """
    return Pipeline(
        [
            Node(
                answer_questions,
                [
                    "model",
                    "mt_bench_questions",
                    "generation_engine",
                    "params:mt_bench",
                    "params:seed",
                ],
                "mt_bench_answers",
                name="answer_questions",
            ),
            Node(
                judge_answers,
                ["mt_bench_questions", "mt_bench_answers", "mt_bench_judge", "mt_bench_prompt"],
                "mt_bench_judgements",
                name="judge_answers",
            ),
        ]
    )
