"""AlpacaEval 2.0 through the package of that name, on any OpenAI-compatible server."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from srlm_kedro.display.safe_text import redacted
from srlm_kedro.engines.generation.servers.endpoint import no_connection
from srlm_kedro.engines.published.alpaca_eval_package import contained, load
from srlm_kedro.engines.published.annotator import COLUMNS
from srlm_kedro.engines.published.length_control import length_controlled_win_rate
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.params import SEED, Retries, Seconds

_NO_KEY = "unused"
_ASKS = "openai_completions"


class AlpacaEvalAnnotator:
    """Asks the model of a named annotators config of `alpaca_eval` which output is better.

    Prompts, order of the outputs and parsing are the package's. Answers are kept in a file of the
    given folder, one for each config, model, server and seed; a comparison asked before is not
    asked again, unless it got no preference.
    """

    def __init__(
        self,
        base_url: str,
        path: str,
        annotators_config: str = "weighted_alpaca_eval_gpt4_turbo",
        model: str | None = None,
        seed: Annotated[int, Field(ge=0, le=SEED)] = 0,
        concurrency: Annotated[int, Field(ge=1, le=10_000)] = 5,
        retries: Retries = 6,
        timeout: Seconds = 600.0,
        credentials: dict[str, str] | None = None,
    ):
        """Names the annotator.

        Args:
            base_url: The server's address, which ends in /v1.
            path: The folder of the answers kept.
            annotators_config: A config of the package, or a folder of one's own with a
                configs.yaml. The default is AlpacaEval 2.0 and needs a server that gives log
                probabilities; `alpaca_eval_gpt4` reads a ranking out of plain text.
            model: The server's name for the model; None takes the config's.
            seed: Draws which output is shown first.
            concurrency: Requests at a time.
            retries: Further attempts of a request that the server fails, with growing waits.
            timeout: Seconds that one request may take.
            credentials: `api_key`, where the server asks for one.
        """
        self._base_url, self._folder = base_url, Path(path)
        self._config, self._model, self._seed = annotators_config, model, seed
        self._concurrency, self._retries, self._timeout = concurrency, retries, timeout
        self._key = (credentials or {}).get("api_key") or _NO_KEY

    def refuse_unready(self) -> None:
        """Raises InputError where the package is missing, or no server answers."""
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
        """Columns `COLUMNS`, then what else the package tells (price, time, date, version).

        Raises:
            InputError: The package or the config cannot be used, or the server refuses.
            GateError: The server fails again and again.
        """
        package = load("annotators")
        openai = load("decoders.openai").openai
        unparsed: dict[str, Any] = {}
        with contained():
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
                # Not chained: a server's own words may repeat the key.
                raise self._failed(error, isinstance(error, passing)) from None
            except (AttributeError, TypeError, ValueError) as error:
                raise self._failed(error, passing=True) from error
        return _table(rows, unparsed, references)

    def control_length(
        self, annotations: pd.DataFrame, difficulty: pd.DataFrame
    ) -> dict[str, float]:
        """See `length_controlled_win_rate`."""
        return length_controlled_win_rate(annotations, difficulty)

    def _failed(self, error: Exception, passing: bool) -> Exception:
        said = redacted(f"{type(error).__name__}: {error}", self._key)
        kept = f"What was answered before is kept in {self._folder}."
        if passing:
            return GateError(
                f"alpaca_annotator: {self._base_url} fails or replies in another format ({said}). "
                f"{kept} Run again when it answers."
            )
        return InputError(
            f"alpaca_annotator: {self._base_url} refuses ({said}). {kept} Correct its base_url, "
            "model, annotators_config or credentials."
        )

    def _annotator(self, package: Any) -> Any:
        config = self._config_file()
        answers = self._answers_file(config)
        annotator = package.PairwiseAnnotator(
            annotators_config=config,
            seed=self._seed,
            caching_path=answers,
            # The package asks again only for what it did not store, and cannot start that way.
            is_store_missing_annotations=not answers.is_file(),
        )
        _write_whole(annotator, answers)
        for one in annotator.annotators.values():
            one.completions_kwargs = one.completions_kwargs | self._request()
        return annotator

    def _request(self) -> dict[str, Any]:
        named = {} if self._model is None else {"model_name": self._model}
        return named | {
            "openai_api_keys": [self._key],
            "openai_organization_ids": None,
            "openai_api_base": self._base_url,
            "client_config_path": self._folder,  # no file: keys of other projects stay unread
            "client_kwargs": {"timeout": self._timeout, "max_retries": self._retries},
            "num_procs": self._concurrency,
            "requires_chatml": True,  # the package would guess it from the model's name
        }

    def _config_file(self) -> Path:
        shipped = Path(load("constants").EVALUATORS_CONFIG_DIR) / self._config / "configs.yaml"
        own = Path(self._config).resolve() / "configs.yaml"
        for file in (own, shipped):
            if file.is_file():
                return _asks_openai(file)
        raise InputError(
            f"alpaca_annotator: {self._config} is no annotators config of alpaca_eval and no "
            f"folder with a configs.yaml. Those of the package lie in {shipped.parents[1]}."
        )

    def _answers_file(self, config: Path) -> Path:
        texts = [file.read_text("utf-8") for file in sorted(config.parent.glob("*.*"))]
        asked = [*texts, self._model, self._base_url, self._seed]
        digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f"{config.parent.name}-{digest}.json"


def _asks_openai(config: Path) -> Path:
    for name, one in load("utils").load_configs(config).items():
        if (asks := one.get("fn_completions", _ASKS)) != _ASKS:
            raise InputError(
                f"alpaca_annotator: {name} asks through {asks}, not an OpenAI-compatible server. "
                f"Choose an annotators config whose fn_completions is {_ASKS}."
            )
    return config


def _write_whole(annotator: Any, answers: Path) -> None:
    """The file of answers is replaced at once; the package would leave half of it to a kill."""
    write, aside = annotator.save, answers.with_suffix(".part")

    def save(path: Path | None = None) -> None:
        write(aside)
        aside.replace(answers)

    annotator.save = save


def _keep_unparsed(one: Any, kept: dict[str, Any]) -> None:
    """Answers without a preference go to `kept`, by instruction; the package drops them."""
    drop = one._postprocess

    def postprocess(table: pd.DataFrame) -> pd.DataFrame:
        lost = table[table[one.annotation_column].isna()]
        kept.update(zip(lost["instruction"], lost[one.completion_column], strict=True))
        return drop(table)

    one._postprocess = postprocess


def _table(
    rows: list[dict[str, Any]], unparsed: dict[str, Any], references: pd.DataFrame
) -> pd.DataFrame:
    """The package's rows with short names, in the order of the references."""
    told = pd.DataFrame(rows)
    told.columns = told.columns.str.replace("^preference_", "", regex=True)
    rest = sorted(set(told.columns) - set(COLUMNS))
    table = told.reindex(columns=[*COLUMNS, *rest])
    said = table["raw_completion"].where(
        table["raw_completion"].notna(), table["instruction"].map(unparsed)
    )
    table = table.assign(
        preference=table["preference"].astype(float),
        raw_completion=said.map(_as_text, na_action="ignore"),
    )
    return table.set_index("instruction").loc[references["instruction"]].reset_index()


def _as_text(said: Any) -> str:
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
