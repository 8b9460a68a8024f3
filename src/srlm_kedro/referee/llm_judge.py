"""A language model from outside the loop, asked in words through any generation engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from srlm_kedro.engines.generation.base import Completion, GenerationEngine, Request, Sampling
from srlm_kedro.errors import InputError
from srlm_kedro.params import TOKENS, Temperature
from srlm_kedro.records import Checkpoint, derive_seed


class LlmJudge:
    """A model and the engine that draws from it: the model of a server, or one on disk."""

    def __init__(
        self,
        engine: GenerationEngine,
        model: str = "judge",
        model_path: str | None = None,
        temperature: Temperature = 0.0,
        max_new_tokens: Annotated[int, Field(ge=1, le=TOKENS)] = 1024,
    ):
        """Names the judge.

        Args:
            engine: Draws its words.
            model: Its name, as the server knows it.
            model_path: Its Hugging Face folder; None where a server holds it.
            temperature: 0 gives the same words again.
            max_new_tokens: Longest judgement. One that is cut carries no verdict.

        Raises:
            InputError: There is no model at `model_path`.
        """
        if model_path and not (Path(model_path) / "config.json").is_file():
            raise InputError(
                f"judge: {model_path} holds no config.json, so it is no Hugging Face folder. "
                "Correct `model_path`, or name the model of a server by `model`."
            )
        self._engine, self._on_disk = engine, model_path is not None
        # A server's model has no folder: files beside us must not pass for its weights.
        self._model = Checkpoint(Path(model_path or f"server/{model}"), model)
        self._sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens)

    def refuse_unready(self) -> None:
        """Raises InputError where the engine knows that it cannot draw from the judge's model."""
        if hasattr(self._engine, "refuse_unready"):
            self._engine.refuse_unready()
        if self._on_disk and hasattr(self._engine, "refuse_unfit"):
            self._engine.refuse_unfit(self._model)

    def ask(self, prompts: Sequence[str]) -> list[Completion]:
        """What it says to each, all asked at once; equal prompts are asked, and paid for, once.

        A prompt that leaves it no room gets no words.
        """
        requests = {
            text: Request(f"judge-{derive_seed(0, text):x}", text, optional=True)
            for text in prompts
        }
        drawn = self._engine.generate(self._model, list(requests.values()), self._sampling, 0)
        said = {text: row[0] for text, row in zip(requests, drawn, strict=True)}
        return [said[text] for text in prompts]

    def release(self) -> None:
        """Gives back what the engine holds."""
        self._engine.release()
