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
            given = "both" if rubric else "neither"
            raise InputError(f"it must have either `criteria` or `rubric`, and has {given}.")
        self._filepath = Path(filepath)
        self._rubric = rubric
        self._criteria = _listed(criteria) if rubric is None else _built(rubric)
        self._answers = _spelt(answers)
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
        try:
            return check_criteria_prompt(CriteriaPrompt(template, self._criteria, self._answers))
        except InputError as error:
            raise InputError(f"{self._filepath}: {error}") from error

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


def _spelt(answers: dict[str, Any] | None) -> Answers:
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
            '`answers` must be {"yes": [words], "no": [words]}, with the words in quotes; found '
            f"{answers!r}."
        )
    return Answers(tuple(words["yes"]), tuple(words["no"]))


def _built(rubric: str) -> Rubric:
    """The rubric of a catalog entry."""
    try:
        built = load_obj(rubric)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"`rubric: {rubric}` names no class that can be made: {error}. Write a class without "
            "arguments below src/ (or install a package that has one), and name its module and "
            "itself: the class MyRubric of src/my_rubric.py is `my_rubric.MyRubric`."
        ) from error
    if not callable(getattr(built, "criteria", None)):
        raise InputError(
            f"`rubric: {rubric}` names a class that must have a method "
            "`criteria(instruction)`, which gives a list of `srlm_kedro.records.Criterion`."
        )
    return built


def _listed(criteria: Any) -> ListedCriteria:
    """The criteria of a catalog entry; each question is a kind of its own."""
    if not isinstance(criteria, list):
        raise InputError(
            f'`criteria` must be a list of questions; found {criteria!r}. Write ["a question?"].'
        )
    rows = [{"ask": each} if isinstance(each, str) else each for each in criteria]
    try:
        found = TypeAdapter(list[_Listed]).validate_python(rows)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        number, *inside = first["loc"]
        place = f"criterion {int(number) + 1}" + "".join(f", `{part}`" for part in inside)
        raise InputError(
            f"{place}: {first['msg']}, found {first['input']!r}. Write a question, or "
            '{ask: "a question?", wanted: no} with yes or no unquoted.'
        ) from error
    if not found:
        raise InputError("`criteria` is empty. List a question.")
    return ListedCriteria(
        tuple(Criterion(f"criterion {n}", each.ask, each.wanted) for n, each in enumerate(found, 1))
    )
