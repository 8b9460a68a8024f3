"""The length-controlled win rate, by the fit of `alpaca_eval` without its download."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from srlm_kedro.engines.published.alpaca_eval_package import load, quiet_package
from srlm_kedro.errors import InputError

_log = logging.getLogger(__name__)

OFFICIAL, LOCAL = "length_controlled_v1", "length_controlled_minimal"
"""Names of the package's fits, with and without the difficulty of the instructions."""
_NEEDED = {
    *("model", "index", "instruction_difficulty"),
    *("preference", "std_delta_len", "not_gamed_baseline"),
}
_FOLDS = 5


def length_controlled_win_rate(
    annotations: pd.DataFrame, difficulty: pd.DataFrame
) -> dict[str, float]:
    """`length_controlled_win_rate` and `length_controlled_standard_error`, in %.

    For your own instructions (an empty `difficulty`) the fit knows only the lengths. It gives one
    rate, `length_controlled_win_rate_local`, without a standard error.

    The result is empty, with a warning, if there is no fit: there are too few preferences,
    `difficulty` is about other instructions, or the fit gives every feature a weight of zero.

    Raises:
        InputError: `difficulty` lacks columns of the file `df_gamed.csv`.
    """
    if not difficulty.empty and (missing := sorted(_NEEDED - set(difficulty.columns))):
        raise InputError(
            f"alpaca_difficulty: no column {', '.join(missing)}. Give the file df_gamed.csv of "
            "the data set tatsu-lab/alpaca_eval, or an empty table."
        )
    reason = _reason_without_fit(annotations, difficulty)
    fitted = {} if reason else _fitted(annotations, difficulty)
    if fitted and fitted["length_controlled_winrate"] == 50.0:  # as without any feature
        reason = "the fit finds no weight for any feature"
    if reason:
        _log.warning("Length-controlled win rate: left out, %s.", reason)
        return {}
    rate = float(fitted["length_controlled_winrate"])
    if difficulty.empty:
        return {"length_controlled_win_rate_local": rate}
    return {
        "length_controlled_win_rate": rate,
        "length_controlled_standard_error": float(fitted["lc_standard_error"]),
    }


def _reason_without_fit(annotations: pd.DataFrame, difficulty: pd.DataFrame) -> str | None:
    given = annotations["preference"].notna().sum()
    if given < _FOLDS:
        return f"{given} preferences are too few for {_FOLDS} folds"
    known = difficulty["index"].nunique() if not difficulty.empty else len(annotations)
    if known != len(annotations):
        return f"alpaca_difficulty has {known} instructions, but there are {len(annotations)}"
    lengths = annotations["output_1"].str.len() - annotations["output_2"].str.len()
    return "all outputs differ by the same length" if lengths.nunique() < 2 else None


def _fitted(annotations: pd.DataFrame, difficulty: pd.DataFrame) -> dict[str, float]:
    glm = load("metrics.glm_winrate")
    sklearn = glm.sklearn
    known = _no_difficulty(len(annotations)) if difficulty.empty else difficulty
    with quiet_package(), sklearn.config_context(), _replaced_download(glm, known):
        return glm.get_length_controlled_winrate(
            annotations.reset_index(drop=True),
            glm_name=LOCAL if difficulty.empty else OFFICIAL,
            save_weights_dir=None,
            is_add_glm_preference_inplace=False,
        )


def _no_difficulty(rows: int) -> pd.DataFrame:
    """Rows for the package to look up. The local fit does not use their values."""
    return pd.DataFrame({"model": "", "index": range(rows), "instruction_difficulty": 0.0})


@contextmanager
def _replaced_download(glm: object, table: pd.DataFrame) -> Iterator[None]:
    """Inside, the package reads `table` instead of a file from the Hugging Face Hub."""
    fetch = glm.hf_hub_download
    with TemporaryDirectory() as folder:
        path = Path(folder) / "df_gamed.csv"
        table.to_csv(path, index=False)
        glm.hf_hub_download = lambda **_: path
        try:
            yield
        finally:
            glm.hf_hub_download = fetch
