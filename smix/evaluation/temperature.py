"""Temperature scaling: divide all logits by one number, fitted on a validation split.

Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2. It changes the confidence of a model, but none of its
predictions.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from smix.evaluation.calibration import BINS, Calibration, calibration
from smix.evaluation.softmax import shifted

MAX_LOG = 650.0
"""Largest |log T| of a solution: exp(650) is near the largest number of float64, and beyond it rounding decides."""


@dataclass(frozen=True)
class TemperatureScaling:
    """Calibration of a split before and after its logits are divided by a temperature fitted on another split."""

    temperature: float
    """Above 1 if the model was overconfident; 0 or infinity if the fit has no solution: see `fit_temperature`."""
    before: Calibration
    after: Calibration | None
    """None if the fit has no solution."""


def temperature_scaling(
    logits: Float[Tensor, "N K"],
    labels: Int[Tensor, "N"],
    val_logits: Float[Tensor, "V K"],
    val_labels: Int[Tensor, "V"],
    bins: int = BINS,
) -> TemperatureScaling:
    """Fit a temperature on a validation split and return the calibration of another split before and after scaling.

    Args:
        logits: Predictions of the split that is evaluated.
        labels: Its class numbers.
        val_logits: Predictions of the validation split by the same model.
        val_labels: Its class numbers.
        bins: Number of bins of the calibration errors, 1 or more.

    Raises:
        DataError: There is no sample, a label is out of [0, K), or a logit is NaN or infinite.
        OptionError: `bins` is below 1.

    >>> logits, labels = 5 * torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 1])  # overconfident: one of four is wrong
    >>> scaling = smix.evaluation.temperature_scaling(logits, labels, logits, labels)
    >>> scaling.temperature > 1, scaling.after.ece < scaling.before.ece
    (True, True)
    """
    temperature = fit_temperature(val_logits, val_labels)
    is_solved = 0 < temperature < math.inf
    return TemperatureScaling(
        temperature,
        calibration(logits, labels, bins),
        calibration(logits, labels, bins, temperature) if is_solved else None,
    )


def fit_temperature(logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"]) -> float:
    """Return the temperature T > 0 that minimises the mean cross-entropy of softmax(logits / T).

    The cross-entropy is convex in 1 / T, with derivative mean over samples of (mean logit under the softmax - the label's
    logit). Brent's method solves it for log T, to a tolerance of 1e-10, from a bracket that grows until it contains the
    solution, whatever the scale of the logits.

    Args:
        logits: Predictions of a validation split.
        labels: Its class numbers.

    Returns:
        The temperature. If there is no solution, the limit: 0 if no sample has a logit above its label's (the loss
        keeps falling as T approaches 0), infinity if the labels' logits are on average no larger than those of the
        other classes.

    Raises:
        DataError: There is no sample, a label is out of [0, K), or a logit is NaN or infinite.

    >>> logits, labels = 5 * torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 1])
    >>> round(smix.evaluation.fit_temperature(logits, labels), 2)
    2.79
    """
    from scipy.optimize import brentq

    def slope(inverse: float) -> float:
        """Return the derivative of the mean cross-entropy by 1 / T."""
        total = 0.0
        for gaps, _, label in shifted(logits, labels):
            own = gaps[np.arange(len(gaps)), label]
            weights = np.exp(gaps * inverse)
            total += float(((weights * gaps).sum(1) / weights.sum(1) - own).sum())
        return total / len(labels)

    wrong, total_gap = 0, 0.0
    for gaps, _, label in shifted(logits, labels):
        wrong += int((gaps[np.arange(len(gaps)), label] < 0).sum())
        total_gap -= float(gaps.mean(1).sum())
    if not wrong:
        return 0.0
    if slope(0.0) >= 0:
        return math.inf
    low = high = -math.log(total_gap / len(labels))
    while slope(math.exp(low)) > 0:
        low -= 2
    while slope(math.exp(high)) < 0:
        high += 2
        if high > MAX_LOG:
            return 0.0
    if low < -MAX_LOG:
        return math.inf
    if low == high:
        return math.exp(-low)
    return math.exp(-brentq(lambda log_inverse: slope(math.exp(log_inverse)), low, high, xtol=1e-10))
