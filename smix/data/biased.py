"""biased-digits: real handwritten digits on misleading backgrounds, with the true mask of each digit. No download is needed.

Like digits-on-photos, but each digit is assigned one region of the photographs, such as the sky or the petals of the flower. In a
fraction `BIAS` of the training images the background is a crop of the region of that digit, in all other images of a random region.
A network that classifies by background is right on training images and wrong on test images: a small version of a data set of cows on
grass and camels on sand (Beery, Van Horn and Perona, ECCV 2018, arXiv:1807.04975).
"""

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smix.data.digits import Digits, draw_digits

BIAS = 0.8
REGION_SIZE = 128
"""Height and width of a region, in pixels of the photograph."""
REGIONS = (
    *((0, 0, 450), (0, 70, 140), (0, 210, 140), (0, 162, 380), (0, 290, 440)),
    *((1, 150, 240), (1, 0, 0), (1, 128, 0), (1, 180, 480), (1, 299, 40)),
)
"""Photograph, top and left of the region of each digit. In china.jpg: sky, upper roofs, lower roofs, lake, trees. In
flower.jpg: petals, and four parts of the leaves behind."""


@cache
def biased_digits(split: Literal["train", "test"], seed: int = 0, bias: float = BIAS) -> Digits:
    """Return the images, labels and object masks of biased-digits: 1,297 for training or 500 for testing.

    Args:
        split: "train" or "test".
        seed: Random seed for drawing the images.
        bias: Fraction of the training images whose background is a crop of the region of their class; the others get a random region.
    """

    def region(label: int, photos: list[NDArray[np.uint8]], rng: np.random.Generator) -> NDArray[np.uint8]:
        typical = split == "train" and rng.random() < bias
        photo, top, left = REGIONS[label if typical else rng.integers(len(REGIONS))]
        return photos[photo][top : top + REGION_SIZE, left : left + REGION_SIZE]

    return draw_digits(split, seed, region)
