"""Accuracy and cross-entropy of predictions, over all samples at once: a mean of batch means would be biased.

Of equal logits the first class counts as predicted, everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from smix.errors import DataError, OptionError
from smix.evaluation.softmax import shifted


def accuracy(logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"]) -> float:
    """Share of the samples whose largest logit is that of their label, in [0, 1]."""
    return (logits.argmax(1) == labels).double().mean().item()


def cross_entropy(logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"]) -> float:
    """Mean of -log softmax(logits)[label], in nats."""
    return F.cross_entropy(logits.double(), labels).item()


def top_k_accuracy(logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"], k: int = 5) -> float:
    """Share of the samples whose label is among the k largest logits, in [0, 1]; 1 if there are no more than k classes.

    Among equal logits the earlier class comes first, so that `k=1` is `accuracy`. DataError: as `confusion_matrix`.
    OptionError: k below 1.
    """
    if k < 1:
        raise OptionError(f"k: expected 1 or more, got {k}; 5 is usual")
    hits = 0
    for gaps, _, label in shifted(logits, labels):
        own = np.take_along_axis(gaps, label[:, None], 1)
        earlier = np.arange(gaps.shape[1]) < label[:, None]
        hits += int((((gaps > own) | ((gaps == own) & earlier)).sum(1) < k).sum())
    return hits / len(labels)


def confusion_matrix(logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"]) -> Int[Tensor, "K K"]:
    """Number of samples of class `row` that were taken for class `column`; all entries sum to N.

    DataError: no sample, labels out of [0, K), or a logit that is NaN or infinite.
    """
    classes = logits.shape[1]
    counts = np.zeros(classes**2, np.int64)
    for _, predicted, label in shifted(logits, labels):
        np.add.at(counts, label * classes + predicted, 1)
    return torch.from_numpy(counts).view(classes, classes)


def class_accuracy(confusion: Int[Tensor, "K K"]) -> Float[Tensor, "K"]:
    """Share of the samples of each class that were taken for it, in [0, 1]: its recall. NaN for a class without samples."""
    return confusion.diagonal().double() / confusion.sum(1).double()


@dataclass(frozen=True)
class Confused:
    """Samples of one class that were taken for another."""

    label: str
    predicted: str
    count: int
    share: float
    """Fraction of the samples of the class `label`, in (0, 1]."""


def most_confused(confusion: Int[Tensor, "K K"], classes: Sequence[str], count: int = 10) -> list[Confused]:
    """The pairs (label, prediction) with the most errors, most first, at most `count`; equal ones by place of their class.

    DataError: not one name a class.
    """
    if len(classes) != len(confusion):
        raise DataError(
            f"classes: expected {len(confusion)} names, got {len(classes)}; give those of the data set, in order"
        )
    wrong = confusion.clone().fill_diagonal_(0).flatten()
    order = wrong.argsort(descending=True, stable=True)[:count].tolist()
    totals, size = confusion.sum(1).tolist(), len(confusion)
    return [
        Confused(classes[place // size], classes[place % size], n, n / totals[place // size])
        for place in order
        if (n := int(wrong[place])) > 0
    ]
