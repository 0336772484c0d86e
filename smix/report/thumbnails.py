"""Small pictures of a data set's images."""

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image

from smix.data.sets import ImageSet
from smix.errors import DataError

GREY = 128


def is_picture(shape: tuple[int, ...]) -> bool:
    """Can an image of this shape be drawn: (H, W, 1) or (H, W, 3), and no signal, volume, or image of other channels?"""
    return len(shape) == 3 and shape[-1] in (1, 3)


def drawable(data: ImageSet) -> bool:
    """Can its images be drawn?"""
    return is_picture((*(data.size or (1, 1)), data.channels))


def thumbnail(data: ImageSet, place: int, side: int) -> UInt8[NDArray, "h w 3"]:
    """An image, shrunk until no side is longer than `side`; a grey square for a file that cannot be read."""
    try:
        image = data.images[place]
    except DataError:
        return np.full((side, side, 3), GREY, np.uint8)
    picture = Image.fromarray(np.broadcast_to(image, (*image.shape[:2], 3)))
    picture.thumbnail((side, side))
    return np.asarray(picture)
