"""Accuracy and cross-entropy of predictions, over all samples at once: a mean of batch means would be biased.

If several classes have the largest logit, the first of them is the prediction.
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
    """Return the top-1 accuracy, the fraction of the samples whose label has the largest logit, in [0, 1].

    Args:
        logits: One row per sample, one column per class.
        labels: Class numbers.

    >>> logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    >>> smix.evaluation.accuracy(logits, torch.tensor([0, 1, 2, 2]))
    0.75
    """
    return (logits.argmax(1) == labels).double().mean().item()


def cross_entropy(logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"]) -> float:
    """Return the mean of -log softmax(logits)[label], in nats.

    Args:
        logits: One row per sample, one column per class.
        labels: Class numbers.

    >>> f"{smix.evaluation.cross_entropy(torch.zeros(4, 10), torch.tensor([0, 1, 2, 3])):.4f}"  # log 10
    '2.3026'
    """
    return F.cross_entropy(logits.double(), labels).item()


def top_k_accuracy(logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"], k: int = 5) -> float:
    """Return the top-k accuracy, the fraction of the samples whose label has one of the k largest logits, in [0, 1].

    Ties are broken in favour of the first class, so that `k=1` equals `accuracy`.

    Args:
        logits: One row per sample, one column per class.
        labels: Class numbers.
        k: Number of predicted classes, 1 or more. If there are no more than k classes, the result is 1.

    Raises:
        DataError: There is no sample, a label is out of [0, K), or a logit is NaN or infinite.
        OptionError: k is below 1.

    >>> logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 1.0]])
    >>> smix.evaluation.top_k_accuracy(logits, torch.tensor([2, 0]), k=2)
    0.5
    """
    if k < 1:
        raise OptionError(f"k: expected 1 or more, got {k}; k=5 is typical")
    hits = 0
    for gaps, _, label in shifted(logits, labels):
        own = np.take_along_axis(gaps, label[:, None], 1)
        earlier = np.arange(gaps.shape[1]) < label[:, None]
        hits += int((((gaps > own) | ((gaps == own) & earlier)).sum(1) < k).sum())
    return hits / len(labels)


def confusion_matrix(logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"]) -> Int[Tensor, "K K"]:
    """Return the number of samples of class `row` that are predicted as class `column`; all entries sum to N.

    Args:
        logits: One row per sample, one column per class.
        labels: Class numbers.

    Raises:
        DataError: There is no sample, a label is out of [0, K), or a logit is NaN or infinite.

    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
    >>> smix.evaluation.confusion_matrix(logits, torch.tensor([0, 1, 1]))
    tensor([[1, 0],
            [1, 1]])
    """
    classes = logits.shape[1]
    predicted = torch.from_numpy(np.concatenate([predicted for _, predicted, _ in shifted(logits, labels)]))
    return (labels.cpu().long() * classes + predicted).bincount(minlength=classes**2).view(classes, classes)


def class_accuracy(confusion: Int[Tensor, "K K"]) -> Float[Tensor, "K"]:
    """Return the recall of each class: the fraction of its samples that is predicted correctly, in [0, 1].

    Args:
        confusion: Result of `confusion_matrix`.

    Returns:
        One number per class; NaN for a class without samples.

    >>> smix.evaluation.class_accuracy(torch.tensor([[1, 0], [1, 1]]))
    tensor([1.0000, 0.5000], dtype=torch.float64)
    """
    return confusion.diagonal().double() / confusion.sum(1).double()


@dataclass(frozen=True)
class Confused:
    """Samples of one class that are predicted as another."""

    label: str
    predicted: str
    count: int
    share: float
    """Fraction of the samples of the class `label`, in (0, 1]."""


def most_confused(confusion: Int[Tensor, "K K"], classes: Sequence[str], count: int = 10) -> list[Confused]:
    """Return the pairs (label, prediction) with the most errors.

    Args:
        confusion: Result of `confusion_matrix`.
        classes: Name of each class.
        count: Maximum number of pairs.

    Returns:
        The pairs in descending order; ties are in class order.

    Raises:
        DataError: There is not one name per class.

    >>> smix.evaluation.most_confused(torch.tensor([[3, 1], [0, 4]]), ["cat", "dog"])
    [Confused(label='cat', predicted='dog', count=1, share=0.25)]
    """
    if len(classes) != len(confusion):
        raise DataError(
            f"classes: expected {len(confusion)} names, got {len(classes)}; pass the class names of the data set, in order"
        )
    errors = confusion.clone().fill_diagonal_(0)
    order = errors.flatten().argsort(descending=True, stable=True)[:count].tolist()
    totals, pairs = confusion.sum(1).tolist(), (divmod(index, len(confusion)) for index in order)
    return [
        Confused(classes[label], classes[predicted], number, number / totals[label])
        for label, predicted in pairs
        if (number := int(errors[label, predicted])) > 0
    ]
