"""GridMix of Baek et al., Pattern Recognition 109, 2021, section 3: g x g cells, each taken from one of two images."""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def cell(pixel: int, length: int, cells: int) -> int:
    """Return the cell that contains the first edge of the pixel, where cell k extends from k L / g to (k + 1) L / g."""
    return next(k for k in range(cells) if k * length <= pixel * cells < (k + 1) * length)


def paint(size: tuple[int, ...], cells: int, own: dict[tuple[int, ...], int]) -> NDArray:
    """Return a map that is 1 in the cells of the own image."""
    weight = np.empty(size)
    for pixel in np.ndindex(*size):
        weight[pixel] = own[tuple(cell(p, length, cells) for p, length in zip(pixel, size, strict=True))]
    return weight


def maps(size: tuple[int, ...], cells: int, kept: float) -> Iterator[tuple[NDArray, float]]:
    """Yield every choice of cells with its probability; each cell shows the own image with probability lambda."""
    places = list(itertools.product(range(cells), repeat=len(size)))
    for choice in itertools.product((0, 1), repeat=len(places)):
        probability = kept ** sum(choice) * (1 - kept) ** (len(places) - sum(choice))
        yield paint(size, cells, dict(zip(places, choice, strict=True))), probability
