"""Cutout of DeVries and Taylor, arXiv:1708.04552, section 3.2; an odd length keeps all of its pixels."""

import itertools
from collections.abc import Iterator

from numpy.typing import NDArray

from tests.reference.cutmix import paint


def maps(size: tuple[int, ...], length: int) -> Iterator[NDArray]:
    """Yield one map per centre, all equally likely: 0 at the `length` pixels from centre - length // 2, clipped."""
    for centre in itertools.product(*(range(side) for side in size)):
        first = [max(c - length // 2, 0) for c in centre]
        last = [min(c - length // 2 + length, side) for c, side in zip(centre, size, strict=True)]
        yield paint(size, tuple(first), tuple(last))


def mean_removed(size: tuple[int, ...], length: int) -> float:
    """Return the expected fraction of the image that is set to 0."""
    removed = [1 - each.mean() for each in maps(size, length)]
    return float(sum(removed) / len(removed))
