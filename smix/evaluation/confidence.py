"""Relate the errors of a model to its confidence.

All functions take the confidence of each sample and whether its prediction is correct; `smix.evaluation.top_class` computes both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from smix.errors import OptionError
from smix.evaluation.softmax import check_confidence
from smix.reprs import short_repr

LEVELS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
"""Bounds of the confidence levels."""

SURE = (0.9, 0.99)
"""Thresholds above which confident errors are counted."""


@dataclass(frozen=True)
class Level:
    """Samples whose confidence is in (low, high]; exactly 0 belongs to the level that begins there."""

    low: float
    high: float
    count: int
    wrong: int
    samples: int
    """Total number of samples over all levels."""

    @property
    def error_rate(self) -> float:
        """Fraction of wrong predictions at this level, in [0, 1]; NaN if it has no samples."""
        return self.wrong / self.count if self.count else math.nan


def errors_by_confidence(
    confidence: Float[Tensor, "N"], correct: Bool[Tensor, "N"], bounds: Sequence[float] = LEVELS
) -> tuple[Level, ...]:
    """Count the wrong predictions at each level of confidence. Every sample belongs to exactly one level.

    Args:
        confidence: Probability of each prediction, in [0, 1].
        correct: True for correct predictions.
        bounds: Bounds of the levels, increasing from 0 to 1.

    Raises:
        DataError: There are no samples, or a confidence is outside [0, 1].
        OptionError: The bounds do not increase from 0 to 1.

    >>> confidence, correct = torch.tensor([0.4, 0.8, 0.95]), torch.tensor([False, True, True])
    >>> levels = smix.evaluation.errors_by_confidence(confidence, correct, bounds=(0, 0.5, 1))
    >>> [(level.count, level.wrong) for level in levels]
    [(1, 1), (2, 0)]
    """
    if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != 1 or any(a >= b for a, b in pairwise(bounds)):
        raise OptionError(
            f"bounds: expected numbers that increase from 0 to 1, got {tuple(bounds)}; use for example 0, 0.5, 0.9, 1"
        )
    check_confidence(confidence, correct)
    inner = torch.tensor(bounds[1:-1], dtype=torch.float64)
    place = torch.bucketize(confidence.detach().cpu().double(), inner)
    counts = place.bincount(minlength=len(bounds) - 1).tolist()
    wrong = place[~correct.cpu()].bincount(minlength=len(bounds) - 1).tolist()
    return tuple(
        Level(low, high, count, errors, len(place))
        for (low, high), count, errors in zip(pairwise(bounds), counts, wrong, strict=True)
    )


def errors_above(confidence: Float[Tensor, "N"], correct: Bool[Tensor, "N"], threshold: float) -> Level:
    """Count the samples whose confidence is above a threshold, and the errors among them.

    Args:
        confidence: Probability of each prediction, in [0, 1].
        correct: True for correct predictions.
        threshold: Confidence in [0, 1).

    Raises:
        DataError: There are no samples, or a confidence is outside [0, 1].
        OptionError: The threshold is out of its range.

    >>> confidence, correct = torch.tensor([0.4, 0.95, 0.99]), torch.tensor([False, False, True])
    >>> smix.evaluation.errors_above(confidence, correct, threshold=0.9).error_rate
    0.5
    """
    if not 0 <= threshold < 1:
        raise OptionError(f"threshold: expected a number in [0, 1), got {threshold}; threshold=0.9 is typical")
    check_confidence(confidence, correct)
    above, wrong = confidence.detach().cpu().double() > threshold, ~correct.cpu()
    return Level(threshold, 1.0, int(above.sum()), int((above & wrong).sum()), len(above))


@dataclass(frozen=True)
class RiskCoverage:
    """Risk-coverage curve: errors of a model that answers only if its confidence is high enough."""

    coverage: Float[Tensor, "N"]
    """Fractions of the samples that are answered, the most confident first: 1 / N, 2 / N, ..., 1."""
    risk: Float[Tensor, "N"]
    """Fraction of wrong answers at each coverage, in [0, 1]."""
    __repr__ = short_repr()

    @property
    def aurc(self) -> float:
        """Area under the curve, the mean of the risk over all N coverages, in [0, 1]; lower is better.

        Geifman et al., "Bias-reduced uncertainty estimation for deep neural classifiers", ICLR 2019, section 3.
        """
        return self.risk.mean().item()

    def accuracy_at(self, coverage: float) -> float:
        """Return the accuracy at a coverage, in [0, 1], on the most confident samples.

        Args:
            coverage: Minimum fraction of the samples that are answered, in (0, 1].

        Raises:
            OptionError: The coverage is out of its range.
        """
        if not 0 < coverage <= 1:
            raise OptionError(f"coverage: expected a fraction in (0, 1], got {coverage}; use 1 to answer every sample")
        count = math.ceil(coverage * len(self.risk) - 1e-9)
        return 1 - self.risk[max(count, 1) - 1].item()


def risk_coverage(confidence: Float[Tensor, "N"], correct: Bool[Tensor, "N"]) -> RiskCoverage:
    """Return the risk-coverage curve: the error rate among the most confident samples.

    Geifman and El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017, section 2. Errors among samples of equal
    confidence are distributed evenly: this equals the mean over all orders of these samples.

    Args:
        confidence: Probability of each prediction, in [0, 1].
        correct: True for correct predictions.

    Raises:
        DataError: There are no samples, or a confidence is outside [0, 1].

    >>> curve = smix.evaluation.risk_coverage(torch.tensor([0.9, 0.8, 0.6, 0.5]), torch.tensor([True, True, True, False]))
    >>> curve.accuracy_at(0.75), curve.accuracy_at(1.0)
    (1.0, 0.75)
    """
    check_confidence(confidence, correct)
    values, order = confidence.detach().cpu().double().sort(descending=True)
    wrong = (~correct.cpu())[order].double()
    group = F.pad((values.diff() != 0).cumsum(0), (1, 0))
    error_rate = (group.bincount(wrong) / group.bincount())[group]
    answered = torch.arange(1, len(values) + 1, dtype=torch.float64)
    return RiskCoverage(answered / len(values), error_rate.cumsum(0) / answered)
