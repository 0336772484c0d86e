"""Refinement of the report (method.md, section 1, step 3), pixel by pixel, for one mask (H, W) of 0 and 255; and `default`."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

NEIGHBOURHOOD = 5
MARGIN = 2


def gaussian_blur(image: NDArray[np.uint8], sigma: float = 1.0) -> NDArray[np.uint8]:
    """Step (a): blur with taps up to 3 sigma, each an integer multiple of 1/256 with sum 1, as OpenCV has them for 8-bit images."""
    reach = round(3 * sigma)
    bell = [math.exp(-(step**2) / (2 * sigma**2)) for step in range(-reach, reach + 1)]
    taps = [round(256 * height / sum(bell)) for height in bell]
    assert sum(taps) == 256
    height, width = image.shape
    blurred = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            total = 0
            for down, vertical in enumerate(taps, -reach):
                for right, horizontal in enumerate(taps, -reach):
                    source = image[mirror(row + down, height), mirror(column + right, width)]
                    total += vertical * horizontal * int(source)
            blurred[row, column] = math.floor(total / 256**2 + 0.5)
    return blurred


def mirror(place: int, length: int) -> int:
    """Return the index in the image for a place beyond its border, without repeating the border pixel: dcb|abcd|cba."""
    while not 0 <= place < length:
        place = 0 if length == 1 else -place if place < 0 else 2 * (length - 1) - place
    return place


def adaptive_threshold(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Step (b): return 1 where the value exceeds the mean of its 5 x 5 neighbourhood, rounded to an integer, by more than 2."""
    height, width = image.shape
    reach = NEIGHBOURHOOD // 2
    above = np.zeros(image.shape, bool)
    for row in range(height):
        for column in range(width):
            total = 0
            for down in range(-reach, reach + 1):
                for right in range(-reach, reach + 1):
                    total += int(image[clamp(row + down, height), clamp(column + right, width)])
            mean = round(total / NEIGHBOURHOOD**2)
            above[row, column] = int(image[row, column]) - mean > MARGIN
    return above


def clamp(place: int, length: int) -> int:
    """Return the index in the image for a place beyond its border, by repeating the border pixel."""
    return min(max(place, 0), length - 1)


def opening(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Step (c): keep a pixel if some cross that covers it is in the mask; pixels beyond the border do not matter."""
    height, width = mask.shape
    cross = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))

    def inside(row: int, column: int) -> bool:
        return 0 <= row < height and 0 <= column < width

    opened = np.zeros_like(mask)
    for row in range(height):
        for column in range(width):
            arms = [(row + down, column + right) for down, right in cross if inside(row + down, column + right)]
            if all(mask[arm] for arm in arms):
                for arm in arms:
                    opened[arm] = True
    return opened


LEAST_PIECE = 0.1
LEAST_HOLE = 0.03


def refine_default(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Refine by `default` in any number of dimensions.

    Pieces of less than a tenth of the largest are dropped and holes of less than 3 % of it are filled. The size of a piece includes the
    area
    that it encloses; in one dimension it encloses nothing.
    """
    gaps = regions(~mask, corners=False)
    outside: set[tuple[int, ...]] = set()
    for gap in gaps:
        if mask.ndim == 1 or any(
            place in (0, length - 1) for pixel in gap for place, length in zip(pixel, mask.shape, strict=True)
        ):
            outside |= gap
    filled = np.ones(mask.shape, bool)
    for pixel in outside:
        filled[pixel] = False
    pieces = regions(filled, corners=True)
    largest = max((len(piece) for piece in pieces), default=0)
    result = np.zeros(mask.shape, bool)
    for piece in pieces:
        if len(piece) >= LEAST_PIECE * largest:
            for pixel in piece:
                result[pixel] = mask[pixel]
    for gap in gaps:
        if not gap & outside and len(gap) < LEAST_HOLE * largest:
            for pixel in gap:
                result[pixel] = any(pixel in piece and len(piece) >= LEAST_PIECE * largest for piece in pieces)
    return result


def regions(mask: NDArray[np.bool_], corners: bool) -> list[set[tuple[int, ...]]]:
    """Return the connected regions of a mask by flood fill; neighbours share a side, or at least a corner."""
    steps = [
        step
        for step in itertools.product((-1, 0, 1), repeat=mask.ndim)
        if any(step) and (corners or sum(map(abs, step)) == 1)
    ]
    left = {tuple(int(place) for place in pixel) for pixel in np.argwhere(mask)}
    found = []
    while left:
        front = [left.pop()]
        region = set(front)
        while front:
            pixel = front.pop()
            for step in steps:
                neighbour = tuple(place + move for place, move in zip(pixel, step, strict=True))
                if neighbour in left:
                    left.remove(neighbour)
                    region.add(neighbour)
                    front.append(neighbour)
        found.append(region)
    return found
