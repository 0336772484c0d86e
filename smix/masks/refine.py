"""Refinement of binary masks, at the images' own size: nothing, the report's four steps, or what keeps objects whole."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from smix.errors import MaskError, unknown

Refinement = Literal["none", "published", "default"]
REFINEMENTS: tuple[Refinement, ...] = get_args(Refinement)

CROSS = ndimage.generate_binary_structure(2, 1)
GAUSS = np.array([1, 14, 62, 102, 62, 14, 1])
"""Sigma 1, 7 taps, in 256ths: OpenCV's fixed-point kernel for 8-bit images."""
NEIGHBOURHOOD, MARGIN = 5, 2
LEAST_PIECE = 0.1
"""`default` drops pieces that are smaller than this part of the largest."""
LEAST_HOLE = 0.03
"""`default` fills holes that are smaller than this part of the largest piece."""
NUMBERS: dict[Refinement, dict[str, float]] = {
    "none": {},
    "published": {"sigma": 1, "neighbourhood": NEIGHBOURHOOD, "margin": MARGIN, "opening": len(CROSS)},
    "default": {"least_piece": LEAST_PIECE, "least_hole": LEAST_HOLE},
}
"""Numbers of each refinement that a manifest keeps."""


def refine(masks: NDArray[np.bool_], how: Refinement) -> NDArray[np.bool_]:
    """Refine masks (B, *S).

    none: as they are. published: method.md's steps, (B, H, W) alone: blur, adaptive threshold, opening, largest contour filled.
    It loses wide objects that the image's border cuts. default: pieces under a tenth of the largest dropped, holes under 3 %
    of it filled.

    Raises:
        MaskError: `published` of other than 2 spatial dimensions.
    """
    if how not in REFINEMENTS:
        raise unknown("refine", how, REFINEMENTS)
    if how == "none":
        return masks
    if how == "default":
        return keep_whole(masks)
    if masks.ndim != 3:
        raise MaskError(
            f"refine: expected masks with 2 spatial dimensions, got shape {masks.shape}; use --refine default or none"
        )
    return largest_contour(opening(adaptive_threshold(gaussian_blur(masks.astype(np.uint8) * 255))))


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


def largest_contour(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(d) The outer contour of largest area, filled: cv2.findContours(EXTERNAL), contourArea, drawContours(FILLED).

    OpenCV's area is that of the polygon through the centres of the contour's pixels: a square of four neighbours counts 1
    if all are filled, 1/2 if three are. Of equal areas the lower object is taken, as OpenCV lists it first.
    """
    pieces = label_pieces(~_outside(label_gaps(masks)))
    # All that is filled in a square of four neighbours is one piece.
    corners = np.stack([pieces[:, :-1, :-1], pieces[:, :-1, 1:], pieces[:, 1:, :-1], pieces[:, 1:, 1:]])
    halves = np.array([0, 0, 0, 1, 2])[(corners > 0).sum(0)]
    areas = np.bincount(corners.max(0).ravel(), halves.ravel(), minlength=pieces.max(initial=0) + 1)
    area = areas[pieces]
    largest = np.where(area == area.max((1, 2), keepdims=True), pieces, 0)
    return (pieces > 0) & (pieces == largest.max((1, 2), keepdims=True))


def keep_whole(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pieces below `LEAST_PIECE` of the largest dropped, holes below `LEAST_HOLE` of it filled; no edge is moved.

    A piece is as large as it would be without holes, and what lies in its holes belongs to it.
    """
    gaps = label_gaps(masks)
    piece = sizes(label_pieces(~_outside(gaps)))
    largest = piece.max(tuple(range(1, masks.ndim)), keepdims=True)
    kept = (piece > 0) & (piece >= LEAST_PIECE * largest)
    return kept & (masks | (sizes(gaps) < LEAST_HOLE * largest))


def label_pieces(masks: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The number from 1 of each pixel's piece in masks (B, *S), 0 elsewhere; neighbours may touch at a corner."""
    return _label(masks, masks.ndim - 1)


def label_gaps(masks: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The same of what is not object; neighbours share a side."""
    return _label(~masks, 1)


def _label(masks: NDArray[np.bool_], connectivity: int) -> NDArray[np.int32]:
    """No piece reaches from one mask to the next."""
    inside = ndimage.generate_binary_structure(masks.ndim - 1, connectivity)
    labels: NDArray[np.int32] = ndimage.label(masks, np.stack([np.zeros_like(inside), inside, np.zeros_like(inside)]))[
        0
    ]
    return labels


def _outside(gaps: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return where gaps (B, *S) reach the border of the image: those are no holes. A gap between two parts of a signal is none either."""
    if gaps.ndim == 2:
        return gaps > 0
    reach = np.zeros(gaps.max(initial=0) + 1, bool)
    for axis in range(1, gaps.ndim):
        reach[gaps.take((0, -1), axis)] = True
    reach[0] = False
    return reach[gaps]


def sizes(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return how many pixels have the label of each pixel; 0 where that is 0."""
    counts = np.bincount(labels.ravel(), minlength=1).astype(np.int32)
    counts[0] = 0
    return counts[labels]
