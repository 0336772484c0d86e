"""Temperature scaling: one number, fitted on a validation split, by which all logits are divided (Guo et al., ICML 2017,
section 4.2). It changes how sure a network is and none of its predictions.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from smix.evaluation.calibration import BINS, Calibration, calibration
from smix.evaluation.softmax import shifted

FAR = 650.0
"""exp(FAR) is near the largest number of float64: a solution beyond is that of rounding."""


@dataclass(frozen=True)
class TemperatureScaling:
    """Calibration of a split before and after its logits are divided by a temperature fitted on another."""

    temperature: float
    """Above 1 the network was too sure; 0 or infinity if the fit has no solution: see `fit_temperature`."""
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
    """Fits on the validation split, never on the split that is judged. Errors: as `calibration`."""
    temperature = fit_temperature(val_logits, val_labels)
    solved = 0 < temperature < math.inf
    return TemperatureScaling(
        temperature,
        calibration(logits, labels, bins),
        calibration(logits, labels, bins, temperature) if solved else None,
    )


def fit_temperature(logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"]) -> float:
    """The T > 0 of the least mean cross-entropy of softmax(logits / T).

    The cross-entropy is convex in 1 / T, with derivative mean over samples of (mean logit under the softmax - the label's
    logit). That is solved for log T by Brent's method, to a relative 1e-10, from a bracket that grows until it holds the
    solution, whatever the scale of the logits.

    There is no solution, and the limit is returned, if no sample has a logit above its label's (the loss falls for ever as T
    goes to **0**), or if the labels' logits are on average no larger than the other classes' (as T goes to **infinity**).
    Errors: DataError as `smix.evaluation.softmax.chunks`.
    """
    from scipy.optimize import brentq

    def slope(inverse: float) -> float:
        """Derivative of the mean cross-entropy by 1 / T."""
        total = 0.0
        for gaps, _, label in shifted(logits, labels):
            own = gaps[np.arange(len(gaps)), label]
            weights = np.exp(gaps * inverse)
            total += float(((weights * gaps).sum(1) / weights.sum(1) - own).sum())
        return total / len(labels)

    wrong, spread = 0, 0.0
    for gaps, _, label in shifted(logits, labels):
        wrong += int((gaps[np.arange(len(gaps)), label] < 0).sum())
        spread -= float(gaps.mean(1).sum())
    if not wrong:
        return 0.0
    if slope(0.0) >= 0:
        return math.inf
    low = high = -math.log(spread / len(labels))
    while slope(math.exp(low)) > 0:
        low -= 2
    while slope(math.exp(high)) < 0:
        high += 2
        if high > FAR:
            return 0.0
    if low < -FAR:
        return math.inf
    if low == high:
        return math.exp(-low)
    return math.exp(-brentq(lambda place: slope(math.exp(place)), low, high, xtol=1e-10))
