"""Refinement of binary masks, at the images' own size: nothing, the report's four steps, or what keeps objects whole."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from smix.errors import MaskError, unknown

Refinement = Literal["none", "published", "default"]
REFINEMENTS: tuple[Refinement, ...] = get_args(Refinement)

CROSS = ndimage.generate_binary_structure(2, 1)
SQUARE = ndimage.generate_binary_structure(2, 2)
GAUSS = np.array([1, 14, 62, 102, 62, 14, 1])
"""Sigma 1, 7 taps, in 256ths: OpenCV's fixed-point kernel for 8-bit images."""
NEIGHBOURHOOD, MARGIN = 5, 2
LEAST_PIECE = 0.1
"""`default` drops pieces that are smaller than this part of the largest."""
NUMBERS: dict[Refinement, dict[str, float]] = {
    "none": {},
    "published": {"sigma": 1, "neighbourhood": NEIGHBOURHOOD, "margin": MARGIN, "opening": len(CROSS)},
    "default": {"least_piece": LEAST_PIECE},
}
"""What a manifest keeps of each."""


def refine(masks: NDArray[np.bool_], how: Refinement) -> NDArray[np.bool_]:
    """Refine masks (B, H, W).

    none: as they are. published: method.md's steps: blur, adaptive threshold, opening, largest contour filled. It loses
    wide objects that the image's border cuts. default: holes filled, pieces under a tenth of the largest dropped.
    """
    if how not in REFINEMENTS:
        raise unknown("refine", how, REFINEMENTS)
    if how == "none":
        return masks
    if masks.ndim != 3:
        raise MaskError(f"refine: expected masks with 2 spatial dimensions, got shape {masks.shape}; use --refine none")
    if how == "default":
        return np.stack([keep_whole(mask) for mask in masks])
    opened = opening(adaptive_threshold(gaussian_blur(masks.astype(np.uint8) * 255)))
    return np.stack([largest_contour(mask) for mask in opened])


def gaussian_blur(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(a) Sigma 1 on 0..255, mirrored at the border without repeating it, rounded half up: cv2.GaussianBlur(image, (0, 0), 1)."""
    rows = ndimage.correlate1d(images.astype(np.int64), GAUSS, axis=-1, mode="mirror")
    both = ndimage.correlate1d(rows, GAUSS, axis=-2, mode="mirror")
    return ((both + (1 << 15)) >> 16).astype(np.uint8)


def adaptive_threshold(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(b) More than 2 above the rounded mean of the 5x5 neighbourhood: cv2.adaptiveThreshold(..., MEAN_C, BINARY, 5, -2)."""
    five = np.ones(NEIGHBOURHOOD, np.int64)
    sums = ndimage.correlate1d(images.astype(np.int64), five, axis=-1, mode="nearest")
    sums = ndimage.correlate1d(sums, five, axis=-2, mode="nearest")
    pixels = NEIGHBOURHOOD**2
    return images.astype(np.int64) - (2 * sums + pixels) // (2 * pixels) > MARGIN


def opening(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(c) By a 3x3 ellipse, which is a cross; beyond the border nothing erodes and nothing grows: cv2.MORPH_OPEN."""
    eroded = ndimage.binary_erosion(masks, CROSS[None], border_value=1)
    return ndimage.binary_dilation(eroded, CROSS[None])


def largest_contour(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(d) The outer contour of largest area, filled: cv2.findContours(EXTERNAL), contourArea, drawContours(FILLED).

    OpenCV's area is that of the polygon through the centres of the contour's pixels: a square of four neighbours counts 1
    if all are filled, 1/2 if three are. Of equal areas the lower object is taken, as OpenCV lists it first.
    """
    labels, count = ndimage.label(ndimage.binary_fill_holes(mask), SQUARE)
    if count == 0:
        return np.zeros_like(mask)
    pieces = [labels == label for label in range(1, count + 1)]
    areas = [_polygon_area(piece) for piece in pieces]
    return pieces[max(range(count), key=lambda place: (areas[place], place))]


def _polygon_area(piece: NDArray[np.bool_]) -> float:
    number = piece.astype(np.int64)
    corners = number[:-1, :-1] + number[:-1, 1:] + number[1:, :-1] + number[1:, 1:]
    return float((corners == 4).sum() + 0.5 * (corners == 3).sum())


def keep_whole(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Holes filled; pieces smaller than `LEAST_PIECE` of the largest dropped. Nothing is eroded or smoothed."""
    filled = ndimage.binary_fill_holes(mask)
    labels, count = ndimage.label(filled, SQUARE)
    if count < 2:
        return filled
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return (sizes >= LEAST_PIECE * sizes.max())[labels] & filled
