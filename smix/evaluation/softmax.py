"""Convert logits to probabilities in float64 on the CPU, a chunk at a time, so that a million samples need no second copy.

Results thus depend neither on the device nor on the precision of the logits beyond their own rounding. A softmax saturates (confidence
exactly 1) in float32 if logits differ by 17, in float64 only if they differ by 37.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smix.errors import DataError, OptionError
from smix.reprs import short_repr

CHUNK = 2**17
"""Numbers in a chunk: 1 MB, which stays in the cache."""


@dataclass(frozen=True)
class Chunk:
    """Softmax of consecutive samples."""

    labels: Int[np.ndarray, "n"]
    predicted: Int[np.ndarray, "n"]
    """Class with the largest logit; the first one if there are ties."""
    probabilities: Float[np.ndarray, "n K"]
    confidence: Float[np.ndarray, "n"]
    """Largest probability, in [1 / K, 1]."""
    nll: Float[np.ndarray, "n"]
    """-log of the label's probability, in nats; finite even where that probability is 0 in float64."""


@dataclass(frozen=True)
class TopClass:
    """Predicted class and confidence of each of N samples."""

    predicted: Int[Tensor, "N"]
    """Class with the largest logit; the first one if there are ties."""
    confidence: Float[Tensor, "N"]
    """Largest softmax probability, in [1 / K, 1], float64."""
    correct: Bool[Tensor, "N"]
    """True if the predicted class is the label."""
    __repr__ = short_repr()


def top_class(logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"], temperature: float = 1.0) -> TopClass:
    """Return the prediction and confidence of each sample.

    Args:
        logits: One row per sample, one column per class.
        labels: Class numbers.
        temperature: Number that all logits are divided by, above 0.

    Raises:
        DataError: There is no sample, a label is out of [0, K), or a logit is NaN or infinite.
        OptionError: The temperature is out of its range.

    >>> top = smix.evaluation.top_class(torch.tensor([[0.0, 0.0], [0.0, 2.0]]), torch.tensor([1, 1]))
    >>> top.predicted, top.confidence, top.correct
    (tensor([0, 1]), tensor([0.5000, 0.8808], dtype=torch.float64), tensor([False,  True]))
    """
    parts = [(chunk.predicted, chunk.confidence, chunk.labels) for chunk in chunks(logits, labels, temperature)]
    predicted, confidence, label = (torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True))
    return TopClass(predicted, confidence, predicted == label)


def chunks(logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"], temperature: float = 1.0) -> Iterator[Chunk]:
    """Yield the softmax of logits / temperature, chunk by chunk in order.

    Args:
        logits: One row per sample, one column per class.
        labels: Class numbers.
        temperature: Number in (0, inf]; infinity makes all classes equal.

    Raises:
        DataError: There is no sample or no class, a label is out of [0, K), or a logit is NaN or infinite.
        OptionError: The temperature is out of its range.
    """
    if not temperature > 0:
        raise OptionError(f"temperature: expected a number above 0, got {temperature}; 1 leaves the logits unchanged")
    for gaps, predicted, label in shifted(logits, labels):
        gaps /= temperature
        gap = gaps[np.arange(len(gaps)), label]
        probabilities = np.exp(gaps, out=gaps)
        total = probabilities.sum(1)
        probabilities /= total[:, None]
        yield Chunk(label, predicted, probabilities, 1 / total, np.log(total) - gap)


def shifted(
    logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"]
) -> Iterator[tuple[Float[np.ndarray, "n K"], Int[np.ndarray, "n"], Int[np.ndarray, "n"]]]:
    """Yield the logits minus the largest of their sample (at most 0), the class of the largest, and the labels, in order.

    NumPy uses one thread for it: in steps as short as these, several threads would mostly wait for each other.

    Raises:
        DataError: There is no sample or no class, a label is out of [0, K), or a logit is NaN or infinite.
    """
    check_predictions(logits, labels)
    step = max(64, CHUNK // logits.shape[1])
    for start in range(0, len(logits), step):
        part = logits[start : start + step].detach().cpu()
        part = part.float() if part.dtype == torch.bfloat16 else part
        gaps = part.numpy().astype(np.float64)
        predicted = gaps.argmax(1)
        largest = gaps[np.arange(len(gaps)), predicted]
        if not (np.isfinite(gaps.min(1)) & np.isfinite(largest)).all():
            place = int(np.flatnonzero(~np.isfinite(gaps).all(1))[0])
            value = gaps[place][~np.isfinite(gaps[place])][0]
            raise DataError(
                f"logits: expected finite numbers, got {value} in sample {start + place}; the training may have diverged, or half "
                "precision has overflowed"
            )
        gaps -= largest[:, None]
        yield gaps, predicted, labels[start : start + step].cpu().numpy().astype(np.int64)


def check_predictions(logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"]) -> None:
    """Raise DataError unless there is one row of logits per label, and labels are in [0, K)."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise DataError(
            f"predictions: expected logits (N, K) and labels (N), got {tuple(logits.shape)} and {tuple(labels.shape)}; "
            "pass one row of logits per label"
        )
    if 0 in logits.shape:
        raise DataError(
            f"predictions: expected at least one sample and one class, got {tuple(logits.shape)}; check that the split has images"
        )
    minimum, maximum = int(labels.min()), int(labels.max())
    if minimum < 0 or maximum >= logits.shape[1]:
        raise DataError(
            f"labels: expected classes 0 to {logits.shape[1] - 1}, got {minimum if minimum < 0 else maximum}; "
            "check that the model was trained on this data set"
        )


def check_confidence(confidence: Float[Tensor, "N"], correct: Bool[Tensor, "N"]) -> None:
    """Raise DataError unless there is one confidence in [0, 1] per sample."""
    if confidence.ndim != 1 or confidence.shape != correct.shape or not len(confidence):
        raise DataError(
            f"confidence: expected one number per sample and at least one sample, got {tuple(confidence.shape)} and "
            f"{tuple(correct.shape)}; compute both with smix.evaluation.top_class"
        )
    minimum, maximum = confidence.min().item(), confidence.max().item()
    if math.isnan(minimum) or minimum < 0 or maximum > 1:
        raise DataError(
            f"confidence: expected probabilities from 0 to 1, got {minimum if not minimum >= 0 else maximum}; "
            "apply softmax to logits first"
        )
