"""Calibration: compare confidence with accuracy, after Guo et al., "On calibration of modern neural networks", ICML 2017,
section 2.

**Bins.** Bin m of M holds the confidences in ((m - 1) / M, m / M], as in Guo et al. and in `sklearn.calibration`; exactly 0
is in the first bin, exactly 1 in the last. torchmetrics' bins are [(m - 1) / M, m / M) and put exactly 1 in a separate bin
(torchmetrics#3510, as of 1.9): the figures are equal unless a confidence lies on an edge. Confidences are compared with the
edges in float64.

Bins of equal mass have the edges where sorted confidences are cut into M parts whose sizes differ by one at most (Nixon et
al., "Measuring calibration in deep learning", CVPR workshops 2019). Equal confidences stay in one bin, so that the
result does not depend on the order of the samples; some bins may therefore be larger, and others empty.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smix.errors import OptionError
from smix.evaluation.softmax import check_confidence, check_predictions, chunks
from smix.reprs import short_repr

BINS = 15
"""Default number of bins, as in Guo et al."""


@dataclass(frozen=True)
class Bin:
    """Samples whose confidence is in (low, high]; the first bin includes low."""

    low: float
    high: float
    count: int
    confidence: float
    """Mean confidence of the samples; NaN if there are none."""
    accuracy: float
    """Fraction of the samples that are predicted correctly; NaN if there are none."""


Curve = tuple[Bin, ...]
"""A reliability curve: accuracy against confidence."""


@dataclass(frozen=True)
class Calibration:
    """Calibration of a model on N samples."""

    samples: int
    accuracy: float
    confidence: float
    """Mean of the largest probability, in [1 / K, 1]."""
    ece: float
    """Expected calibration error of bins of equal width, in [0, 1] (Guo et al., equation 3)."""
    ece_mass: float
    """Expected calibration error of bins of equal mass, in [0, 1]."""
    mce: float
    """Maximum calibration error of bins of equal width, in [0, 1] (Guo et al., equation 5). A single sample can determine it."""
    class_wise: float
    """Class-wise ECE, in [0, 1]: see `class_wise_calibration_error`."""
    class_errors: Float[Tensor, "K"]
    """ECE of the probability of each class, in [0, 1]; their mean is `class_wise`."""
    brier: float
    """Mean over samples of the sum over classes of (probability - truth)^2, in [0, 2] (Brier, 1950)."""
    nll: float
    """Mean of -log of the label's probability, in nats."""
    curve: Curve
    """Reliability curve with bins of equal width."""
    curve_mass: Curve
    """Reliability curve with bins of equal mass."""
    __repr__ = short_repr()

    @property
    def overconfidence(self) -> float:
        """Mean confidence minus accuracy, in [-1, 1]: above 0 the model is overconfident, below 0 underconfident."""
        return self.confidence - self.accuracy


def calibration(
    logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"], bins: int = BINS, temperature: float = 1.0
) -> Calibration:
    """Return all calibration metrics of predictions, in one pass.

    Args:
        logits: One row per sample, one column per class.
        labels: Class numbers.
        bins: Number of bins, 1 or more.
        temperature: Number that all logits are divided by, above 0.

    Raises:
        DataError: There is no sample, a label is out of [0, K), or a logit is NaN or infinite.
        OptionError: `bins` or `temperature` is out of its range.

    >>> logits, labels = torch.zeros(4, 2), torch.tensor([0, 0, 0, 1])  # confidence 1/2, accuracy 3/4
    >>> result = smix.evaluation.calibration(logits, labels)
    >>> result.ece, result.overconfidence
    (0.25, -0.25)
    """
    edges = _edges(bins)
    samples, classes = logits.shape
    confidences, hits = [], []
    squares = own = nll = 0.0
    gaps = np.zeros((classes, bins))
    for chunk in chunks(logits, labels, temperature):
        _add_gaps(gaps, chunk.probabilities, chunk.labels, edges)
        squares += float(np.einsum("nk,nk->", chunk.probabilities, chunk.probabilities))
        own += float(chunk.probabilities[np.arange(len(chunk.labels)), chunk.labels].sum())
        nll += float(chunk.nll.sum())
        confidences.append(chunk.confidence)
        hits.append(chunk.predicted == chunk.labels)
    confidence, correct = torch.from_numpy(np.concatenate(confidences)), torch.from_numpy(np.concatenate(hits))
    curve, curve_mass = reliability(confidence, correct, bins), reliability(confidence, correct, bins, "mass")
    return Calibration(
        samples=samples,
        accuracy=correct.double().mean().item(),
        confidence=confidence.mean().item(),
        ece=expected_calibration_error(curve),
        ece_mass=expected_calibration_error(curve_mass),
        mce=maximum_calibration_error(curve),
        class_wise=float(np.abs(gaps).sum()) / samples / classes,
        class_errors=torch.from_numpy(np.abs(gaps).sum(1) / samples),
        brier=max(0.0, (squares - 2 * own) / samples + 1),
        nll=nll / samples,
        curve=curve,
        curve_mass=curve_mass,
    )


def reliability(
    confidence: Float[Tensor, "N"],
    correct: Bool[Tensor, "N"],
    bins: int = BINS,
    equal: Literal["width", "mass"] = "width",
) -> Curve:
    """Return the reliability curve: mean confidence and accuracy of the samples in each bin.

    Args:
        confidence: Probability of each prediction, in [0, 1].
        correct: True for correct predictions.
        bins: Number of bins, 1 or more.
        equal: "width": bins of equal width. "mass": bins with equal numbers of samples.

    Raises:
        DataError: There are no samples, or a confidence is outside [0, 1].
        OptionError: `bins` is below 1.

    >>> confidence, correct = torch.tensor([0.25, 0.75, 0.75]), torch.tensor([True, True, False])
    >>> curve = smix.evaluation.reliability(confidence, correct, bins=2)
    >>> [(bin.count, bin.confidence, bin.accuracy) for bin in curve]
    [(1, 0.25, 1.0), (2, 0.75, 0.5)]
    """
    check_confidence(confidence, correct)
    values, hit = confidence.detach().cpu().double().numpy(), correct.cpu().numpy()
    inner = _edges(bins)
    if equal == "mass":
        inner = _equal_mass_edges(values, bins)
    bin_index = np.searchsorted(inner, values)
    counts = np.bincount(bin_index, minlength=bins).tolist()
    sums, hits = np.bincount(bin_index, values, bins).tolist(), np.bincount(bin_index, hit, bins).tolist()
    bounds = [0.0, *inner.tolist(), 1.0]
    return tuple(
        Bin(bounds[m], bounds[m + 1], n, sums[m] / n if n else math.nan, hits[m] / n if n else math.nan)
        for m, n in enumerate(counts)
    )


def expected_calibration_error(curve: Sequence[Bin]) -> float:
    """Return the mean over samples of |accuracy - confidence| of their bin, in [0, 1] (Guo et al., equation 3).

    Args:
        curve: Result of `reliability`, with at least one sample.

    >>> confidence, correct = torch.tensor([0.25, 0.75, 0.75, 0.75]), torch.tensor([True, True, False, True])
    >>> curve = smix.evaluation.reliability(confidence, correct, bins=2)
    >>> round(smix.evaluation.expected_calibration_error(curve), 4)  # (1 * 0.75 + 3 * 0.0833) / 4
    0.25
    """
    filled = [bin_ for bin_ in curve if bin_.count]
    gaps = sum(bin_.count * abs(bin_.accuracy - bin_.confidence) for bin_ in filled)
    return gaps / sum(bin_.count for bin_ in filled)


def maximum_calibration_error(curve: Sequence[Bin]) -> float:
    """Return the largest |accuracy - confidence| of a bin that has samples, in [0, 1] (Guo et al., equation 5).

    Args:
        curve: Result of `reliability`, with at least one sample.

    >>> confidence, correct = torch.tensor([0.25, 0.75, 0.75, 0.75]), torch.tensor([True, True, False, True])
    >>> smix.evaluation.maximum_calibration_error(smix.evaluation.reliability(confidence, correct, bins=2))
    0.75
    """
    return max(abs(bin_.accuracy - bin_.confidence) for bin_ in curve if bin_.count)


def class_wise_calibration_error(
    probabilities: Float[Tensor, "N K"], labels: Int[Tensor, "N"], bins: int = BINS
) -> float:
    """Return the mean over classes of the calibration error of that class's probability, in [0, 1].

    Kull et al., "Beyond temperature scaling", NeurIPS 2019, section 2: for class k the confidence of a sample is its
    probability of k, and it is correct if k is its label. Classes without samples are included.

    Args:
        probabilities: Softmax of the logits, in [0, 1].
        labels: Class numbers.
        bins: Number of bins of equal width, 1 or more.

    Raises:
        DataError: There are no samples, a label is outside [0, K), or a probability is outside [0, 1].
        OptionError: `bins` is below 1.

    >>> smix.evaluation.class_wise_calibration_error(torch.full((4, 2), 0.5), torch.tensor([0, 0, 0, 1]))
    0.25
    """
    edges = _edges(bins)
    check_predictions(probabilities, labels)
    check_confidence(probabilities.flatten(), torch.ones(probabilities.numel(), dtype=torch.bool))
    samples, classes = probabilities.shape
    gaps = np.zeros((classes, bins))
    _add_gaps(gaps, probabilities.detach().cpu().double().numpy(), labels.cpu().long().numpy(), edges)
    return float(np.abs(gaps).sum()) / samples / classes


def _add_gaps(
    gaps: Float[np.ndarray, "K M"],
    probabilities: Float[np.ndarray, "n K"],
    labels: Int[np.ndarray, "n"],
    edges: Float[np.ndarray, "edges"],
) -> None:
    """Add the sum of (probability - truth) of each class and bin to `gaps`, in place.

    Most probabilities are in the first bin, so all are added there before those above its edge are moved.
    """
    classes, bins = gaps.shape
    gaps[:, 0] += probabilities.sum(0)
    own = probabilities[np.arange(len(labels)), labels]
    gaps -= np.bincount(labels * bins + np.searchsorted(edges, own), minlength=gaps.size).reshape(gaps.shape)
    if bins > 1:
        above = np.flatnonzero(probabilities > edges[0])
        values, owner = probabilities.ravel()[above], above % classes
        gaps += np.bincount(owner * bins + np.searchsorted(edges, values), values, gaps.size).reshape(gaps.shape)
        gaps[:, 0] -= np.bincount(owner, values, classes)


def _edges(bins: int) -> Float[np.ndarray, "edges"]:
    """Return the inner edges of bins of equal width. The division rounds once, like 1 / K for K equal classes."""
    if bins < 1:
        raise OptionError(f"bins: expected 1 or more, got {bins}; bins={BINS} is typical")
    return np.arange(1, bins) / bins


def _equal_mass_edges(confidence: Float[np.ndarray, "N"], bins: int) -> Float[np.ndarray, "edges"]:
    """Split sorted confidences into bins as `numpy.array_split` does; return the largest confidence in each bin but the last."""
    size, larger = divmod(len(confidence), bins)
    parts = np.arange(1, bins)
    ends = parts * size + np.minimum(parts, larger)
    return np.sort(confidence)[ends - 1]
