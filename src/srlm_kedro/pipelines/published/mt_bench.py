"""A model answers both turns of each question, and a judge from outside grades each turn.

Paper: section 3.1 reports MT-Bench, single answers graded from 1 to 10 by GPT-4.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

import pandas as pd
from kedro.pipeline import Node, Pipeline
from pydantic import BaseModel, ConfigDict, Field, model_validator

from srlm_kedro.display.safe_text import ending
from srlm_kedro.engines.generation.base import Completion, GenerationEngine, Request, StageSampling
from srlm_kedro.errors import GateError, InputError, summary
from srlm_kedro.judge.prompt import fill, placeholder_faults
from srlm_kedro.judge.verdict import parse_rating
from srlm_kedro.params import LIMIT, TOKENS, Params, Reads
from srlm_kedro.records import Checkpoint, derive_seed

PAPER = {"sft": 6.85, "m1": 6.78, "m2": 7.01, "m3": 7.25}
"""`mt_bench/score` in the paper, judged by GPT-4."""


class MtBenchSampling(StageSampling):
    """How answers are drawn (paper: not stated)."""

    n: int = Field(1, ge=1, le=1)
    """One answer a turn: the second turn follows the first."""
    temperature: float = Field(0.0, ge=0, le=10)
    """Deviation: one value for all categories. The benchmark's own runs take 0 for extraction,
    math, coding and reasoning, 0.1 for STEM and humanities, 0.7 for writing and roleplay."""
    max_new_tokens: int = Field(1024, ge=1, le=TOKENS)
    """Longest answer, in tokens."""


class MtBenchParams(Params):
    """From questions to the score."""

    sampling: MtBenchSampling = MtBenchSampling()
    """How both turns are answered."""
    max_unparsed: Annotated[float, LIMIT] = Field(0.10, ge=0, le=1)
    """The run stops when a larger share of the judgements carries no rating. All of them are
    kept: another limit lets the run go on, and nobody is asked again."""


class MtBenchQuestion(BaseModel):
    """A question of two turns; `reference` holds the right answers where there are any.

    Rows may be those of the benchmark's own file: `question_id`, `category`, `turns`, `reference`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1)
    category: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    """The first turn."""
    follow_up: str = Field(min_length=1)
    """The second turn."""
    reference: list[str] = Field([], max_length=2)
    """The right answer to the first turn, or to both."""

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


def measure_mt_bench(
    mt_bench_judgements: pd.DataFrame, mt_bench: MtBenchParams
) -> dict[str, float]:
    """`mt_bench/score` is the mean rating of all turns, 1 to 10, `mt_bench/turn_1`, `turn_2` and
    `mt_bench/<category>` are means of theirs; a mean of nothing is left out.

    `mt_bench/n` counts ratings, `mt_bench/unparsed` judgements without one: those enter no mean.

    Raises:
        GateError: Too large a share of the judgements carries no rating.
    """
    read = read_again(mt_bench_judgements)
    _refuse_unread(read, mt_bench)
    rated = read.dropna(subset="score")
    figures = {
        **rated.groupby("category")["score"].mean().to_dict(),
        **{f"turn_{turn}": mean for turn, mean in rated.groupby("turn")["score"].mean().items()},
        "score": rated["score"].mean(),
        "n": len(rated),
        "unparsed": len(read) - len(rated),
    }
    return {f"mt_bench/{name}": float(value) for name, value in figures.items()}


def _refuse_unread(read: pd.DataFrame, mt_bench: MtBenchParams) -> None:
    unread = read[read["score"].isna()]
    if len(unread) <= mt_bench.max_unparsed * len(read) and len(unread) < len(read):
        return
    first = unread.iloc[0]
    raise GateError(
        f"{first.model}.mt_bench_judgements: {len(unread) / len(read):.0%} of {len(read)} "
        f"judgements carry no rating (limit `mt_bench.max_unparsed` = {mt_bench.max_unparsed:g}); "
        f"most often: {unread['reason'].value_counts().index[0]}. First: question "
        f"{first.question_id}, turn {first.turn}, {ending(first.text)}. Give the judge more room "
        "(`max_new_tokens` of `mt_bench_judge` in the catalog), change the prompt, or raise the "
        "limit: all judgements are kept."
    )


def create_pipeline() -> Pipeline:
    """`model`, `mt_bench_questions`, `mt_bench_judge`, `mt_bench_prompt` -> `mt_bench_metrics`.

    On the way: `mt_bench_answers`, `mt_bench_judgements`.
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
            Node(
                measure_mt_bench,
                ["mt_bench_judgements", "params:mt_bench"],
                "mt_bench_metrics",
                name="measure_mt_bench",
            ),
        ]
    )
