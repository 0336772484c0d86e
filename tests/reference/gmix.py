"""GMix of Park et al., NeurIPS 2022, arXiv:2208.09913, section 4: a Gaussian bump instead of the box of CutMix."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def bump(size: tuple[int, ...], centre: tuple[int, ...], share: float) -> NDArray:
    """Return exp(-pi d^2 / share^(2/D)) with d relative to the length of each axis; its integral over all space is `share` of the image."""
    values = np.empty(size)
    for pixel in np.ndindex(*size):
        squared = sum(((p - c) / length) ** 2 for p, c, length in zip(pixel, centre, size, strict=True))
        values[pixel] = math.exp(-math.pi * squared / share ** (2 / len(size)))
    return values


def maps(size: tuple[int, ...], kept: float) -> Iterator[NDArray]:
    """Yield one map per centre, all equally likely: the own bump for lambda below 1/2, else the complement of the partner's for 1 -
    lambda.
    """
    for centre in itertools.product(*(range(length) for length in size)):
        yield bump(size, centre, kept) if kept < 0.5 else 1 - bump(size, centre, 1 - kept)
