"""Where an object may be pasted, and what it hides there: every place, one after the other."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from tests.reference.move import weights

Corner = tuple[int, ...]


def extent(mask: NDArray) -> list[tuple[int, int]]:
    """First pixel of the object along each axis, and the one after its last; the whole image where there is none."""
    found = [pixel for pixel in np.ndindex(*mask.shape) if mask[pixel] > 0]
    if not found:
        return [(0, length) for length in mask.shape]
    return [(min(pixel[axis] for pixel in found), max(pixel[axis] for pixel in found) + 1) for axis in range(mask.ndim)]


def fitting(mask: NDArray, wanted: float) -> float:
    """The requested factor, or the largest with which the object fits in the frame."""
    sides = [last - first for first, last in extent(mask)]
    return min(wanted, *(length / side for length, side in zip(mask.shape, sides, strict=True)))


def sides(mask: NDArray, factor: float) -> list[int]:
    """How many pixels the scaled object takes along each axis: whole ones, one at least."""
    return [max(math.ceil(factor * (last - first) - 1e-3), 1) for first, last in extent(mask)]


def corners(mask: NDArray, factor: float) -> list[Corner]:
    """Every whole offset of the object's first corner that keeps all of it in the frame."""
    ranges = [range(length - side + 1) for length, side in zip(mask.shape, sides(mask, factor), strict=True)]
    return list(itertools.product(*ranges))


def pasted(mask: NDArray, factor: float, corner: Corner, mirrored: bool = False) -> NDArray:
    """The mask, scaled, mirrored along the last axis, its object in the middle of its
    box at this corner; cut to the pixels that the object takes."""
    moved = mask
    for axis, ((first, last), side) in enumerate(zip(extent(mask), sides(mask, factor), strict=True)):
        turned = mirrored and axis == mask.ndim - 1
        scale = -factor if turned else factor
        middle = (side - factor * (last - first)) / 2
        offset = corner[axis] + middle - scale * (last if turned else first)
        matrix = np.array(weights(mask.shape[axis], scale, offset))
        moved = np.moveaxis(np.tensordot(matrix, moved, axes=(1, axis)), 0, axis)
    box = tuple(slice(start, start + side) for start, side in zip(corner, sides(mask, factor), strict=True))
    cut = np.zeros_like(moved)
    cut[box] = moved[box]
    return cut


def hidden(mask: NDArray, other: NDArray) -> float:
    """Number of pixels of another object a pasted mask hides."""
    return sum(float(mask[pixel]) * float(other[pixel]) for pixel in np.ndindex(*mask.shape) if other[pixel])


def copied(own: NDArray, mask: NDArray, partner: NDArray, corner: Corner, mirrored: bool = False) -> NDArray:
    """The object of one image (C, *S) copied onto another pixel by pixel, at its own size; the mask is all or nothing."""
    mixed, box = partner.copy(), extent(mask)
    for pixel in np.ndindex(*mask.shape):
        if mask[pixel]:
            place = [at - first + start for at, (first, _), start in zip(pixel, box, corner, strict=True)]
            if mirrored:
                place[-1] = box[-1][1] - 1 - pixel[-1] + corner[-1]
            mixed[(slice(None), *place)] = own[(slice(None), *pixel)]
    return mixed
