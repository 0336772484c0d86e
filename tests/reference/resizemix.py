"""ResizeMix of Qin et al., arXiv:2012.11101, section 3.3: the complete partner is shrunk and pasted into a box."""

import itertools
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tests.reference.cutmix import paint
from tests.reference.move import resample


def sides(size: tuple[int, ...], tau: float) -> tuple[int, ...]:
    """Return int(tau S), but at least one pixel."""
    return tuple(max(int(tau * length), 1) for length in size)


def corners(size: tuple[int, ...], box: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield the first pixel of every box of these sides in the image."""
    return itertools.product(*(range(length - side + 1) for length, side in zip(size, box, strict=True)))


def maps(size: tuple[int, ...], tau: float) -> Iterator[NDArray]:
    """Yield one map per position, all equally likely: 0 in the box."""
    box = sides(size, tau)
    for first in corners(size, box):
        yield paint(size, first, tuple(a + side for a, side in zip(first, box, strict=True)))


def side_probabilities(size: tuple[int, ...], low: Fraction, high: Fraction) -> dict[tuple[int, ...], float]:
    """Return the probability of each shape of the box for tau uniform in [low, high]. The shape changes where tau S is an integer."""
    steps = {Fraction(k, length) for length in size for k in range(length + 1)}
    bounds = [low, *sorted(step for step in steps if low < step < high), high]
    law: dict[tuple[int, ...], float] = {}
    for begin, end in itertools.pairwise(bounds):
        box = sides(size, float((begin + end) / 2))
        law[box] = law.get(box, 0.0) + float((end - begin) / (high - low))
    return law


def mix(own: NDArray, partner: NDArray, first: tuple[int, ...], box: tuple[int, ...]) -> NDArray:
    """Return the own image (C, *S) with the complete partner shrunk into the box."""
    scale = tuple(side / length for side, length in zip(box, own.shape[1:], strict=True))
    pasted = resample(partner, scale, first)
    image = own.astype(float).copy()
    for pixel in itertools.product(*(range(a, a + side) for a, side in zip(first, box, strict=True))):
        image[(slice(None), *pixel)] = pasted[(slice(None), *pixel)]
    return image


def box_of(weight: NDArray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return first pixel and sides of the box in which a map is 0."""
    pixels = np.argwhere(weight == 0)
    first, last = pixels.min(0), pixels.max(0)
    return tuple(map(int, first)), tuple(map(int, last - first + 1))
