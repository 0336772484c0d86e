"""Decode COCO masks: run-length encodings (RLE) and polygons. pycocotools does not validate RLE, so it is decoded here.

Source of the format: pycocotools, common/maskApi.c (rleFrString, rleFrPoly). Runs alternate between 0 and 1, begin with 0 and go down the
columns.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from smix.untrusted import UnreadableError

MAX_PIXELS = 1 << 26
"""Maximum number of pixels of an image. A mask of this size takes 64 MiB."""
MAX_STEPS = 1 << 24
"""Maximum total length of the polygons of an object, in pixels: pycocotools allocates five times as many points, unchecked."""


def decode_rle(counts: str | Sequence[int], size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """Decode a run-length encoding to a mask (H, W).

    Args:
        counts: Lengths of the runs, or their compressed form.
        size: Height and width.

    Raises:
        UnreadableError: The encoding is invalid or does not have `size[0] * size[1]` pixels.
    """
    runs = _uncompressed(counts) if isinstance(counts, str) else list(counts)
    if any(run < 0 for run in runs) or sum(runs) != size[0] * size[1]:
        raise UnreadableError(f"a run-length encoding of {sum(runs):,} pixels instead of {size[0] * size[1]:,}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, np.array(runs, np.int64)).reshape(size[1], size[0]).T


def _uncompressed(code: str) -> list[int]:
    """Return the runs of a compressed RLE: groups of 5 bits, lowest first; from the fourth run on, differences to the run two before."""
    runs: list[int] = []
    value = shift = 0
    for character in code:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 35:
            raise UnreadableError(f"a run-length encoding that is invalid at {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise UnreadableError("a truncated run-length encoding")
    return runs


def polygon_mask(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """Return the mask (H, W) of the pixels inside any of the polygons, filled as by pycocotools.

    Args:
        polygons: Corners of each polygon as x, y, x, y, ..., in pixels.
        size: Height and width.

    Raises:
        UnreadableError: A polygon has fewer than 3 corners, or corners far outside the image.
    """
    from pycocotools import mask

    budget = float(MAX_STEPS)
    for corners in polygons:
        # For fewer numbers, pycocotools returns an empty mask or raises various errors.
        if len(corners) < 6 or len(corners) % 2:
            raise UnreadableError(f"a polygon of {len(corners)} coordinates instead of an even number, 6 or more")
        points = np.array(corners, np.float64).reshape(-1, 2)
        steps = np.abs(points - np.roll(points, 1, 0)).max(1)
        budget -= math.fsum(steps)
        if not np.abs(points).max() < MAX_STEPS or not budget > 0:
            raise UnreadableError("a polygon with coordinates that are not finite or far outside the image")
    if not polygons:
        return np.zeros(size, bool)
    return np.asarray(mask.decode(mask.merge(mask.frPyObjects([list(corners) for corners in polygons], *size)))).astype(
        bool
    )
