"""Losses and label rows of mixed labels, one sample and one class at a time."""

import math


def rows_of(label: int | list[float], classes: int) -> list[float]:
    """A class number as a one-hot row; a row as it is."""
    return [float(k == label) for k in range(classes)] if isinstance(label, int) else label


def soft(own: int | list[float], partner: int | list[float], share: float, classes: int) -> list[float]:
    """s y + (1 - s) y_partner."""
    pairs = zip(rows_of(own, classes), rows_of(partner, classes), strict=True)
    return [share * mine + (1 - share) * other for mine, other in pairs]


def smoothed(row: list[float], smoothing: float) -> list[float]:
    """(1 - e) row + e / K."""
    return [(1 - smoothing) * value + smoothing / len(row) for value in row]


def cross_entropy(logits: list[float], row: list[float]) -> float:
    """- sum_k row_k log softmax(logits)_k."""
    normaliser = math.log(sum(math.exp(value) for value in logits))
    return -sum(weight * (value - normaliser) for weight, value in zip(row, logits, strict=True))


def binary_cross_entropy(logits: list[float], row: list[float]) -> float:
    """Mean over the classes of -r log p - (1 - r) log(1 - p), p = 1 / (1 + exp(-logit))."""
    total = 0.0
    for value, weight in zip(logits, row, strict=True):
        p = 1 / (1 + math.exp(-value))
        total -= weight * math.log(p) + (1 - weight) * math.log(1 - p)
    return total / len(row)
