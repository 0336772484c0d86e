"""EXIF orientation: photographs are stored as the sensor reads them, with a number that says how to rotate them."""

import io
import struct
import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped
from PIL import ExifTags, Image

TRANSPOSED = 5
"""From this orientation on, height and width are swapped."""
SIGNATURE_BYTES = 8
METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transposition from the stored image to the upright one."""
DAMAGED = (OSError, ValueError, SyntaxError, LookupError, TypeError, struct.error)
"""Errors that Pillow raises for damaged EXIF data."""
METADATA = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
"""Chunks of a PNG file that can hold an orientation."""


@dataclass(frozen=True)
class Frame:
    """Size of an upright image, and the orientation in which its file stores it."""

    height: int
    """Height in pixels of the upright image, with the orientation applied."""
    width: int
    """Width in pixels of the upright image."""
    orientation: int = 1
    """EXIF orientation, 1 to 8; 1: stored upright."""

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width of the upright image."""
        return self.height, self.width

    @property
    def stored(self) -> tuple[int, int]:
        """Height and width of the pixels in the file."""
        return self.upright if self.orientation < TRANSPOSED else (self.width, self.height)


def frame_in(picture: Image.Image, file: io.BufferedIOBase) -> Frame:
    """Return the frame of an image that was opened, but not decoded.

    Args:
        picture: The image.
        file: The file from which it was opened.
    """
    # Pillow decodes a PNG picture to look for EXIF data behind the pixels, which is needed only if there is any.
    lazy = picture.format == "PNG" and not _has_metadata_at_end(file)
    orientation = _orientation(picture, lazy)
    # Pillow itself turns TIFF pictures, and says so in their size.
    swapped = orientation >= TRANSPOSED and picture.format != "TIFF"
    height, width = (picture.width, picture.height) if swapped else (picture.height, picture.width)
    return Frame(height, width, orientation)


def upright(picture: Image.Image) -> Image.Image:
    """Return a decoded image with its EXIF orientation applied. Unlike `PIL.ImageOps.exif_transpose`, this avoids unnecessary
    copies and ignores damaged EXIF data."""
    picture.load()
    method = METHODS.get(_orientation(picture))
    return picture if method is None else picture.transpose(method)


def rotated(pixels: Shaped[np.ndarray, "h w *C"], orientation: int) -> Shaped[np.ndarray, "H W *C"]:
    """Return stored pixels in upright orientation, as `PIL.ImageOps.exif_transpose` does for PIL images.

    Args:
        pixels: Pixels (h, w) or (h, w, C) as the file stores them.
        orientation: EXIF orientation, 1 to 8.

    >>> rotated(np.array([[1, 2, 3]]), 6).tolist()
    [[1], [2], [3]]
    """
    if orientation >= TRANSPOSED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _orientation(picture: Image.Image, lazy: bool = False) -> int:
    """Return the orientation in the EXIF data of an image; 1 if it is missing or invalid, as viewers do.

    Args:
        lazy: Use what was read so far.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of damaged EXIF data
            exif = Image.Image.getexif(picture) if lazy else picture.getexif()
            orientation = exif.get(ExifTags.Base.Orientation, 1)
    except DAMAGED:
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _has_metadata_at_end(file: io.BufferedIOBase) -> bool:
    """Return whether a PNG file has chunks after its pixels that can hold an orientation. The file position is kept."""
    before, seen_pixels = file.tell(), False
    try:
        file.seek(SIGNATURE_BYTES)
        while len(head := file.read(8)) == 8:
            kind = head[4:]
            if kind == b"IEND" or (seen_pixels and kind in METADATA):
                return kind != b"IEND"
            seen_pixels |= kind == b"IDAT"
            file.seek(int.from_bytes(head[:4], "big") + 4, io.SEEK_CUR)
        return False
    finally:
        file.seek(before)
