"""Transform masks to the upright frame of their images, as the EXIF orientation of a photograph says.

Programs that read EXIF data write masks of the upright image, other programs write masks of the pixels as the file stores
them. The sizes distinguish them for images that are rotated by 90 degrees; for mirrored, upside-down and square ones only the
user knows.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from smix.data.orientation import TRANSPOSED, Frame, rotated
from smix.data.pictures import Pictures
from smix.data.sets import ImageSet
from smix.errors import MaskError

MaskFrame = Literal["upright", "stored"]
"""Masks fit their images as viewers show them, or the pixels as the files store them."""
ASPECT_TOLERANCE = 0.01
"""Maximum relative difference between the aspect ratios of a mask and its image, unless it is one pixel."""
MIN_SIDE = 16
"""Minimum height and width of a mask and its image for the tolerance of one pixel: a mask of 4x4 pixels would fit nearly any image."""
IMAGES_PER_TASK = 64


def placement(
    size: tuple[int, int], frame: Frame, mask_frame: MaskFrame | None = None
) -> MaskFrame | Literal["unclear", "neither"]:
    """Return the frame that a mask was made in.

    Args:
        size: Height and width of the mask.
        frame: Frame of the image.
        mask_frame: Frame of all masks, if the user said which it is.

    Returns:
        "unclear" if the size fits both frames, "neither" if it fits none, or not `mask_frame`.

    >>> photograph = Frame(400, 300, orientation=6)
    >>> placement((400, 300), photograph), placement((150, 200), photograph), placement((300, 300), photograph)
    ('upright', 'stored', 'neither')
    >>> placement((400, 300), Frame(400, 300, orientation=3))
    'unclear'
    """
    fits_upright, fits_stored = same_aspect(size, frame.upright), same_aspect(size, frame.stored)
    if frame.orientation == 1:
        return "upright" if fits_upright else "neither"
    if mask_frame is not None:
        return mask_frame if (fits_upright if mask_frame == "upright" else fits_stored) else "neither"
    if fits_upright and fits_stored:
        if frame.upright != frame.stored and size in (frame.upright, frame.stored):  # nearly square: equal sizes decide
            return "upright" if size == frame.upright else "stored"
        return "unclear"
    return "upright" if fits_upright else "stored" if fits_stored else "neither"


def same_aspect(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether two sizes have the same aspect ratio, within 1 % or, from `MIN_SIDE` pixels on, a pixel of the coarser one."""
    (h, w), (height, width) = size, other
    difference = abs(h * width - w * height)
    pixel = max(size + other) if min(size + other) >= MIN_SIDE else 0
    return difference <= max(ASPECT_TOLERANCE * max(h * width, w * height), pixel)


def frame_of_image(data: ImageSet, image: int) -> Frame:
    """Return the frame of an image. Images in memory are upright.

    Raises:
        MaskError: The header of its file cannot be read.
    """
    if not isinstance(data.images, Pictures):
        height, width = data.images.shape[1:3]
        return Frame(height, width)
    frame = data.images.frame(data.images.names[image])
    if frame is None:
        raise MaskError(f"{data.images.names[image]}: the image cannot be read; replace it")
    return frame


def name_of_image(data: ImageSet, image: int) -> str:
    """Return the name of an image in messages: its path from the folder of the images, or its row."""
    return str(data.images.names[image]) if isinstance(data.images, Pictures) else data.stem(image)


def upright_size(
    mask: Frame,
    data: ImageSet,
    image: int,
    mask_frame: MaskFrame | None,
    exported_size: tuple[int, int] | None,
) -> tuple[int, int] | None:
    """Return the size of a mask in the frame of the upright image. None: it does not fit the image.

    Args:
        mask: Frame of the file of the mask.
        data: The data set.
        image: The image of the mask.
        mask_frame: Frame of all masks. None: determined from their sizes.
        exported_size: Size of masks that are always upright. None: there are none.
    """
    if mask.upright == exported_size:
        return mask.upright
    frame = frame_of_image(data, image)
    match placement(mask.upright, frame, mask_frame if mask.orientation == 1 else "upright"):
        case "neither":
            return None
        case "stored" if frame.orientation >= TRANSPOSED:
            return mask.width, mask.height
        case _:
            return mask.upright


def in_upright_frame(
    numbers: UInt8[np.ndarray, "h w"], data: ImageSet, image: int, mask_frame: MaskFrame | None, mask: str
) -> UInt8[np.ndarray, "H W"]:
    """Return a class map in the frame of the upright image, without changing its resolution.

    Args:
        numbers: The class map as its file has it.
        data: The data set.
        image: The image of the mask.
        mask_frame: Frame of the mask. None: determined from its size.
        mask: Name of the file of the mask in messages.

    Raises:
        MaskError: The mask fits neither frame, not the given one, or both.
    """
    size, frame, picture = (numbers.shape[0], numbers.shape[1]), frame_of_image(data, image), name_of_image(data, image)
    match placement(size, frame, mask_frame):
        case "upright":
            return numbers
        case "stored":
            return rotated(numbers, frame.orientation)
        case "unclear":
            raise MaskError(
                f"{mask}: the size does not determine the frame of the mask of {_unclear(picture, frame)}; pass --mask-frame"
            )
        case "neither":
            raise MaskError(_misfit(size, frame, mask_frame, mask, picture))


def check_frames(
    folder: str, data: ImageSet, mask_size: Callable[[int], tuple[int, int] | None], mask_frame: MaskFrame | None
) -> None:
    """Check before a build that the frame of every mask is known.

    Args:
        folder: Name of the source in messages.
        data: The whole split.
        mask_size: Function that returns the size of the mask of an image that is stored rotated or mirrored. None: there is no mask,
            or its frame is known.
        mask_frame: Frame of all masks. None: determined from their sizes.

    Raises:
        MaskError: The sizes of some masks fit both frames.
    """
    if mask_frame is not None or not isinstance(data.images, Pictures):
        return
    pictures = data.images

    def unclear(start: int) -> list[tuple[int, Frame]]:
        found = []
        for image in range(start, min(start + IMAGES_PER_TASK, len(data))):
            frame = pictures.frame(pictures.names[image])
            if frame is None or frame.orientation == 1 or (size := mask_size(image)) is None:
                continue
            if placement(size, frame) == "unclear":
                found.append((image, frame))
        return found

    with ThreadPoolExecutor() as pool:
        matters = [one for part in pool.map(unclear, range(0, len(data), IMAGES_PER_TASK)) for one in part]
    if matters:
        image, frame = matters[0]
        raise MaskError(
            f"{folder}: for {len(matters):,} of {len(data):,} images the size of the mask does not determine its frame, such as "
            f"{_unclear(pictures.names[image], frame)}; pass --mask-frame upright if the masks fit the images as viewers show them, "
            "or --mask-frame stored if they fit the pixels as the files store them"
        )


def _unclear(picture: str, frame: Frame) -> str:
    kind = (
        "square, rotated"
        if frame.orientation >= TRANSPOSED
        else "upside down"
        if frame.orientation == 3
        else "mirrored"
    )
    return f"{picture} ({kind}, EXIF orientation {frame.orientation})"


def _misfit(size: tuple[int, int], frame: Frame, mask_frame: MaskFrame | None, mask: str, picture: str) -> str:
    sizes = f"{_shown(frame.upright)} pixels"
    if mask_frame == "stored":
        sizes = f"{_shown(frame.stored)} pixels as stored"
    elif frame.orientation >= TRANSPOSED:
        sizes += " upright" if mask_frame else f" upright or {_shown(frame.stored)} as stored"
    return f"{mask}: the mask has {_shown(size)} pixels, not the aspect ratio of its image {picture} ({sizes})"


def _shown(size: tuple[int, int]) -> str:
    """Return a size as image viewers show it: width x height."""
    return f"{size[1]}x{size[0]}"
