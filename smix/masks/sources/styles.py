"""Read segmentations stored as image files, and determine the meaning of their pixel values."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from smix.data.orientation import upright
from smix.data.pictures import UNREADABLE, open_picture
from smix.errors import MaskError
from smix.untrusted import UnreadableError, one_line, open_file, read_text

Style = Literal["binary", "classes", "panoptic", "cityscapes", "trimap", "coco"]
UNKNOWN = 255
"""Class number of pixels without annotation in PASCAL VOC masks."""
VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
CLASSES = "classes.txt"


class MaskPicture(NamedTuple):
    """Pixel values of a mask image. If it has a palette, they are indices, not colours."""

    numbers: UInt8[np.ndarray, "H W *C"]
    """Pixel values, (H, W) or (H, W, 3)."""
    palette: UInt8[np.ndarray, "256 3"] | None
    """Colour of each index. None: the image has no palette."""


def read_mask_picture(path: Path) -> MaskPicture:
    """Read a mask image, upright if it has an EXIF orientation.

    Raises:
        MaskError: The file cannot be read, or has values above 255.
    """
    try:
        with open_file(path) as file, open_picture(file) as opened:
            picture = upright(opened)
            if picture.mode in ("RGBA", "LA"):  # image editors add an alpha channel
                return MaskPicture(np.asarray(picture.convert("RGB" if picture.mode == "RGBA" else "L")), None)
            values = np.asarray(picture)
            if picture.mode not in ("1", "L", "P", "RGB") and (
                values.ndim != 2 or values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255
            ):
                raise ValueError(f"mode {picture.mode} with values up to {values.max()}")
            palette = None
            if picture.mode == "P":
                palette = np.zeros((256, 3), np.uint8)
                colours = picture.getpalette() or []
                palette.flat[: len(colours)] = colours
            return MaskPicture(values.astype(np.uint8), palette)  # 16-bit pictures have small values here
    except UNREADABLE as error:
        raise MaskError(f"{path.name}: expected a readable image, got {one_line(error)}") from None


def numbers_in(path: Path, style: Style, count: int) -> UInt8[np.ndarray, "H W"]:
    """Return the class of each pixel of a mask image, 0 for background and unknown pixels.

    Args:
        path: The image file.
        style: Any style but "panoptic" and "coco".
        count: Number of classes, the background included.

    Raises:
        MaskError: The image cannot be read, or contains values that the style does not allow.
    """
    numbers, palette = read_mask_picture(path)
    grey = _grey(numbers if style != "binary" or palette is None else _black_and_white(numbers, palette))
    if grey is None:
        raise MaskError(f"{path.name}: style {style} needs one channel, but the image has colours")
    maximum = int(grey.max())
    if style == "binary":
        if 1 < maximum < 128:
            raise MaskError(
                f"{path.name}: style binary needs values 0 and 1, or 0 and 255, got a maximum of {maximum}; choose another "
                "--style, such as classes"
            )
        if maximum == UNKNOWN and set(np.unique(grey).tolist()) - {0, UNKNOWN} == {1}:
            raise MaskError(
                f"{path.name}: style binary needs values 0 and 1, or 0 and 255, got 1 and 255; choose --style classes if 255 is unknown"
            )
        return (grey >= (128 if maximum > 1 else 1)).astype(np.uint8)
    if style == "trimap":
        if maximum > 3:
            raise MaskError(f"{path.name}: style trimap needs values from 1 to 3, got {maximum}")
        inside: NDArray[np.bool_] = grey == 1
        return inside.astype(np.uint8)
    classes = np.where(grey == UNKNOWN, 0, grey).astype(np.uint8)
    if (maximum := int(classes.max())) >= count:
        raise MaskError(f"{path.name}: expected classes below {count}, got {maximum}")
    return classes


def style_of(folder: Path, paths: list[Path]) -> Style:
    """Determine the style of the mask images in a folder from some of them.

    Raises:
        MaskError: The style is ambiguous, or no image can be read.
    """
    if any(path.stem.endswith("_labelIds") for path in paths):
        return "cityscapes"
    pictures = _readable(paths)
    greys = [_grey(picture.numbers) for picture in pictures]
    each = [set(np.unique(grey).tolist()) for grey in greys if grey is not None]
    values: set[int] = set().union(*each)
    coloured = any(grey is None for grey in greys)
    # Some files may have 0 and 1 and others 0 and 255. Unknown pixels (255) surround objects, so a file would have both.
    if not coloured and all(found <= {0, 1} or found <= {0, UNKNOWN} for found in each):
        return "binary"
    looks_like_classes = values <= {0, 1, UNKNOWN} or (folder / CLASSES).is_file()
    if not coloured and (looks_like_classes or all(picture.palette is not None for picture in pictures)):
        return "classes"
    problem = f"{folder}: the style of the masks cannot be determined from their"
    if coloured:
        raise MaskError(
            f"{problem} colours; save them as grey pictures, or pass --style panoptic with COCO's JSON file"
        )
    raise MaskError(
        f"{problem} values {', '.join(map(str, sorted(values)[:6]))}; pass --style binary if bright pixels are object, classes if they are "
        "numbers of classes, or trimap or cityscapes"
    )


def class_names(folder: Path, paths: list[Path]) -> tuple[str, ...]:
    """Return the names of classes 0, 1, 2, ... in mask images.

    They are read from classes.txt. Without it, they are those of PASCAL VOC if all images have a palette and no larger
    numbers, otherwise the numbers themselves.

    Raises:
        MaskError: classes.txt cannot be used, or no image can be read.
    """
    if (file := folder / CLASSES).is_file():
        try:
            names = tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
        except UnreadableError as error:
            raise MaskError(f"{file}: expected class names, one per line, got {error}; correct the file") from None
        if not 2 <= len(names) <= UNKNOWN:
            raise MaskError(
                f"{file}: expected 2 to {UNKNOWN} names, one per line, the background first, got {len(names)}; correct the file"
            )
        return names
    pictures = _readable(paths)
    maximum = max(int(numbers[numbers != UNKNOWN].max(initial=0)) for numbers, _ in pictures)
    if maximum < len(VOC) and all(picture.palette is not None for picture in pictures):
        return VOC
    return ("background", *map(str, range(1, UNKNOWN)))


def _readable(paths: list[Path]) -> list[MaskPicture]:
    """Return the mask images that can be read. Raises MaskError if there are none."""
    pictures, errors = [], []
    for path in paths:
        try:
            pictures.append(read_mask_picture(path))
        except MaskError as error:
            errors.append(error)
    if not pictures:
        raise errors[-1]
    return pictures


def _grey(numbers: UInt8[np.ndarray, "H W *C"]) -> UInt8[np.ndarray, "H W"] | None:
    """Return a single channel if the image is grey, even if it is stored as RGB. None: the image has colours."""
    if numbers.ndim == 2:
        return numbers
    return numbers[..., 0] if (numbers == numbers[..., :1]).all() else None


def _black_and_white(
    numbers: UInt8[np.ndarray, "H W"], palette: UInt8[np.ndarray, "256 3"]
) -> UInt8[np.ndarray, "H W"]:
    """Return 0 for black and 255 for white if the image uses no other colours of its palette; otherwise the indices."""
    used = palette[np.unique(numbers)]
    return palette[numbers][..., 0] if np.isin(used, (0, 255)).all() and (used == used[:, :1]).all() else numbers
