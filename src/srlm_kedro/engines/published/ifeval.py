"""IFEval in lm-eval: its prompts from a file, and the programs that check answers.

Source: Instruction-Following Evaluation (2311.07911).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from srlm_kedro.errors import InputError, summary

TASK = "ifeval"
"""lm-eval's name of the task."""
MAX_GEN_TOKS = 1280
"""lm-eval's longest answer in tokens."""
_IDS = "instruction_id_list"
_NEED_SENTENCES = ("length_constraints:number_sentences", "change_case:capital_word_frequency")
"""The programs that split a text by NLTK's model of sentences."""
INSTALL = "pip install 'srlm_kedro[lm-eval]'"
"""What brings lm-eval and IFEval's programs."""


class Prompt(BaseModel):
    """One row of IFEval's file; other keys are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)

    key: int
    prompt: str = Field(min_length=1)
    instruction_id_list: list[str] = Field(min_length=1)
    """The program for each instruction of the prompt."""
    kwargs: list[dict[str, Any]]
    """The arguments of each program."""

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if len(self.kwargs) != len(self.instruction_id_list):
            raise ValueError("`kwargs` and `instruction_id_list` must have the same length")
        return self


def refuse_unready(file: str) -> None:
    """Checks a file of prompts, and that their answers can be checked on this machine.

    Raises:
        InputError: There is no file, its rows do not fit, or a program or a model is missing.
    """
    refuse_unchecked([row.model_dump() for row in read(Path(file))], file)


def read(file: Path) -> list[Prompt]:
    """The rows of a file in IFEval's form (`input_data.jsonl`).

    Raises:
        InputError: There is no file, or rows do not fit, each with its line.
    """
    if not file.is_file():
        raise InputError(
            f"ifeval: {file} is not there. Put IFEval's input_data.jsonl there, or correct "
            "`ifeval_file` of `benchmark_engine` in the catalog."
        )
    rows, faults = [], []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            rows.append(Prompt.model_validate_json(line))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            faults.append(f"{file}, line {number}: {f'`{where}`: ' if where else ''}{first['msg']}")
    if faults or not rows:
        heading = (
            f"{file}: {len(faults)} bad rows of {len(faults) + len(rows)}; each line is an object "
            f"with key, prompt, {_IDS} and kwargs."
        )
        raise InputError(summary(heading, faults))
    return rows


@contextmanager
def task_on(file: str, task: Path) -> Iterator[str]:
    """A task of lm-eval that reads a file instead of the Hugging Face Hub.

    Args:
        file: Rows in IFEval's form.
        task: The YAML file of the task. The new one includes it.
    """
    changes = {
        "include": str(task),
        "task": TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"train": str(Path(file).resolve())}},
        "test_split": "train",
    }
    with TemporaryDirectory() as folder:
        changed = Path(folder) / task.name
        changed.write_text(json.dumps(changes), "utf-8")  # JSON is YAML too
        yield str(changed)


def refuse_unchecked(rows: Sequence[Mapping[str, Any]], source: str) -> None:
    """Refuses prompts whose answers could not be checked; rows of other tasks pass.

    Args:
        rows: What a task asks.
        source: Where they come from, for the message.

    Raises:
        InputError: A program or NLTK's model of sentences is missing.
    """
    if not rows or _IDS not in rows[0]:
        return
    programs = _programs()
    if unknown := sorted({one for row in rows for one in row[_IDS]} - set(programs)):
        raise InputError(
            f"{source}: lm-eval has no program for {', '.join(unknown)}. Take these prompts out, "
            "or install another lm-eval."
        )
    waiting = [row for row in rows if set(row[_IDS]) & set(_NEED_SENTENCES)]
    if waiting and not _has_sentences():
        heading = (
            f"{source}: {len(waiting)} of {len(rows)} answers are checked with NLTK's model of "
            f"sentences (those of {' and '.join(_NEED_SENTENCES)}), and punkt_tab is not on this "
            "machine. Fetch it with `python -m nltk.downloader punkt_tab`, or set NLTK_DATA to a "
            "folder with tokenizers/punkt_tab."
        )
        asked = [f"prompt {row['key']}: {row['prompt'][:60]!r}" for row in waiting]
        raise InputError(summary(heading, asked))


@contextmanager
def same_languages() -> Iterator[None]:
    """Inside, the program that guesses a text's language guesses the same each time.

    It draws at random by a generator of its own, which is seeded here.
    """
    try:
        from langdetect import DetectorFactory
    except ImportError:  # only IFEval needs it
        yield
        return
    before, DetectorFactory.seed = DetectorFactory.seed, 0
    try:
        yield
    finally:
        DetectorFactory.seed = before


def _programs() -> Mapping[str, Any]:
    """The programs of lm-eval by the names of their instructions."""
    try:
        from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT
    except ImportError as error:
        raise InputError(
            f"IFEval's programs cannot be imported ({error}). Install them: {INSTALL}."
        ) from error
    return INSTRUCTION_DICT


def _has_sentences() -> bool:
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab/english/")
    except LookupError:
        return False
    return True
