"""Who answers better over many prompts: wins, ties and losses, and how sure they are."""

import numpy as np
import pandas as pd

_INTERVAL = (2.5, 97.5)


def tally(won: pd.Series, resamples: int, seed: int) -> dict[str, float]:
    """`win`, `tie` and `loss` in %, `n` prompts; `low` and `high` bound win minus loss (95%).

    Shares are taken within each prompt and then over prompts, which the bootstrap resamples:
    the responses to one prompt are no independent cases.

    Args:
        won: 1 (win), 0 (tie) or -1 (loss) a comparison, by prompt; at least one.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    outcomes = pd.DataFrame({"win": won > 0, "tie": won == 0, "loss": won < 0})
    shares = 100 * outcomes.groupby(level=0, sort=False).mean()
    low, high = bootstrap_interval((shares["win"] - shares["loss"]).to_numpy(), resamples, seed)
    mean = {name: float(value) for name, value in shares.mean().items()}
    return {**mean, "n": len(shares), "low": low, "high": high}


def bootstrap_interval(values: np.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    """The 95% percentile interval of the mean of `values`, one a prompt."""
    drawn = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), _INTERVAL)
    return float(low), float(high)
