"""Errors of a network by their confidence. All functions take the confidence of each sample and
whether its prediction is right: `smix.evaluation.softmax.top` gives both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smix.errors import OptionError
from smix.evaluation.softmax import check_confidence

LEVELS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
"""Bounds of the levels of confidence."""

SURE = (0.9, 0.99)
"""Errors above these are counted by themselves."""


@dataclass(frozen=True)
class Level:
    """The samples whose confidence is in (low, high]; exactly 0 belongs to the level that begins there."""

    low: float
    high: float
    count: int
    wrong: int
    samples: int
    """Number of samples of all levels together."""
    errors: int
    """Number of errors of all samples together."""

    @property
    def error_rate(self) -> float:
        """Share of this level's predictions that are wrong, in [0, 1]; NaN if there are none."""
        return self.wrong / self.count if self.count else math.nan

    @property
    def share_of_samples(self) -> float:
        return self.count / self.samples

    @property
    def share_of_errors(self) -> float:
        """Share of all errors that are made at this level, in [0, 1]; NaN if there is no error."""
        return self.wrong / self.errors if self.errors else math.nan


def by_level(
    confidence: Float[Tensor, "N"], correct: Bool[Tensor, "N"], bounds: Sequence[float] = LEVELS
) -> tuple[Level, ...]:
    """Wrong predictions at each level of confidence. Every sample is in one level.

    DataError: no sample, or a confidence out of [0, 1]. OptionError: bounds that do not rise from 0 to 1.
    """
    if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != 1 or any(a >= b for a, b in pairwise(bounds)):
        raise OptionError(
            f"bounds: expected numbers that rise from 0 to 1, got {tuple(bounds)}; such as 0, 0.5, 0.9, 1"
        )
    check_confidence(confidence, correct)
    inner = torch.tensor(bounds[1:-1], dtype=torch.float64)
    place = torch.bucketize(confidence.detach().cpu().double(), inner)
    counts = place.bincount(minlength=len(bounds) - 1).tolist()
    wrong = place[~correct.cpu()].bincount(minlength=len(bounds) - 1).tolist()
    return tuple(
        Level(bounds[m], bounds[m + 1], counts[m], wrong[m], sum(counts), sum(wrong)) for m in range(len(counts))
    )


def above(confidence: Float[Tensor, "N"], correct: Bool[Tensor, "N"], threshold: float) -> Level:
    """The samples whose confidence is above `threshold`, in [0, 1): how many errors are made by a network that is sure.

    DataError: no sample, or a confidence out of [0, 1]. OptionError: the threshold is out of its range.
    """
    if not 0 <= threshold < 1:
        raise OptionError(f"threshold: expected a number from 0 to below 1, got {threshold}; such as 0.9")
    check_confidence(confidence, correct)
    sure, wrong = confidence.detach().cpu().double() > threshold, ~correct.cpu()
    return Level(threshold, 1.0, int(sure.sum()), int((sure & wrong).sum()), len(sure), int(wrong.sum()))


@dataclass(frozen=True)
class RiskCoverage:
    """Errors of a network that answers only when it is sure enough."""

    coverage: Float[Tensor, "N"]
    """Share of the samples that are answered, the most confident first: 1 / N, 2 / N, ... 1."""
    risk: Float[Tensor, "N"]
    """Share of the answers that are wrong, in [0, 1]."""

    @property
    def aurc(self) -> float:
        """Area under the curve, the mean of the risk over all N coverages, in [0, 1]; less is better.

        Geifman et al., "Bias-reduced uncertainty estimation for deep neural classifiers" (ICLR 2019), section 3.
        """
        return self.risk.mean().item()

    def accuracy_at(self, coverage: float) -> float:
        """Accuracy, in [0, 1], when at least this share of the samples is answered; coverage in (0, 1], else OptionError."""
        if not 0 < coverage <= 1:
            raise OptionError(f"coverage: expected a share above 0, at most 1, got {coverage}; 1 answers every sample")
        count = math.ceil(coverage * len(self.risk) - 1e-9)
        return 1 - self.risk[max(count, 1) - 1].item()


def risk_coverage(confidence: Float[Tensor, "N"], correct: Bool[Tensor, "N"]) -> RiskCoverage:
    """Geifman and El-Yaniv, "Selective classification for deep neural networks" (NeurIPS 2017), section 2.

    Samples of equal confidence come in no order, so the errors among them count as spread evenly: the mean over all their
    orders. DataError: no sample, or a confidence out of [0, 1].
    """
    check_confidence(confidence, correct)
    values, order = confidence.detach().cpu().double().sort(descending=True)
    wrong = (~correct.cpu())[order].double()
    sizes = values.unique_consecutive(return_counts=True)[1]
    group = torch.arange(len(sizes)).repeat_interleave(sizes)
    spread = (group.bincount(wrong, minlength=len(sizes)) / sizes)[group]
    answered = torch.arange(1, len(values) + 1, dtype=torch.float64)
    return RiskCoverage(answered / len(values), spread.cumsum(0) / answered)
