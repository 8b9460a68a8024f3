"""The dataset of a judge prompt that asks criteria: a template and where the criteria come from."""

from pathlib import Path
from typing import Annotated, Any

from kedro.utils import load_obj
from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError

from srlm_kedro.datasets.read_only import ReadOnlyDataset
from srlm_kedro.errors import InputError
from srlm_kedro.judge.criteria import (
    Answers,
    CriteriaPrompt,
    ListedCriteria,
    Rubric,
    check_criteria_prompt,
)
from srlm_kedro.records import Criterion


def _worded(question: str) -> str:
    if not question.strip():
        raise ValueError("the question is blank")
    return question


class _Listed(BaseModel):
    """One criterion of a file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ask: Annotated[str, AfterValidator(_worded)]
    wanted: bool = True


class CriteriaPromptDataset(ReadOnlyDataset[CriteriaPrompt]):
    """A template with `{response}` and `{criterion}`, and the criteria.

    The criteria are listed in a YAML file, the same for every instruction, or a class reads them
    out of each instruction.
    """

    ORIGIN = "a judge prompt comes from conf/"

    def __init__(
        self,
        filepath: str,
        criteria: list[Any] | None = None,
        rubric: str | None = None,
        answers: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        """Names the template, and either `criteria` or `rubric`.

        Args:
            filepath: The template.
            criteria: Questions, each a text whose wanted answer is yes, or a mapping
                `{ask: "...?", wanted: no}` with `yes` or `no` unquoted.
            rubric: A class without arguments that has the method `criteria(instruction)`, as
                `package.module.Class`.
            answers: How the answers are spelt, for a tokenizer that does not know `Yes` and `No`:
                `{"yes": [...], "no": [...]}`. The first of each is what examples are trained on.
            metadata: Free notes.

        Raises:
            InputError: Both are given, or neither is; a criterion has another form, or there is no
                such class.
        """
        if (criteria is None) == (rubric is None):
            raise InputError(f"{filepath}: give either `criteria` or `rubric` in the catalog.")
        self._filepath = Path(filepath)
        self._rubric = rubric
        self._criteria = _listed(filepath, criteria) if rubric is None else _built(rubric)
        self._answers = _spelt(filepath, answers)
        self.metadata = metadata

    @property
    def interpreter(self) -> str:
        """The module whose code decides what is asked; it counts for what is made of the answers.

        How the template is filled counts with the nodes that fill it.
        """
        return type(self._criteria).__module__

    def load(self) -> CriteriaPrompt:
        """The template and the criteria.

        Raises:
            DatasetError: The template lacks a placeholder, or the file is not there.
        """
        template = self._filepath.read_text("utf-8")
        return check_criteria_prompt(CriteriaPrompt(template, self._criteria, self._answers))

    def fingerprint(self) -> dict[str, Any]:
        """The template, and the criteria or the name of their class; its code counts separately."""
        listed = isinstance(self._criteria, ListedCriteria)
        asked = [vars(each) for each in self._criteria.listed] if listed else self._rubric
        template = self._filepath.read_text("utf-8")
        return {"template": template, "criteria": asked, "answers": self._answers.choices}

    def _exists(self) -> bool:
        return self._filepath.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "rubric": self._rubric}


def _spelt(source: str, answers: dict[str, Any] | None) -> Answers:
    """The answers of a catalog entry. YAML reads a bare `yes` as true, also as a key."""
    if answers is None:
        return Answers()
    given = {{True: "yes", False: "no"}.get(key, key): value for key, value in answers.items()}
    words = {key: [each] if isinstance(each, str) else each for key, each in given.items()}
    sound = set(words) == {"yes", "no"} and all(
        isinstance(each, list) and each and all(isinstance(one, str) and one for one in each)
        for each in words.values()
    )
    if not sound:
        raise InputError(
            f'{source}: `answers` in the catalog must be {{"yes": [words], "no": [words]}}, with '
            f"the words in quotes; found {answers!r}."
        )
    return Answers(tuple(words["yes"]), tuple(words["no"]))


def _built(rubric: str) -> Rubric:
    """The rubric of a catalog entry."""
    try:
        built = load_obj(rubric)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{rubric}: this class of `rubric` in the catalog cannot be used: {error}. Name a "
            "class without arguments, as `package.module.Class`."
        ) from error
    if not callable(getattr(built, "criteria", None)):
        raise InputError(
            f"{rubric}: this class of `rubric` in the catalog has no method "
            "`criteria(instruction)`, which gives a list of `srlm_kedro.records.Criterion`."
        )
    return built


def _listed(source: str, criteria: Any) -> ListedCriteria:
    """The criteria of a catalog entry; each question is a kind of its own."""
    if not isinstance(criteria, list):
        raise InputError(
            f"{source}: `criteria` in the catalog must be a list of questions; found "
            f'{criteria!r}. Write ["a question?"].'
        )
    rows = [{"ask": each} if isinstance(each, str) else each for each in criteria]
    try:
        found = TypeAdapter(list[_Listed]).validate_python(rows)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(
            f"{source}: criterion {int(first['loc'][0]) + 1} of the catalog cannot be used: "
            f'{first["msg"]}. Write a question, or {{ask: "a question?", wanted: no}}.'
        ) from error
    if not found:
        raise InputError(f"{source}: `criteria` is empty in the catalog. List a question.")
    return ListedCriteria(
        tuple(Criterion(f"criterion {n}", each.ask, each.wanted) for n, each in enumerate(found, 1))
    )
