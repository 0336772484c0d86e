"""Positions at which an object may be pasted, and the area that it hides there, one after the other."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from tests.reference.move import weights

Corner = tuple[int, ...]


def extent(mask: NDArray) -> list[tuple[int, int]]:
    """Return the first pixel of the object and the one after its last along each axis; the complete image if there is no object."""
    found = [pixel for pixel in np.ndindex(*mask.shape) if mask[pixel] > 0]
    if not found:
        return [(0, length) for length in mask.shape]
    return [(min(pixel[axis] for pixel in found), max(pixel[axis] for pixel in found) + 1) for axis in range(mask.ndim)]


def largest_fitting(mask: NDArray, wanted: float) -> float:
    """Return the requested factor, or the largest factor with which the object fits in the frame."""
    sides = [last - first for first, last in extent(mask)]
    return min(wanted, *(length / side for length, side in zip(mask.shape, sides, strict=True)))


def sides(mask: NDArray, factor: float) -> list[int]:
    """Return the number of pixels of the scaled object along each axis: integers of at least one."""
    return [max(math.ceil(factor * (last - first) - 1e-3), 1) for first, last in extent(mask)]


def corners(mask: NDArray, factor: float) -> list[Corner]:
    """Return all integer offsets of the first corner of the object that keep the object in the frame."""
    ranges = [range(length - side + 1) for length, side in zip(mask.shape, sides(mask, factor), strict=True)]
    return list(itertools.product(*ranges))


def paste_mask(mask: NDArray, factor: float, corner: Corner, mirrored: bool = False) -> NDArray:
    """Return the mask, scaled and mirrored along the last axis, with its object in the centre of its box at this corner.

    The result is cropped to the pixels of the object.
    """
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
    """Return the number of pixels of another object that a pasted mask hides."""
    return sum(float(mask[pixel]) * float(other[pixel]) for pixel in np.ndindex(*mask.shape) if other[pixel])


def copy_object(own: NDArray, mask: NDArray, partner: NDArray, corner: Corner, mirrored: bool = False) -> NDArray:
    """Copy the object of an image (C, *S) onto another image pixel by pixel, at scale 1, with a binary mask."""
    mixed, box = partner.copy(), extent(mask)
    for pixel in np.ndindex(*mask.shape):
        if mask[pixel]:
            place = [at - first + start for at, (first, _), start in zip(pixel, box, corner, strict=True)]
            if mirrored:
                place[-1] = box[-1][1] - 1 - pixel[-1] + corner[-1]
            mixed[(slice(None), *place)] = own[(slice(None), *pixel)]
    return mixed
