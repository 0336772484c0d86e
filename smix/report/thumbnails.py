"""Small pictures of a data set's images."""

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image

from smix.data.sets import ImageSet
from smix.errors import DataError

GREY = 128


def thumbnail(data: ImageSet, place: int, side: int) -> UInt8[NDArray, "h w 3"]:
    """An image, shrunk until no side is longer than `side`; a grey square for a file that cannot be read."""
    try:
        image = data.images[place]
    except DataError:
        return np.full((side, side, 3), GREY, np.uint8)
    picture = Image.fromarray(np.broadcast_to(image, (*image.shape[:2], 3)))
    picture.thumbnail((side, side))
    return np.asarray(picture)
