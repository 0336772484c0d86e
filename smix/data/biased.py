"""biased-digits: real handwritten digits whose backgrounds mislead, with the true mask of each digit. Needs no download.

Like digits-on-photos, but each digit is assigned one region of the photographs, such as the sky or the petals of the flower. In a
fraction `BIAS` of the training images the background is a crop of the region of that digit, in all other images of a random region.
A network that classifies by background is right on training images and wrong on test images: a small version of a data set of cows on
grass and camels on sand (Beery, Van Horn and Perona, ECCV 2018, arXiv:1807.04975).
"""

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smix.data.digits import digits_of, draw_over

BIAS = 0.8
REGION_SIZE = 128
"""Height and width of a region, in pixels of the photograph."""
REGIONS = (
    *((0, 0, 450), (0, 70, 140), (0, 210, 140), (0, 162, 380), (0, 290, 440)),
    *((1, 150, 240), (1, 0, 0), (1, 128, 0), (1, 180, 480), (1, 299, 40)),
)
"""Photograph, top and left of the region of each digit. Of china.jpg: sky, upper roofs, lower roofs, lake, trees. Of
flower.jpg: petals, and four parts of the leaves behind."""


@cache
def biased_digits(
    split: Literal["train", "test"], seed: int = 0, bias: float = BIAS
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """Return images (N, 32, 32, 3), labels (N,) and object masks (N, 32, 32): 1,297 to train and 500 to test.

    Args:
        seed: The same seed gives the same images.
        bias: Fraction of the training images whose background is a crop of the region of their class; the others get a random region.
    """
    from sklearn.datasets import load_digits, load_sample_images

    digits, labels = load_digits(return_X_y=True)
    photos = load_sample_images().images
    regions = [photos[photo][top : top + REGION_SIZE, left : left + REGION_SIZE] for photo, top, left in REGIONS]
    chosen = digits_of(split, seed, len(digits))
    rng = np.random.default_rng((seed, 1 if split == "train" else 2))
    drawn = []
    for digit in chosen:
        typical = split == "train" and rng.random() < bias
        region = labels[digit] if typical else rng.integers(len(regions))
        drawn.append(draw_over(digits[digit], regions[region], rng))
    images, masks = map(np.stack, zip(*drawn, strict=True))
    return images, labels[chosen].astype(np.int64), masks
