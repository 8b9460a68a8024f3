"""The length-controlled win rate: the package's fit, without its download."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from srlm_kedro.engines.published.alpaca_eval_package import contained, load
from srlm_kedro.errors import InputError

_log = logging.getLogger(__name__)

OFFICIAL, LOCAL = "length_controlled_v1", "length_controlled_minimal"
"""Names of the package's fits: with the instructions' difficulty, and without."""
_NEEDED = {
    *("model", "index", "instruction_difficulty"),
    *("preference", "std_delta_len", "not_gamed_baseline"),
}
_FOLDS = 5


def length_controlled_win_rate(
    annotations: pd.DataFrame, difficulty: pd.DataFrame
) -> dict[str, float]:
    """`length_controlled_win_rate` and `length_controlled_standard_error`, in %.

    For instructions of one's own (an empty `difficulty`) the fit knows the lengths alone: one rate
    for all of them, `length_controlled_win_rate_local`, without an error. Empty, with a warning,
    where no fit exists: too few preferences, other instructions than `difficulty` tells of, or a
    fit that gives every feature a weight of zero.

    Raises:
        InputError: `difficulty` lacks columns of the file `df_gamed.csv`.
    """
    if not difficulty.empty and (missing := sorted(_NEEDED - set(difficulty.columns))):
        raise InputError(
            f"alpaca_difficulty: no column {', '.join(missing)}. Give the file df_gamed.csv of "
            "the data set tatsu-lab/alpaca_eval, or an empty table."
        )
    reason = _obstacle(annotations, difficulty)
    fitted = {} if reason else _fit(annotations, difficulty)
    if fitted and fitted["length_controlled_winrate"] == 50.0:  # as no feature at all gives
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


def _obstacle(annotations: pd.DataFrame, difficulty: pd.DataFrame) -> str | None:
    told = annotations["preference"].notna().sum()
    if told < _FOLDS:
        return f"{told} preferences are too few for {_FOLDS} folds"
    known = difficulty["index"].nunique() if not difficulty.empty else len(annotations)
    if known != len(annotations):
        return f"alpaca_difficulty tells of {known} instructions, not of these {len(annotations)}"
    lengths = annotations["output_1"].str.len() - annotations["output_2"].str.len()
    return "all lengths differ by the same" if lengths.nunique() < 2 else None


def _fit(annotations: pd.DataFrame, difficulty: pd.DataFrame) -> dict[str, float]:
    glm = load("metrics.glm_winrate")
    sklearn = glm.sklearn
    known = _indifferent(len(annotations)) if difficulty.empty else difficulty
    with contained(), sklearn.config_context(), _instead_of_download(glm, known):
        return glm.get_length_controlled_winrate(
            annotations.reset_index(drop=True),
            glm_name=LOCAL if difficulty.empty else OFFICIAL,
            save_weights_dir=None,
            is_add_glm_preference_inplace=False,
        )


def _indifferent(rows: int) -> pd.DataFrame:
    """Rows for the package to look up; the local fit has no term for what they hold."""
    return pd.DataFrame({"model": "", "index": range(rows), "instruction_difficulty": 0.0})


@contextmanager
def _instead_of_download(glm: object, table: pd.DataFrame) -> Iterator[None]:
    """The package reads `table` where it would fetch a file from the hub."""
    fetch = glm.hf_hub_download
    with TemporaryDirectory() as folder:
        path = Path(folder) / "df_gamed.csv"
        table.to_csv(path, index=False)
        glm.hf_hub_download = lambda **_: path
        try:
            yield
        finally:
            glm.hf_hub_download = fetch
