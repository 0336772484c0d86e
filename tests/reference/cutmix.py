"""CutMix boxes as in Yun et al., ICCV 2019, section 3.1 and eq. 2, and the `rand_bbox` of their code."""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def sides(size: tuple[int, ...], kept: float) -> list[int]:
    """Sides of the box: S sqrt(1 - lambda) in two dimensions, rounded down; in d dimensions the d-th root."""
    return [int(length * (1 - kept) ** (1 / len(size))) for length in size]


def paint(size: tuple[int, ...], first: tuple[int, ...], last: tuple[int, ...]) -> NDArray:
    """1 outside the box, 0 in it (`last` is not part of it)."""
    kept = np.ones(size, dtype=np.uint8)
    for pixel in itertools.product(*(range(a, b) for a, b in zip(first, last, strict=True))):
        kept[pixel] = 0
    return kept


def clipped(size: tuple[int, ...], kept: float) -> Iterator[NDArray]:
    """One map for each centre, all equally likely: centre - side // 2 to centre + side // 2, clipped at the border."""
    cut = sides(size, kept)
    for centre in itertools.product(*(range(length) for length in size)):
        first = [max(c - side // 2, 0) for c, side in zip(centre, cut, strict=True)]
        last = [min(c + side // 2, length) for c, side, length in zip(centre, cut, size, strict=True)]
        yield paint(size, tuple(first), tuple(last))


def inside(size: tuple[int, ...], kept: float) -> Iterator[NDArray]:
    """One map for each place where the whole box lies in the image."""
    cut = sides(size, kept)
    for first in itertools.product(*(range(length - side + 1) for length, side in zip(size, cut, strict=True))):
        yield paint(size, first, tuple(a + side for a, side in zip(first, cut, strict=True)))


def mean_cut(size: tuple[int, ...], steps: int = 1000) -> float:
    """Expected area of the clipped box, lambda uniform: the mean over a grid of lambda and, axis by axis, over all centres."""
    total = 0.0
    for step in range(steps):
        share = 1.0
        for length, side in zip(size, sides(size, (step + 0.5) / steps), strict=True):
            covered = [min(c + side // 2, length) - max(c - side // 2, 0) for c in range(length)]
            share *= sum(covered) / length**2
        total += share
    return total / steps
