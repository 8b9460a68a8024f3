"""A language model from outside the loop that answers prompts, through any generation engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from srlm_kedro.engines.generation.base import Completion, GenerationEngine, Request, Sampling
from srlm_kedro.errors import InputError
from srlm_kedro.params import MAX_TOKENS, Temperature
from srlm_kedro.records import Checkpoint, derive_seed


class LlmJudge:
    """A model and the engine that draws from it. The model is on a server or on disk."""

    def __init__(
        self,
        engine: GenerationEngine,
        model: str = "judge",
        model_path: str | None = None,
        temperature: Temperature = 0.0,
        max_new_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = 1024,
    ):
        """Names the model and sets how it is asked.

        Args:
            engine: Draws the answers.
            model: The model's name on the server.
            model_path: The model's Hugging Face folder; None if a server holds the model.
            temperature: 0 gives the same answers again.
            max_new_tokens: Longest answer. An answer that is cut has no verdict.

        Raises:
            InputError: There is no model at `model_path`.
        """
        if model_path and not (Path(model_path) / "config.json").is_file():
            raise InputError(
                f"judge: {model_path} holds no config.json, so it is no Hugging Face folder. "
                "Correct `model_path`, or name the model of a server by `model`."
            )
        self._engine, self._on_disk = engine, model_path is not None
        # A server's model has no folder here. Local files must not be taken for its weights.
        self._model = Checkpoint(Path(model_path or f"server/{model}"), model)
        self._sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens)

    def refuse_unready(self) -> None:
        """Raises InputError if the engine knows that it cannot draw from the model."""
        if hasattr(self._engine, "refuse_unready"):
            self._engine.refuse_unready()
        if self._on_disk and hasattr(self._engine, "refuse_unfit"):
            self._engine.refuse_unfit(self._model)

    def ask(self, prompts: Sequence[str]) -> list[Completion]:
        """The answer to each prompt. Equal prompts are asked, and paid for, only once.

        If a prompt leaves the model no room, its answer is empty.
        """
        requests = {
            text: Request(f"judge-{derive_seed(0, text):x}", text, optional=True)
            for text in prompts
        }
        drawn = self._engine.generate(self._model, list(requests.values()), self._sampling, 0)
        answers = {text: row[0] for text, row in zip(requests, drawn, strict=True)}
        return [answers[text] for text in prompts]

    def release(self) -> None:
        """Frees what the engine holds."""
        self._engine.release()
