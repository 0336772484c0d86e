"""Refine binary masks: with the four steps of the report, or by removing small pieces and holes without moving edges."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Int32, UInt8
from numpy.typing import NDArray
from scipy import ndimage

from smix.errors import MaskError, unknown

Refinement = Literal["none", "published", "default"]
REFINEMENTS: tuple[Refinement, ...] = get_args(Refinement)

CROSS = ndimage.generate_binary_structure(2, 1)
GAUSS = np.array([1, 14, 62, 102, 62, 14, 1])
"""Gaussian kernel of sigma 1 in 256ths: OpenCV's fixed-point kernel for 8-bit images."""
NEIGHBOURHOOD, MARGIN = 5, 2
MIN_PIECE = 0.1
"""`default` removes pieces that are smaller than this fraction of the largest."""
MIN_HOLE = 0.03
"""`default` fills holes that are smaller than this fraction of the largest piece."""
PARAMETERS: dict[Refinement, dict[str, float]] = {
    "none": {},
    "published": {"sigma": 1, "neighbourhood": NEIGHBOURHOOD, "margin": MARGIN, "opening": len(CROSS)},
    "default": {"min_piece": MIN_PIECE, "min_hole": MIN_HOLE},
}
"""Parameters of each refinement, for the manifest of a store."""


def refine(masks: Bool[np.ndarray, "B *S"], method: Refinement) -> Bool[np.ndarray, "B *S"]:
    """Refine masks.

    Args:
        masks: Masks with any number of spatial dimensions; "published" needs 2.
        method: "none": return the masks unchanged. "published": blur, threshold adaptively, open, and fill the largest contour,
            which loses wide objects that the border of the image cuts off. "default": remove pieces smaller than a tenth of the
            largest piece, and fill holes smaller than 3 % of it.

    Returns:
        The refined masks.

    Raises:
        OptionError: The method is unknown.
        MaskError: The method is "published" and the masks do not have 2 spatial dimensions.
    """
    if method not in REFINEMENTS:
        raise unknown("refine", method, REFINEMENTS)
    if method == "none":
        return masks
    if method == "default":
        return clean(masks)
    if masks.ndim != 3:
        raise MaskError(
            f'refine: "published" needs masks with 2 spatial dimensions, got shape {masks.shape}; use --refine default or none'
        )
    return largest_contour(opening(adaptive_threshold(gaussian_blur(masks.astype(np.uint8) * 255))))


def gaussian_blur(images: UInt8[np.ndarray, "B H W"]) -> UInt8[np.ndarray, "B H W"]:
    """Blur images with a Gaussian of sigma 1, as cv2.GaussianBlur(image, (0, 0), 1) does.

    The image is mirrored at its border without repeating the border pixels, and halves are rounded up.
    """
    rows = ndimage.correlate1d(images.astype(np.int64), GAUSS, axis=-1, mode="mirror")
    blurred: NDArray[np.int64] = ndimage.correlate1d(rows, GAUSS, axis=-2, mode="mirror")
    return ((blurred + (1 << 15)) >> 16).astype(np.uint8)


def adaptive_threshold(images: UInt8[np.ndarray, "B H W"]) -> Bool[np.ndarray, "B H W"]:
    """Return True for pixels more than 2 above the rounded mean of 5x5 pixels, as cv2.adaptiveThreshold(..., MEAN_C, BINARY, 5, -2)."""
    ones = np.ones(NEIGHBOURHOOD, np.int64)
    sums: NDArray[np.int64] = ndimage.correlate1d(images.astype(np.int64), ones, axis=-1, mode="nearest")
    sums = ndimage.correlate1d(sums, ones, axis=-2, mode="nearest")
    pixels = NEIGHBOURHOOD**2
    return images.astype(np.int64) - (2 * sums + pixels) // (2 * pixels) > MARGIN


def opening(masks: Bool[np.ndarray, "B H W"]) -> Bool[np.ndarray, "B H W"]:
    """Open masks with a 3x3 ellipse, which is a cross, as cv2.MORPH_OPEN does. Pixels beyond the border have no effect."""
    eroded = ndimage.binary_erosion(masks, CROSS[None], border_value=1)
    opened: NDArray[np.bool_] = ndimage.binary_dilation(eroded, CROSS[None])
    return opened


def largest_contour(masks: Bool[np.ndarray, "B H W"]) -> Bool[np.ndarray, "B H W"]:
    """Return the outer contour with the largest area, filled, as by cv2.findContours(EXTERNAL), contourArea and drawContours(FILLED).

    OpenCV measures the area of the polygon through the centres of the contour's pixels: a square of four neighbours counts 1
    if all are filled, and 1/2 if three are. Of contours with equal areas, the lower one is kept, since OpenCV lists it first.
    """
    pieces = label_pieces(~_outside(label_gaps(masks)))
    # Filled pixels in a square of four neighbours belong to one piece.
    corners = np.stack([pieces[:, :-1, :-1], pieces[:, :-1, 1:], pieces[:, 1:, :-1], pieces[:, 1:, 1:]])
    halves = np.array([0, 0, 0, 1, 2])[(corners > 0).sum(0)]
    areas = np.bincount(corners.max(0).ravel(), halves.ravel(), minlength=pieces.max(initial=0) + 1)
    area = areas[pieces]
    largest = np.where(area == area.max((1, 2), keepdims=True), pieces, 0)
    filled: NDArray[np.bool_] = (pieces > 0) & (pieces == largest.max((1, 2), keepdims=True))
    return filled


def clean(masks: Bool[np.ndarray, "B *S"]) -> Bool[np.ndarray, "B *S"]:
    """Remove pieces smaller than `MIN_PIECE` of the largest and fill holes smaller than `MIN_HOLE` of it, without moving edges.

    A piece includes its holes and any smaller pieces inside them.
    """
    gaps = label_gaps(masks)
    piece = sizes(label_pieces(~_outside(gaps)))
    largest = piece.max(tuple(range(1, masks.ndim)), keepdims=True)
    large = (piece > 0) & (piece >= MIN_PIECE * largest)
    cleaned: NDArray[np.bool_] = large & (masks | (sizes(gaps) < MIN_HOLE * largest))
    return cleaned


def label_pieces(masks: Bool[np.ndarray, "B *S"]) -> Int32[np.ndarray, "B *S"]:
    """Number the pieces of all masks from 1; other pixels are 0. Pixels that touch at a corner belong to the same piece."""
    return _label(masks, masks.ndim - 1)


def label_gaps(masks: Bool[np.ndarray, "B *S"]) -> Int32[np.ndarray, "B *S"]:
    """Number the pieces of the background from 1; pixels of the mask are 0. Pixels are connected only if they share a side."""
    return _label(~masks, 1)


def _label(masks: Bool[np.ndarray, "B *S"], connectivity: int) -> Int32[np.ndarray, "B *S"]:
    # Without neighbours along the batch axis, no piece extends from one mask to the next.
    inside = ndimage.generate_binary_structure(masks.ndim - 1, connectivity)
    labels: NDArray[np.int32] = ndimage.label(masks, np.stack([np.zeros_like(inside), inside, np.zeros_like(inside)]))[
        0
    ]
    return labels


def _outside(gaps: Int32[np.ndarray, "B *S"]) -> Bool[np.ndarray, "B *S"]:
    """Return True for background pixels that are not in a hole: their piece reaches the border, or the mask is one-dimensional."""
    if gaps.ndim == 2:
        return gaps > 0
    reaches_border = np.zeros(gaps.max(initial=0) + 1, bool)
    for axis in range(1, gaps.ndim):
        reaches_border[gaps.take((0, -1), axis)] = True
    reaches_border[0] = False
    return reaches_border.take(gaps)


def sizes(labels: Int32[np.ndarray, "B *S"]) -> Int32[np.ndarray, "B *S"]:
    """Return the number of pixels with the same label as each pixel; 0 where the label is 0."""
    counts = np.bincount(labels.ravel(), minlength=1).astype(np.int32)
    counts[0] = 0
    return counts.take(labels)
