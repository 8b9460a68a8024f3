"""The next model's gain, predicted from the judge's accuracy: a line fitted on the microworld."""

from dataclasses import dataclass

_NORMAL = 1.96
"""Standard deviations on each side of a 95% interval."""


@dataclass(frozen=True)
class GainFit:
    """gain = slope x (2 x accuracy - 1): a judge that tosses a coin gains nothing.

    The gain is M2's win minus loss against M1, in points. The accuracy is that of the judge on
    held-out human rankings, as `judge.statistics.measure_reward_modelling` has it.
    """

    slope: float
    """Points of gain with a judge that is always right."""
    scatter: float
    """Residual standard deviation of the models whose judge orders, in points."""
    left_out: float
    """The same where each of these models was left out of the fit that predicts it."""
    chance_scatter: float
    """Residual standard deviation of the models whose pairs are in random order."""
    r2: float
    """Share of the variance that the line explains, over all models."""
    r2_main: float
    """The same over the main run's seeds alone, whose judges differ by little."""
    seeds: int
    """Number of seeds."""
    models: int
    """Number of models M2."""
    lowest: float
    """The smallest order above chance that any of the judges had."""
    yields: tuple[float, float]
    """The fewest and the most pairs a prompt that any of the models had."""

    def gain(self, accuracy: float) -> float:
        """The expected gain in points; a judge below chance is one that ties or says nothing."""
        return self.slope * max(0.0, 2 * accuracy - 1)

    def interval(self, accuracy: float, deviation: float) -> tuple[float, float]:
        """The 95% interval of one model's gain.

        Args:
            accuracy: The judge's, from 0 to 1.
            deviation: The standard error of this accuracy.
        """
        width = _NORMAL * (self.left_out**2 + (2 * self.slope * deviation) ** 2) ** 0.5
        return self.gain(accuracy) - width, self.gain(accuracy) + width


MICROWORLD = GainFit(
    slope=53.3,
    scatter=5.5,
    left_out=5.6,
    chance_scatter=1.6,
    r2=0.97,
    r2_main=-0.03,
    seeds=20,
    models=45,
    lowest=0.4,
    yields=(0.7, 0.94),
)
"""Printed by `python -m evidence.gain`, from the committed figures of seeds 10 to 29. Between the
main run's seeds alone, with accuracies from .88 to .96, accuracy says nothing about the gain: the
line rests on the controls. Pairs a prompt made it no better, so they are not part of it."""


def standard_error(low: float, high: float) -> float:
    """That of a share, from the ends of its 95% interval."""
    return (high - low) / (2 * _NORMAL)
