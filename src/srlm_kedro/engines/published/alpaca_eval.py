"""AlpacaEval 2.0 through the package of that name, on any OpenAI-compatible server."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from srlm_kedro.display.safe_text import redacted
from srlm_kedro.engines.generation.servers.endpoint import no_connection
from srlm_kedro.engines.published.alpaca_eval_package import load, quiet_package
from srlm_kedro.engines.published.base import COLUMNS
from srlm_kedro.engines.published.length_control import length_controlled_win_rate
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.params import MAX_SEED, Retries, Seconds

_NO_KEY = "unused"
_COMPLETIONS = "openai_completions"


class AlpacaEvalAnnotator:
    """Asks the model of an annotators config of `alpaca_eval` which output is better.

    The package makes the prompts, orders the outputs and parses the answers. The answers are kept
    in one file for each config, model, server and seed. A comparison that has a preference is not
    asked again.
    """

    def __init__(
        self,
        base_url: str,
        path: str,
        annotators_config: str = "weighted_alpaca_eval_gpt4_turbo",
        model: str | None = None,
        seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0,
        concurrency: Annotated[int, Field(ge=1, le=10_000)] = 5,
        retries: Retries = 6,
        timeout: Seconds = 600.0,
        credentials: dict[str, str] | None = None,
    ):
        """Names the server, the annotators config and the folder of the answers.

        Args:
            base_url: The server's address, which ends in /v1.
            path: The folder where the answers are kept.
            annotators_config: A config of the package, or your own folder with a configs.yaml.
                The default is AlpacaEval 2.0. It needs a server that gives log probabilities;
                `alpaca_eval_gpt4` reads a ranking from plain text.
            model: The model's name on the server; None takes the config's.
            seed: Draws which output is shown first.
            concurrency: Requests at a time.
            retries: Further attempts after the server fails a request, with growing waits.
            timeout: The most seconds for one request.
            credentials: `api_key`, if the server asks for one.
        """
        self._base_url, self._folder = base_url, Path(path)
        self._config, self._model, self._seed = annotators_config, model, seed
        self._concurrency, self._retries, self._timeout = concurrency, retries, timeout
        self._key = (credentials or {}).get("api_key") or _NO_KEY

    def refuse_unready(self) -> None:
        """Raises InputError if the package is missing or no server answers."""
        load("decoders.openai")
        fault = no_connection(
            self._base_url, self._key, self._timeout, lambda text: redacted(text, self._key)
        )
        if fault is not None:
            raise InputError(
                f"alpaca_annotator: no server answers at {self._base_url} ({fault}). Start it, or "
                "correct `base_url` of its entry in the catalog."
            )

    def annotate(self, outputs: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
        """Columns `COLUMNS`, then the package's other columns (price, time, date, version).

        Raises:
            InputError: The package or the config cannot be used, or the server refuses.
            GateError: The server fails after all retries.
        """
        package = load("annotators")
        openai = load("decoders.openai").openai
        unparsed: dict[str, Any] = {}
        with quiet_package():
            annotator = self._annotator(package)
            for one in annotator.annotators.values():
                _keep_unparsed(one, unparsed)
            try:
                rows = annotator.annotate_head2head(references, outputs)
            except openai.OpenAIError as error:
                passing = (
                    openai.APIConnectionError,
                    openai.InternalServerError,
                    openai.RateLimitError,
                )
                # Not chained: the server's own message may repeat the key.
                raise self._error_for(error, isinstance(error, passing)) from None
            except (AttributeError, TypeError, ValueError) as error:
                raise self._error_for(error, passing=True) from error
        return _table(rows, unparsed, references)

    def control_length(
        self, annotations: pd.DataFrame, difficulty: pd.DataFrame
    ) -> dict[str, float]:
        """See `length_controlled_win_rate`."""
        return length_controlled_win_rate(annotations, difficulty)

    def _error_for(self, error: Exception, passing: bool) -> Exception:
        """The error to raise: GateError if the fault may pass, InputError if it must be mended."""
        message = redacted(f"{type(error).__name__}: {error}", self._key)
        kept = f"The answers so far are kept in {self._folder}."
        if passing:
            return GateError(
                f"alpaca_annotator: {self._base_url} fails or replies in another format "
                f"({message}). {kept} Run again when it answers."
            )
        return InputError(
            f"alpaca_annotator: {self._base_url} refuses ({message}). {kept} Correct its base_url, "
            "model, annotators_config or credentials."
        )

    def _annotator(self, package: Any) -> Any:
        config = self._config_file()
        answers = self._answers_file(config)
        annotator = package.PairwiseAnnotator(
            annotators_config=config,
            seed=self._seed,
            caching_path=answers,
            # With False, the package asks again for answers without a preference. But it cannot
            # start with False, before there is a file of answers.
            is_store_missing_annotations=not answers.is_file(),
        )
        _save_atomically(annotator, answers)
        for one in annotator.annotators.values():
            one.completions_kwargs = one.completions_kwargs | self._request()
        return annotator

    def _request(self) -> dict[str, Any]:
        named = {} if self._model is None else {"model_name": self._model}
        return named | {
            "openai_api_keys": [self._key],
            "openai_organization_ids": None,
            "openai_api_base": self._base_url,
            "client_config_path": self._folder,  # no file, so keys of other projects are not read
            "client_kwargs": {"timeout": self._timeout, "max_retries": self._retries},
            "num_procs": self._concurrency,
            "requires_chatml": True,  # else the package guesses it from the model's name
        }

    def _config_file(self) -> Path:
        shipped = Path(load("constants").EVALUATORS_CONFIG_DIR) / self._config / "configs.yaml"
        local = Path(self._config).resolve() / "configs.yaml"
        for file in (local, shipped):
            if file.is_file():
                return _checked_config(file)
        raise InputError(
            f"alpaca_annotator: {self._config} is no annotators config of alpaca_eval and no "
            f"folder with a configs.yaml. The package's configs are in {shipped.parents[1]}."
        )

    def _answers_file(self, config: Path) -> Path:
        texts = [file.read_text("utf-8") for file in sorted(config.parent.glob("*.*"))]
        asked = [*texts, self._model, self._base_url, self._seed]
        digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f"{config.parent.name}-{digest}.json"


def _checked_config(config: Path) -> Path:
    """The config's path, if all its annotators ask an OpenAI-compatible server."""
    for name, one in load("utils").load_configs(config).items():
        if (asks := one.get("fn_completions", _COMPLETIONS)) != _COMPLETIONS:
            raise InputError(
                f"alpaca_annotator: {name} asks through {asks}, not an OpenAI-compatible server. "
                f"Choose an annotators config whose fn_completions is {_COMPLETIONS}."
            )
    return config


def _save_atomically(annotator: Any, answers: Path) -> None:
    """Makes the annotator replace its file of answers at once, so that a kill cannot halve it."""
    write, aside = annotator.save, answers.with_suffix(".part")

    def save(path: Path | None = None) -> None:
        write(aside)
        aside.replace(answers)

    annotator.save = save


def _keep_unparsed(one: Any, kept: dict[str, Any]) -> None:
    """Puts answers without a preference into `kept`, by instruction; the package drops them."""
    drop = one._postprocess

    def postprocess(table: pd.DataFrame) -> pd.DataFrame:
        lost = table[table[one.annotation_column].isna()]
        kept.update(zip(lost["instruction"], lost[one.completion_column], strict=True))
        return drop(table)

    one._postprocess = postprocess


def _table(
    rows: list[dict[str, Any]], unparsed: dict[str, Any], references: pd.DataFrame
) -> pd.DataFrame:
    """The package's rows with shorter column names, in the order of the references."""
    found = pd.DataFrame(rows)
    found.columns = found.columns.str.replace("^preference_", "", regex=True)
    rest = sorted(set(found.columns) - set(COLUMNS))
    table = found.reindex(columns=[*COLUMNS, *rest])
    raw = table["raw_completion"].where(
        table["raw_completion"].notna(), table["instruction"].map(unparsed)
    )
    table = table.assign(
        preference=table["preference"].astype(float),
        raw_completion=raw.map(_as_text, na_action="ignore"),
    )
    return table.set_index("instruction").loc[references["instruction"]].reset_index()


def _as_text(raw: Any) -> str:
    return raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False)
