"""Move images pixel by pixel with a triangle filter, which is bilinear for enlargement and antialiased for shrinking."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray


def weights(length: int, scale: float, offset: float) -> list[list[float]]:
    """Return the weight of each pixel of the image in each pixel of the result; position u of the image is moved to scale u + offset."""
    rows = []
    for pixel in range(length):
        place = (pixel + 0.5 - offset) / scale
        reach = max(1.0, 1 / abs(scale))
        row = [max(0.0, 1 - abs(place - (other + 0.5)) / reach) for other in range(length)]
        inside = 0 <= place <= length
        rows.append([value / sum(row) if inside else 0.0 for value in row])
    return rows


def resample(image: NDArray, scale: tuple[float, ...], offset: tuple[float, ...]) -> NDArray:
    """Return one image (C, *S), moved."""
    size = image.shape[1:]
    along = [weights(length, s, o) for length, s, o in zip(size, scale, offset, strict=True)]
    moved = np.zeros(image.shape)
    for to, source in itertools.product(np.ndindex(*size), np.ndindex(*size)):
        share = math.prod(rows[p][q] for rows, p, q in zip(along, to, source, strict=True))
        if share:
            moved[(slice(None), *to)] += share * image[(slice(None), *source)]
    return moved
