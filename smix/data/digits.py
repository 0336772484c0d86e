"""digits-on-photos: real handwritten digits over real photographs, with the true mask of each digit. No download is needed.

The digits are scikit-learn's (UCI ML hand-written digits, 1,797 images of 8x8 pixels with 17 levels), enlarged to 20 to 28
pixels, given one bright colour each and laid over random 32x32 crops of scikit-learn's two sample photographs (china.jpg,
flower.jpg), which are dimmed so that every digit can be seen. Each digit is used once, and train and test share none. The
photographs are
shared: the background says nothing about the digit.
"""

from collections.abc import Callable
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray

SIDE = 32
DIGIT_SIDES = (20, 28)
TEST_DIGITS = 500
DIMMED = 0.5
MIN_COLOUR = 160
"""Minimum channel value of a digit's colour."""
MIN_INK = 0.5
"""Ink above this value belongs to the mask: there the digit hides more than half of the photograph."""

Digits = tuple[UInt8[np.ndarray, "N 32 32 3"], Int[np.ndarray, "N"], Bool[np.ndarray, "N 32 32"]]


@cache
def digits_on_photos(split: Literal["train", "test"], seed: int = 0) -> Digits:
    """Return the images, labels and object masks of digits-on-photos: 1,297 for training or 500 for testing.

    Args:
        split: "train" or "test".
        seed: Random seed for drawing the images.
    """

    def photo(label: int, photos: list[NDArray[np.uint8]], rng: np.random.Generator) -> NDArray[np.uint8]:
        return photos[rng.integers(len(photos))]

    return draw_digits(split, seed, photo)


def draw_digits(
    split: Literal["train", "test"],
    seed: int,
    choose: Callable[[int, list[NDArray[np.uint8]], np.random.Generator], NDArray[np.uint8]],
) -> Digits:
    """Draw the digits of a split over photographs.

    Args:
        split: "train" or "test"; they share no digit.
        seed: Random seed for drawing the images.
        choose: Function of the label, the photographs and a random generator that returns the background of an image, (H, W, 3).

    Returns:
        The images, labels and masks.
    """
    from sklearn.datasets import load_digits, load_sample_images

    digits, labels = load_digits(return_X_y=True)
    photos = load_sample_images().images
    order = np.random.default_rng((seed, 0)).permutation(len(digits))
    order = order[:TEST_DIGITS] if split == "test" else order[TEST_DIGITS:]
    rng = np.random.default_rng((seed, 1 if split == "train" else 2))
    drawn = [_draw_over(digits[digit], choose(int(labels[digit]), photos, rng), rng) for digit in order]
    images, masks = map(np.stack, zip(*drawn, strict=True))
    return images, labels[order].astype(np.int64), masks


def _draw_over(
    digit: Float[np.ndarray, "64"], photo: UInt8[np.ndarray, "H W 3"], rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "32 32 3"], Bool[np.ndarray, "32 32"]]:
    """Draw a digit with ink in [0, 16] over a random crop of a photograph, and return the image and the mask."""
    from PIL import Image

    # A crop of 32 to 128 pixels, shrunk to 32: photographs at several scales.
    side = int(rng.integers(SIDE, 4 * SIDE + 1))
    top, left = rng.integers(photo.shape[0] - side + 1), rng.integers(photo.shape[1] - side + 1)
    crop = Image.fromarray(photo[top : top + side, left : left + side])
    background = DIMMED * np.asarray(crop.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)

    size = int(rng.integers(DIGIT_SIDES[0], DIGIT_SIDES[1] + 1))
    grey = Image.fromarray((digit.reshape(8, 8) * (255 / 16)).astype(np.uint8))
    enlarged = np.asarray(grey.resize((size, size), Image.Resampling.BICUBIC), np.float64)
    ink = np.zeros((SIDE, SIDE))
    down, right = rng.integers(SIDE - size + 1, size=2)
    # Scaled by 1.5 and clipped to 1, so that strokes are as opaque as those of a pen.
    ink[down : down + size, right : right + size] = np.minimum(1.5 / 255 * enlarged, 1)
    colour = rng.integers(MIN_COLOUR, 256, size=3)
    image = np.rint(background + ink[..., None] * (colour - background)).astype(np.uint8)
    return image, ink > MIN_INK
