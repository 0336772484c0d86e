"""Calibration: compare confidence with accuracy, after Guo et al., "On calibration of modern neural
networks" (ICML 2017), section 2.

**Bins.** Bin m of M holds the confidences in ((m - 1) / M, m / M], as in Guo et al. and in `sklearn.calibration`; exactly 0
is in the first bin, exactly 1 in the last. torchmetrics' bins are [(m - 1) / M, m / M) and put exactly 1 in a bin of its own
(torchmetrics#3510, as of 1.9): the figures are equal unless a confidence lies on an edge. Confidences are compared with the
edges in float64.

Bins of equal mass have the edges where sorted confidences are cut into M parts whose sizes differ by one at most (Nixon et
al., "Measuring calibration in deep learning", CVPR workshops 2019). Equal confidences are never parted: the figure does not
depend on the order of the samples, some bins may be larger, and others empty.
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
from smix.evaluation.softmax import check, check_confidence, chunks

BINS = 15
"""Number of bins in Guo et al."""


@dataclass(frozen=True)
class Bin:
    """The samples whose confidence is in (low, high]; in the first bin low belongs to it."""

    low: float
    high: float
    count: int
    confidence: float
    """Their mean; NaN if there are none."""
    accuracy: float
    """The share of them that is right; NaN if there are none."""


Curve = tuple[Bin, ...]
"""A reliability curve: accuracy against confidence."""


@dataclass(frozen=True)
class Calibration:
    """Calibration of a network on N samples."""

    samples: int
    accuracy: float
    confidence: float
    """Mean of the largest probability, in [1 / K, 1]."""
    ece: float
    """Expected calibration error of bins of equal width, in [0, 1] (Guo et al., equation 3)."""
    ece_mass: float
    """The same of bins of equal mass, in [0, 1]."""
    mce: float
    """Maximum calibration error of bins of equal width, in [0, 1] (Guo et al., equation 5). One sample can make it."""
    class_wise: float
    """Class-wise ECE, in [0, 1]: see `class_wise_error`."""
    brier: float
    """Mean over samples of the sum over classes of (probability - truth)^2, in [0, 2] (Brier, 1950)."""
    nll: float
    """Mean of -log of the label's probability, in nats."""
    curve: Curve
    """Reliability curve with bins of equal width."""
    curve_mass: Curve
    """Reliability curve with bins of equal mass."""

    @property
    def overconfidence(self) -> float:
        """Mean confidence - accuracy, in [-1, 1]: above 0 the network is too sure, below 0 not sure enough."""
        return self.confidence - self.accuracy


def calibration(
    logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"], bins: int = BINS, temperature: float = 1.0
) -> Calibration:
    """All figures in one pass. Errors: DataError as `smix.evaluation.softmax.chunks`, OptionError for fewer than one bin."""
    edges = _edges(bins)
    samples, classes = logits.shape
    confidence, correct = [], []
    squares = own = nll = 0.0
    gaps = np.zeros((classes, bins))
    for one in chunks(logits, labels, temperature):
        _add_gaps(gaps, one.probabilities, one.labels, edges)
        squares += float(np.einsum("nk,nk->", one.probabilities, one.probabilities))
        own += float(one.probabilities[np.arange(len(one.labels)), one.labels].sum())
        nll += float(one.nll.sum())
        confidence.append(one.confidence)
        correct.append(one.predicted == one.labels)
    sure, right = torch.from_numpy(np.concatenate(confidence)), torch.from_numpy(np.concatenate(correct))
    curve, curve_mass = reliability(sure, right, bins), reliability(sure, right, bins, "mass")
    return Calibration(
        samples=samples,
        accuracy=right.double().mean().item(),
        confidence=sure.mean().item(),
        ece=expected_error(curve),
        ece_mass=expected_error(curve_mass),
        mce=maximum_error(curve),
        class_wise=float(np.abs(gaps).sum()) / samples / classes,
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
    """Mean confidence and accuracy of the samples in each bin. DataError: no sample, or a confidence out of [0, 1]."""
    check_confidence(confidence, correct)
    sure, right = confidence.detach().cpu().double().numpy(), correct.cpu().numpy()
    inner = _edges(bins)
    if equal == "mass":
        inner = _equal_mass_edges(sure, bins)
    place = np.searchsorted(inner, sure)
    counts = np.bincount(place, minlength=bins).tolist()
    sums, hits = _sums(place, sure, bins).tolist(), _sums(place, right.astype(float), bins).tolist()
    bounds = [0.0, *inner.tolist(), 1.0]
    return tuple(
        Bin(bounds[m], bounds[m + 1], n, sums[m] / n if n else math.nan, hits[m] / n if n else math.nan)
        for m, n in enumerate(counts)
    )


def expected_error(curve: Sequence[Bin]) -> float:
    """Mean over samples of |accuracy - confidence| of their bin, in [0, 1]."""
    filled = [one for one in curve if one.count]
    return sum(one.count * abs(one.accuracy - one.confidence) for one in filled) / sum(one.count for one in filled)


def maximum_error(curve: Sequence[Bin]) -> float:
    """Largest |accuracy - confidence| of a bin that has samples, in [0, 1]."""
    return max(abs(one.accuracy - one.confidence) for one in curve if one.count)


def class_wise_error(probabilities: Float[Tensor, "N K"], labels: Int[Tensor, "N"], bins: int = BINS) -> float:
    """Mean over classes of the calibration error of that class's probability, of bins of equal width, in [0, 1].

    Kull et al., "Beyond temperature scaling" (NeurIPS 2019), section 2: for class k the confidence of a sample is its
    probability of k, and it is "right" if k is its label. A class without samples counts, by the probability it is given.
    DataError: no sample, labels out of [0, K), or a probability out of [0, 1].
    """
    edges = _edges(bins)
    check(probabilities, labels)
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
    """Adds the sum of (probability - truth) of each class and bin to `gaps`, in place.

    Most probabilities are in the first bin. So all are added there, and those above its edge are then moved.
    """
    classes, bins = gaps.shape
    gaps[:, 0] += probabilities.sum(0)
    own = probabilities[np.arange(len(labels)), labels]
    gaps -= _sums(labels * bins + np.searchsorted(edges, own), np.ones(len(own)), gaps.size).reshape(gaps.shape)
    if bins > 1:
        above = np.flatnonzero(probabilities > edges[0])
        values, owner = probabilities.ravel()[above], above % classes
        gaps += _sums(owner * bins + np.searchsorted(edges, values), values, gaps.size).reshape(gaps.shape)
        gaps[:, 0] -= _sums(owner, values, classes)


def _sums(place: Int[np.ndarray, "n"], values: Float[np.ndarray, "n"], size: int) -> Float[np.ndarray, "size"]:
    return np.bincount(place, values, size)


def _edges(bins: int) -> Float[np.ndarray, "edges"]:
    """The inner edges of bins of equal width. The division rounds once, as that of 1 by a number of equal classes."""
    if bins < 1:
        raise OptionError(f"bins: expected 1 or more, got {bins}; {BINS} are usual")
    return np.arange(1, bins) / bins


def _equal_mass_edges(confidence: Float[np.ndarray, "N"], bins: int) -> Float[np.ndarray, "edges"]:
    """The largest confidence of each part but the last; the larger parts come first, as of `numpy.array_split`."""
    size, larger = divmod(len(confidence), bins)
    parts = np.arange(1, bins)
    ends = parts * size + np.minimum(parts, larger)
    return np.sort(confidence)[ends - 1]
