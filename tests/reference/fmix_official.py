"""Masks of the published code of FMix (ecs-vlc/FMix, `fmix.py`, commit 3950ea0), step by step, including its error."""

import functools
import itertools
import math

import numpy as np
from numpy.typing import NDArray


@functools.cache
def grid(size: tuple[int, ...]) -> NDArray:
    """Return |frequency| in cycles per pixel.

    Axes: the first, then the third, then half of the second with one more where its length is odd. With one axis: all of it.
    """

    def cycles(length: int) -> list[float]:
        return [(k if k < (length + 1) // 2 else k - length) / length for k in range(length)]

    axes = [cycles(size[0])]
    if len(size) == 3:
        axes.append(cycles(size[2]))
    if len(size) > 1:
        axes.append(cycles(size[1])[: size[1] // 2 + (2 if size[1] % 2 else 1)])
    shape = tuple(map(len, axes))
    flat = [math.sqrt(sum(f * f for f in each)) for each in itertools.product(*axes)]
    return np.array(flat).reshape(shape)


def field(noise: NDArray, size: tuple[int, ...], decay: float) -> NDArray:
    """Return the field of a mask. noise: (*grid, 2) standard normal numbers, the last axis for real and imaginary part.

    The error: the first two rows of the grid are used as real and imaginary part, so the last axis has only the frequencies 0 and 1. The
    inverse transform pads with zeros, or crops, to half a spectrum of the image's size.
    """
    spectrum = noise / np.maximum(grid(size), 1 / max(size))[..., None] ** decay
    paired = spectrum[0] + 1j * spectrum[1]
    return np.fft.irfftn(paired, s=size, axes=range(-len(size), 0))


def weights(values: NDArray, kept: float, up: bool, max_soft: float) -> NDArray:
    """Return weights from 1 to 0 by rank: `linspace` over the ranks around the count, which is lambda N, rounded up or down."""
    total = values.size
    count = math.ceil(kept * total) if up else math.floor(kept * total)
    soft = int(total * min(max_soft, kept, 1 - kept))
    by_rank = [1.0] * (count - soft) + list(np.linspace(1, 0, 2 * soft)) + [0.0] * (total - count - soft)
    found = np.empty(total)
    for weight, place in zip(by_rank, np.argsort(-values.flatten()), strict=True):
        found[place] = weight
    return found.reshape(values.shape)


def mask(size: tuple[int, ...], kept: float, decay: float, rng: np.random.Generator, max_soft: float = 0.0) -> NDArray:
    """Return one mask, whose count is rounded up or down with probability 1/2."""
    noise = rng.standard_normal((*grid(size).shape, 2))
    return weights(field(noise, size, decay), kept, rng.random() > 0.5, max_soft)
