"""digits-on-photos: real handwritten digits over real photographs, with the true mask of each digit. Needs no download.

The digits are scikit-learn's (UCI ML hand-written digits, 1,797 of 8x8, 17 levels), enlarged to 20 to 28 pixels, given one
bright colour each and laid over random 32x32 crops of scikit-learn's two sample photographs (china.jpg, flower.jpg), which
are dimmed so that every digit can be seen. Each digit is used once, and train and test share none. The photographs are
shared: what is behind a digit says nothing about it.
"""

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SIDE = 32
SIZES = (20, 28)
TEST_DIGITS = 500
DIMMED = 0.5
DARKEST = 160
"""Least value of a colour's channels."""
OBJECT_FROM = 0.5
"""Ink above this belongs to the mask: at that point the digit covers half of the photograph."""


@cache
def digits_on_photos(
    split: Literal["train", "test"], seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """Images (N, 32, 32, 3), labels (N,) and object masks (N, 32, 32): 1,297 to train and 500 to test; the same for the
    same seed."""
    from sklearn.datasets import load_digits, load_sample_images

    digits, labels = load_digits(return_X_y=True)
    photos = load_sample_images().images
    chosen = digits_of(split, seed, len(digits))
    rng = np.random.default_rng((seed, 1 if split == "train" else 2))
    drawn = [draw_over(digits[digit], photos[rng.integers(len(photos))], rng) for digit in chosen]
    images, masks = map(np.stack, zip(*drawn, strict=True))
    return images, labels[chosen].astype(np.int64), masks


def digits_of(split: Literal["train", "test"], seed: int, count: int) -> NDArray[np.int64]:
    """Return which of `count` digits belong to a split, in a random order; train and test share none."""
    order = np.random.default_rng((seed, 0)).permutation(count)
    return order[:TEST_DIGITS] if split == "test" else order[TEST_DIGITS:]


def draw_over(
    digit: NDArray[np.float64], photo: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw a digit over a random crop of a photograph.

    Args:
        digit: Ink of the 64 pixels of a digit, 0 to 16.
        photo: (H, W, 3), at least 128 pixels high and wide.

    Returns:
        The image (32, 32, 3) and the mask of the digit (32, 32).
    """
    from PIL import Image

    # A crop of 32 to 128 pixels, shrunk to 32: photographs at several scales.
    side = int(rng.integers(SIDE, 4 * SIDE + 1))
    top, left = rng.integers(photo.shape[0] - side + 1), rng.integers(photo.shape[1] - side + 1)
    crop = Image.fromarray(photo[top : top + side, left : left + side])
    background = DIMMED * np.asarray(crop.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)

    size = int(rng.integers(SIZES[0], SIZES[1] + 1))
    enlarged = Image.fromarray((digit.reshape(8, 8) * (255 / 16)).astype(np.uint8)).resize(
        (size, size), Image.Resampling.BICUBIC
    )
    ink = np.zeros((SIDE, SIDE))
    down, right = rng.integers(SIDE - size + 1, size=2)
    # Half as much again, up to full: strokes as solid as those of a pen.
    ink[down : down + size, right : right + size] = np.minimum(1.5 / 255 * np.asarray(enlarged, np.float64), 1)
    colour = rng.integers(DARKEST, 256, size=3)
    image = np.rint(background + ink[..., None] * (colour - background)).astype(np.uint8)
    return image, ink > OBJECT_FROM
