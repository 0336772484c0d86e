"""CutMix boxes of Yun et al., ICCV 2019, section 3.1 and eq. 2, and of `rand_bbox` in their code."""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def sides(size: tuple[int, ...], kept: float) -> list[int]:
    """Return the sides of the box: S sqrt(1 - lambda) in two dimensions, rounded down; the d-th root in d dimensions."""
    return [int(length * (1 - kept) ** (1 / len(size))) for length in size]


def paint(size: tuple[int, ...], first: tuple[int, ...], last: tuple[int, ...]) -> NDArray:
    """Return a map that is 1 outside the box and 0 inside; `last` is exclusive."""
    kept = np.ones(size, dtype=np.uint8)
    for pixel in itertools.product(*(range(a, b) for a, b in zip(first, last, strict=True))):
        kept[pixel] = 0
    return kept


def clipped_boxes(size: tuple[int, ...], kept: float) -> Iterator[NDArray]:
    """Yield one map per centre, all equally likely: centre - side // 2 to centre + side // 2, clipped at the border."""
    cut = sides(size, kept)
    for centre in itertools.product(*(range(length) for length in size)):
        first = [max(c - side // 2, 0) for c, side in zip(centre, cut, strict=True)]
        last = [min(c + side // 2, length) for c, side, length in zip(centre, cut, size, strict=True)]
        yield paint(size, tuple(first), tuple(last))


def boxes_inside(size: tuple[int, ...], kept: float) -> Iterator[NDArray]:
    """Yield one map per position at which the complete box is in the image."""
    cut = sides(size, kept)
    for first in itertools.product(*(range(length - side + 1) for length, side in zip(size, cut, strict=True))):
        yield paint(size, first, tuple(a + side for a, side in zip(first, cut, strict=True)))


def mean_cut(size: tuple[int, ...], steps: int = 1000) -> float:
    """Return the expected area of the clipped box for uniform lambda: the mean over a grid of lambda and over all centres of each axis."""
    total = 0.0
    for step in range(steps):
        share = 1.0
        for length, side in zip(size, sides(size, (step + 0.5) / steps), strict=True):
            covered = [min(c + side // 2, length) - max(c - side // 2, 0) for c in range(length)]
            share *= sum(covered) / length**2
        total += share
    return total / steps
