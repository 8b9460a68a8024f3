"""Benchmarks through EleutherAI's lm-eval, in this process, on a checkpoint's folder."""

import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Annotated, Any, Literal

from pydantic import Field

from srlm_kedro.engines import thoughts
from srlm_kedro.engines.generation.loading import load
from srlm_kedro.engines.published import ifeval
from srlm_kedro.engines.published.base import STDERR
from srlm_kedro.engines.published.lm_eval_tasks import TaskSource
from srlm_kedro.engines.template import checked
from srlm_kedro.engines.torch_device import device_of, free_unused_memory
from srlm_kedro.errors import InputError
from srlm_kedro.params import MAX_TOKENS, Count
from srlm_kedro.records import Checkpoint, derive_seed

_NUMPY_SEEDS = 2**32
_FILTERLESS = "none"

_log = logging.getLogger(__name__)


class LmEvalEngine:
    """Runs tasks of lm-eval and of the user's own folder, with lm-eval's Hugging Face model class.

    The figures depend on the model, the tasks and the seed. Floating-point noise also makes them
    depend slightly on the batch size.
    """

    def __init__(
        self,
        dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32",
        device: str = "auto",
        batch_size: Count | str = 8,
        max_rows: Count = 256,
        memory_gib: Annotated[float, Field(gt=0, le=1e6)] | None = None,
        task_folder: str | None = None,
        online: bool = False,
        chat: bool = False,
        trust_remote_code: bool = False,
        template: Mapping[str, Any] | None = None,
        ifeval_file: str | None = None,
        ifeval_max_gen_toks: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None,
    ):
        """Sets precision, resources and the source of tasks.

        Args:
            dtype: Precision of the weights. `auto` is bfloat16 on a GPU that supports it, and
                float32 elsewhere.
            device: `cpu`, `cuda`, `cuda:1`, ...; `auto` takes a GPU if there is one.
            batch_size: Items per batch of log-likelihoods, or `auto`.
            max_rows: Most answers that are drawn at once.
            memory_gib: Memory for keys, values and intermediate results of answers, beside the
                weights. None takes 2 GiB on a CPU, and most of what is free on a GPU.
            task_folder: YAML files of further tasks. They replace lm-eval's tasks of the same name.
            online: Lets tasks fetch their data from the Hugging Face Hub. False uses only what is
                on this machine. Models never come from the Hub.
            chat: Puts items into the model's chat template (raw text is more usual).
            trust_remote_code: Runs code that comes with a checkpoint.
            template: Arguments of the chat template, the same as the generation engine's.
            ifeval_file: The prompts of the task `ifeval` as Google published them
                (`input_data.jsonl`). None: lm-eval's own copy on the Hub.
            ifeval_max_gen_toks: Longest answer to IFEval in tokens; it is cut there and checked as
                it is. None: lm-eval's 1,280. Deviation: small models often repeat themselves up to
                the limit, and a lower one saves that time. It also cuts long answers that would
                have met a constraint on their length or their end, so compare only figures of one
                limit.

        Raises:
            InputError: `template` holds an argument that no template can take.
        """
        self._dtype = dtype
        self._device = device_of(device)
        self._batch_size = batch_size
        self._max_rows, self._memory_gib = max_rows, memory_gib
        self._chat = chat
        self._trust_remote_code = trust_remote_code
        self._template = checked(template)
        self._source = TaskSource(task_folder, online, ifeval_file, ifeval_max_gen_toks)

    def refuse_unready(self) -> None:
        """Raises InputError if lm-eval is missing, or IFEval's file or what checks its answers."""
        _refuse_without_package()
        self._source.refuse_unready()

    def run(
        self,
        model: Checkpoint,
        tasks: Sequence[str],
        limit: int | None,
        seed: int,
        num_fewshot: int | None = None,
    ) -> dict[str, dict[str, float]]:
        """Task to metric to value; the name of a filter follows the name of its metric.

        Raises:
            InputError: lm-eval is not installed, a task is unknown or its data is missing, or the
                checkpoint cannot be read.
        """
        _refuse_without_package()
        figures: dict[str, dict[str, float]] = {}
        with _quiet(), ifeval.same_languages():
            index = self._source.index(tasks)
            harness = self._harness(model, seed)
            for number, task in enumerate(tasks, 1):
                _log.info("%s: benchmark %s (%d of %d)", model.name, task, number, len(tasks))
                with self._source.network():
                    asked = self._source.read(index, task, limit)
                    results = self._evaluate(harness, asked, index, limit, seed, num_fewshot)
                figures |= _figures(results, task)
        del harness
        self._free()
        return figures

    def _evaluate(
        self,
        harness: Any,
        asked: list[Any],
        index: Any,
        limit: int | None,
        seed: int,
        num_fewshot: int | None,
    ) -> Mapping[str, Mapping[str, Any]]:
        import lm_eval

        harness_seed = _harness_seed(seed)
        return lm_eval.simple_evaluate(
            harness,
            tasks=asked,
            task_manager=index,
            num_fewshot=num_fewshot,
            limit=limit,
            log_samples=False,
            apply_chat_template=self._chat,
            fewshot_as_multiturn=self._chat,
            random_seed=harness_seed,
            numpy_random_seed=harness_seed,
            torch_random_seed=harness_seed,
            fewshot_random_seed=harness_seed,
        )["results"]

    def _harness(self, model: Checkpoint, seed: int) -> Any:
        """The harness's class around the model. An adapter is merged into its base."""
        from srlm_kedro.engines.published.lm_eval_answers import AnsweringLM, DrawingLM, Limits

        loaded = load(model, self._dtype, self._device, self._trust_remote_code, self._template)
        thinks = thoughts.has_marks(str(loaded.tokenizer.chat_template))
        limits = Limits(_harness_seed(seed), self._max_rows, self._memory_gib)
        return (AnsweringLM if thinks else DrawingLM)(model, loaded, self._batch_size, limits)

    def _free(self) -> None:
        free_unused_memory(self._device.startswith("cuda"))


def _harness_seed(seed: int) -> int:
    return derive_seed(seed, "benchmarks") % _NUMPY_SEEDS


def _figures(results: Mapping[str, Mapping[str, Any]], task: str) -> dict[str, dict[str, float]]:
    """The figures of the task itself, or those of its tasks if it has no figures of its own."""
    found = {name: metrics for name, row in results.items() if (metrics := _metrics(row))}
    return {task: found[task]} if task in found else found


def _metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """Metrics by our names: `acc,none` is `acc`, `acc_stderr,strict` is `acc_strict_stderr`."""
    found = {}
    for key, value in row.items():
        metric, comma, kind = key.partition(",")
        if comma and not isinstance(value, str):
            name = metric.removesuffix(STDERR)
            ending = STDERR if metric.endswith(STDERR) else ""
            found[f"{name}{'' if kind == _FILTERLESS else f'_{kind}'}{ending}"] = float(value)
    return found


def _refuse_without_package() -> None:
    try:
        import lm_eval  # noqa: F401
    except ImportError as error:
        raise InputError(
            "Benchmarks need lm-eval, which is not installed: pip install 'srlm_kedro[lm-eval]'."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, the harness shows no progress bars and logs only errors."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
