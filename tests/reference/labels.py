"""Losses and label rows of mixed labels, one sample and one class at a time."""

import math


def label_row(label: int | list[float], classes: int) -> list[float]:
    """Return a class index as a one-hot row, and a row unchanged."""
    return [float(k == label) for k in range(classes)] if isinstance(label, int) else label


def soft(own: int | list[float], partner: int | list[float], share: float, classes: int) -> list[float]:
    """Return s y + (1 - s) y_partner."""
    pairs = zip(label_row(own, classes), label_row(partner, classes), strict=True)
    return [share * mine + (1 - share) * other for mine, other in pairs]


def smooth(row: list[float], smoothing: float) -> list[float]:
    """Return (1 - e) row + e / K."""
    return [(1 - smoothing) * value + smoothing / len(row) for value in row]


def cross_entropy(logits: list[float], row: list[float]) -> float:
    """Return - sum_k row_k log softmax(logits)_k."""
    normaliser = math.log(sum(math.exp(value) for value in logits))
    return -sum(weight * (value - normaliser) for weight, value in zip(row, logits, strict=True))


def binary_cross_entropy(logits: list[float], row: list[float]) -> float:
    """Return the mean over classes of -r log p - (1 - r) log(1 - p) with p = 1 / (1 + exp(-logit))."""
    total = 0.0
    for value, weight in zip(logits, row, strict=True):
        p = 1 / (1 + math.exp(-value))
        total -= weight * math.log(p) + (1 - weight) * math.log(1 - p)
    return total / len(row)
