"""Tasks of lm-eval, of the user's folder and of IFEval's file, with their data."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from srlm_kedro.engines.published import ifeval
from srlm_kedro.errors import InputError, summary
from srlm_kedro.verifiable.fetching import nothing_fetched


@dataclass(frozen=True)
class TaskSource:
    """Where tasks and their data come from."""

    folder: str | None = None
    """YAML files of further tasks. They replace lm-eval's tasks of the same name."""
    online: bool = False
    """Whether tasks may fetch their data from the Hugging Face Hub."""
    ifeval_file: str | None = None
    """The prompts of the task `ifeval`; None: lm-eval's own."""
    ifeval_max_gen_toks: int | None = None
    """Its longest answer in tokens; None: lm-eval's."""

    def refuse_unready(self) -> None:
        """Raises InputError if IFEval's file is not there, or what checks its answers."""
        if self.ifeval_file is not None:
            with self.network():
                ifeval.refuse_unready(self.ifeval_file)

    @contextmanager
    def network(self) -> Iterator[None]:
        """Inside, nothing is fetched unless tasks may."""
        with ExitStack() as stack:
            if not self.online:
                stack.enter_context(_offline())
                if find_spec("nltk"):
                    stack.enter_context(nothing_fetched())
            yield

    def index(self, tasks: Sequence[str]) -> Any:
        """The index of tasks: only the folder's and IFEval's if they have all.

        lm-eval's own takes seconds.

        Raises:
            InputError: There is no such folder, or tasks are unknown.
        """
        from lm_eval import tasks as shipped
        from lm_eval.tasks import TaskManager

        if self.folder is not None and not Path(self.folder).is_dir():
            raise InputError(
                f"lm-eval: {self.folder} is no folder. Correct the engine's `task_folder`."
            )
        own = [] if self.folder is None else [self.folder]
        few = [str(Path(shipped.__file__).parent / ifeval.TASK), *own]
        index = TaskManager(include_path=few, include_defaults=False)
        if set(tasks) <= set(index.all_tasks):
            return index
        whole = TaskManager(include_path=own)
        if unknown := [task for task in tasks if task not in whole.task_index]:
            local = TaskManager(include_path=own, include_defaults=False)
            raise InputError(_unknown_tasks(unknown, local.all_tasks, whole.all_tasks))
        return whole

    def read(self, index: Any, task: str, limit: int | None) -> list[Any]:
        """The tasks behind a name, with their data.

        Raises:
            InputError: The data or a package is missing, or answers could not be checked.
        """
        from datasets.exceptions import DatasetsError

        try:
            with self._named(index, task) as name:
                found = index.load([name])
        except ImportError as error:
            raise InputError(
                f"lm-eval: task {task} needs a package that is not here ({error}). Install it, or "
                f"leave the task out. For {ifeval.TASK}: {ifeval.INSTALL}."
            ) from error
        except (OSError, ValueError, DatasetsError) as error:
            advice = "" if self.online else " The engine's `online: true` fetches it from the Hub."
            raise InputError(
                f"lm-eval: the data of task {task} cannot be loaded: {error}.{advice}"
            ) from error
        if task == ifeval.TASK and self.ifeval_max_gen_toks is not None:
            shorter = {"max_gen_toks": self.ifeval_max_gen_toks}
            found["tasks"][task].set_config("generation_kwargs", shorter, update=True)
        for each in found["tasks"].values():
            _refuse_unchecked(each, limit)
        groups = found.get("groups") or {}
        return [groups[task]] if task in groups else list(found["tasks"].values())

    def _named(self, index: Any, task: str) -> Any:
        """By which name lm-eval finds the task inside."""
        if task != ifeval.TASK or self.ifeval_file is None:
            return nullcontext(task)
        return ifeval.task_on(self.ifeval_file, index.task_index[task].yaml_path)


def _refuse_unchecked(task: Any, limit: int | None) -> None:
    """Refuses a task of IFEval's kind whose answers could not be checked, before any is drawn."""
    rows = list(islice(task.eval_docs, 1)) and list(islice(task.eval_docs, limit))
    ifeval.refuse_unchecked(rows, f"lm-eval: task {task.config.task}")


def _unknown_tasks(unknown: Sequence[str], local: Sequence[str], known: Sequence[str]) -> str:
    faults = [
        f"{name}: did you mean {close[0]}?"
        if (close := get_close_matches(name, known, 1))
        else name
        for name in unknown
    ]
    yours = ", ".join(local) or "none"
    return summary(f"lm-eval: {len(unknown)} unknown tasks (your own tasks: {yours}).", faults)


@contextmanager
def _offline() -> Iterator[None]:
    """Inside, the libraries fetch nothing."""
    import datasets
    import huggingface_hub

    # The libraries read the environment variable only when they are imported.
    switches = [huggingface_hub.constants, datasets.config]
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    for switch in switches:
        switch.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.HF_HUB_OFFLINE = value
