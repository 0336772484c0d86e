"""Read the pictures of segmentations, and find out which number means what."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smix.data.pictures import UNREADABLE, open_picture
from smix.errors import MaskError
from smix.untrusted import UnreadableError, one_line, open_file, read_text

Style = Literal["binary", "classes", "panoptic", "cityscapes", "trimap", "coco"]
UNKNOWN = 255
"""The class of pixels that nobody decided on, in VOC's pictures."""
VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
CITYSCAPES = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road"),
    *("sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole"),
    *("polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck"),
    *("bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
)
FIRST_WITH_INSTANCES = CITYSCAPES.index("person")
CLASSES = "classes.txt"


class Picture(NamedTuple):
    """Content of a picture: numbers, not colours, where it has a palette."""

    numbers: NDArray[np.uint8]
    """(H, W) or (H, W, 3)."""
    palette: NDArray[np.uint8] | None
    """(256, 3) colours of the numbers."""


def read_picture(path: Path) -> Picture:
    """Raises MaskError if it cannot be read."""
    try:
        with open_file(path) as opened, open_picture(opened) as picture:
            if picture.mode in ("RGBA", "LA"):  # as editors write them
                return Picture(np.asarray(picture.convert("RGB" if picture.mode == "RGBA" else "L")), None)
            values = np.asarray(picture)
            if picture.mode not in ("1", "L", "P", "RGB") and (
                values.ndim != 2 or values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255
            ):
                raise ValueError(f"mode {picture.mode} with values up to {values.max()}")
            palette = None
            if picture.mode == "P":
                colours = picture.getpalette() or []
                palette = np.array(colours + [0] * (768 - len(colours)), np.uint8).reshape(256, 3)
            return Picture(values.astype(np.uint8), palette)  # also 16 bits, of small numbers
    except UNREADABLE as error:
        raise MaskError(f"{path.name}: expected a readable picture, got {one_line(error)}") from None


def numbers_in(path: Path, style: Style, count: int) -> NDArray[np.uint8]:
    """The class of each pixel, 0 for none and for unknown; not of panoptic pictures.

    Args:
        count: How many classes there are, with the background.

    Raises:
        MaskError: the picture cannot be read, or holds what the style does not have.
    """
    numbers, palette = read_picture(path)
    grey = _grey(numbers if style != "binary" or palette is None else _by_colour(numbers, palette))
    if grey is None:
        raise MaskError(f"{path.name}: expected one channel for style {style}, got colours")
    most = int(grey.max())
    if style == "binary":
        if 1 < most < 128:
            raise MaskError(f"{path.name}: expected 0 and 1, or 0 and 255, for style binary, got {most}")
        return (grey >= (128 if most > 1 else 1)).astype(np.uint8)
    if style == "trimap":
        if most > 3:
            raise MaskError(f"{path.name}: expected 1 to 3 for style trimap, got {most}")
        return (grey == 1).astype(np.uint8)
    numbers = np.where(grey == UNKNOWN, 0, grey).astype(np.uint8)
    if (most := int(numbers.max())) >= count:
        raise MaskError(f"{path.name}: expected classes below {count}, got {most}")
    return numbers


def style_of(folder: Path, paths: list[Path]) -> Style:
    """Told from some pictures of a folder. Raises MaskError if it cannot be."""
    if any(path.stem.endswith("_labelIds") for path in paths):
        return "cityscapes"
    pictures = _readable(paths)
    greys = [_grey(picture.numbers) for picture in pictures]
    values: set[int] = set().union(*(np.unique(grey).tolist() for grey in greys if grey is not None))
    coloured = any(grey is None for grey in greys)
    if not coloured and (values <= {0, 1} or values <= {0, 255}):
        return "binary"
    named = values <= {0, 1, UNKNOWN} or (folder / CLASSES).is_file()
    if not coloured and (named or all(picture.palette is not None for picture in pictures)):
        return "classes"
    shown = "colours" if coloured else f"values {', '.join(map(str, sorted(values)[:6]))}"
    raise MaskError(
        f"{folder}: expected masks whose style can be told from them, got {shown}; give --style classes, trimap, cityscapes, "
        "binary or panoptic"
    )


def class_names(folder: Path, paths: list[Path]) -> tuple[str, ...]:
    """Return the names of the classes in pictures, from 0: those of classes.txt, or VOC's for VOC's palette and numbers, or the numbers."""
    if (file := folder / CLASSES).is_file():
        try:
            names = tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
        except UnreadableError as error:
            raise MaskError(f"{file}: expected names of classes, one a line, got {error}; correct it") from None
        if not 2 <= len(names) <= UNKNOWN:
            raise MaskError(
                f"{file}: expected 2 to {UNKNOWN} names, one a line, the background's first, got {len(names)}; correct it"
            )
        return names
    pictures = _readable(paths)
    most = max(int(numbers[numbers != UNKNOWN].max(initial=0)) for numbers, _ in pictures)
    if most < len(VOC) and all(picture.palette is not None for picture in pictures):
        return VOC
    return ("background", *map(str, range(1, UNKNOWN)))


def size_of(path: Path) -> tuple[int, ...] | None:
    """Height and width by the header; None: it cannot be read."""
    try:
        with open_file(path) as opened, open_picture(opened) as picture:
            return picture.height, picture.width
    except UNREADABLE:
        return None


def _readable(paths: list[Path]) -> list[Picture]:
    """Return the pictures that can be read. Raises MaskError if there is none."""
    pictures = []
    for path in paths:
        try:
            pictures.append(read_picture(path))
        except MaskError:
            if not pictures and path is paths[-1]:
                raise
    return pictures


def _grey(numbers: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """One channel, also where an editor made three equal ones of it; None: these are colours."""
    if numbers.ndim == 2:
        return numbers
    return numbers[..., 0] if (numbers == numbers[..., :1]).all() else None


def _by_colour(numbers: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Black and white as such, in whatever order an editor put them into the palette; other palettes by number."""
    used = palette[np.unique(numbers)]
    return palette[numbers][..., 0] if np.isin(used, (0, 255)).all() and (used == used[:, :1]).all() else numbers
