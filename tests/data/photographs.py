"""Photographs that are stored rotated or mirrored, as cameras do."""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

UPRIGHT = (90, 120)
"""Height and width in pixels."""
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""Transposition from the upright picture to the stored one: the inverse of that which viewers apply."""


@cache
def photograph(size: tuple[int, int] = UPRIGHT) -> np.ndarray:
    """Return a part of one of scikit-learn's photographs, upright."""
    return np.ascontiguousarray(load_sample_image("china.jpg")[100 : 100 + size[0], 150 : 150 + size[1]])


def as_stored(picture: Image.Image, orientation: int) -> Image.Image:
    """Return an upright picture as a file of this orientation stores it."""
    return picture if orientation == 1 else picture.transpose(STORED[orientation])


def save_photograph(path: Path, orientation: int, size: tuple[int, int] = UPRIGHT, tag: int | None = None) -> Path:
    """Save the photograph with an EXIF orientation; `tag` replaces the number in the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation if tag is None else tag
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    as_stored(Image.fromarray(photograph(size)), orientation).save(path, exif=exif, quality=95, **lossless)
    return path
