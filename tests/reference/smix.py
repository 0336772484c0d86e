"""SMix one pixel and one sample at a time, written only from the equations of the report."""

import math

import numpy as np
from numpy.typing import NDArray


def blend(x: NDArray, weight: NDArray, partner: list[int]) -> NDArray:
    """Return x_mix = w x_A + (1 - w) x_C; x (B, C, *S), weight (B, *S)."""
    mixed = np.empty(x.shape)
    for a, c in enumerate(partner):
        for channel in range(x.shape[1]):
            for pixel in np.ndindex(*x.shape[2:]):
                w = float(weight[(a, *pixel)])
                mixed[(a, channel, *pixel)] = w * x[(a, channel, *pixel)] + (1 - w) * x[(c, channel, *pixel)]
    return mixed


def smix(x: NDArray, masks: NDArray, partner: list[int], alpha: float) -> NDArray:
    """Return eq. 1, 2: x_mix = alpha M_A x_A + (1 - alpha M_A) x_C."""
    return blend(x, alpha * masks.astype(float), partner)


def hybrid(
    x: NDArray, masks: NDArray, clouds: NDArray, valid: list[bool], partner: list[int], alpha: float, strength: float
) -> NDArray:
    """Return eq. 10: x_mix = b M_F x_A + (1 - b M_F) x_C where the mask of A is not valid."""
    weight = np.empty(masks.shape)
    for a, ok in enumerate(valid):
        weight[a] = alpha * masks[a] if ok else strength * clouds[a]
    return blend(x, weight, partner)


def cross_entropy(logits: list[float], label: int) -> float:
    """Return -log softmax(logits)[label]."""
    return math.log(sum(math.exp(value) for value in logits)) - logits[label]


def half_loss(logits: list[list[float]], labels: list[int], partner: list[int]) -> float:
    """Return eq. 3: 1 / (2 N) sum_i [CE(f(x_mix_i), y_A_i) + CE(f(x_mix_i), y_C_i)]."""
    total = 0.0
    for a, c in enumerate(partner):
        total += cross_entropy(logits[a], labels[a]) + cross_entropy(logits[a], labels[c])
    return total / (2 * len(partner))


def coverage(masks: NDArray) -> list[float]:
    """Return the mean of each mask."""
    return [math.fsum(float(mask[pixel]) for pixel in np.ndindex(*mask.shape)) / mask.size for mask in masks]


def coverage_loss(logits: list[list[float]], labels: list[int], partner: list[int], masks: NDArray) -> float:
    """Return the loss with the weights of eq. 11: w_A = mean(M_A), w_C = 1 - w_A."""
    total = 0.0
    for a, (c, own) in enumerate(zip(partner, coverage(masks), strict=True)):
        total += own * cross_entropy(logits[a], labels[a]) + (1 - own) * cross_entropy(logits[a], labels[c])
    return total / len(partner)


def binary_entropy(share: float) -> float:
    """Return the binary entropy in nats, with 0 log 0 = 0."""
    return -sum(p * math.log(p) for p in (share, 1 - share) if p > 0)


def edge_density(mask: NDArray) -> float:
    """Return |grad M|_1 / number of pixels; the gradient is the difference to the next pixel along each axis."""
    total = 0.0
    for pixel in np.ndindex(*mask.shape):
        for axis in range(mask.ndim):
            following = list(pixel)
            following[axis] += 1
            if following[axis] < mask.shape[axis]:
                total += abs(float(mask[tuple(following)]) - float(mask[pixel]))
    return total / mask.size
