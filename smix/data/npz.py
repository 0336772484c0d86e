"""Data sets in one numpy file."""

import math
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
from numpy.typing import NDArray

from smix.arrays import Arrays, open_npz
from smix.data.imageset import MOST_CHANNELS, ImageSet, Split, checked
from smix.errors import DataError
from smix.untrusted import UnreadableError, check_file

MOST_CLASSES = 100_000
"""A larger label in an npz file without class names is a mistake, such as -1 stored without a sign."""


def npz(name: str, place: str, split: Split) -> ImageSet:
    """The arrays x_SPLIT and y_SPLIT, and perhaps mask_SPLIT and classes, of an npz file.

    Images are (N, *S, C) with 1 to 3 spatial dimensions and 1 to 16 channels. An array of three dimensions whose last is
    longer than 16 is (N, H, W): grey images without an axis for the channel. Nothing else is guessed.

    Values other than uint8 (booleans, integers, floats) become uint8: the least value of x_train is 0, its greatest 255,
    linear between and rounded to the nearest, in both splits; what lies outside in x_test is cut off.
    """
    path = Path(place)
    if not path.is_file():
        raise DataError(f"{name}: expected a file {path}, got none; check the path")
    try:
        check_file(path)
    except UnreadableError as error:
        raise DataError(f"{name}: expected a file {path}, got {error}; make it readable") from None
    if not is_zipfile(path):
        raise DataError(
            f"{name}: expected an npz file (a zip of arrays), got another or a cut one; copy or make it again"
        )
    try:
        with open_npz(path) as file:
            if missing := [key for key in (f"x_{split}", f"y_{split}") if key not in file]:
                raise DataError(
                    f"{name}: expected the arrays x_{split} and y_{split}, got no {' and no '.join(missing)}"
                )
            images, labels, value_range = file[f"x_{split}"], file[f"y_{split}"], None
            _check_types(name, file, images)
            if images.dtype != np.uint8:
                value_range = _range(name, images if split == "train" else file["x_train"])
                images = _to_uint8(f"{name} {split}", images, *value_range)
            masks = file.get(f"mask_{split}")
            # Labels of both splits count the classes, so that a class without test images does not change the network.
            classes = [str(text) for text in file["classes"].reshape(-1)] if "classes" in file else None
            others = [file[key].reshape(-1) for key in ("y_train", "y_test") if key in file]
    except UnreadableError as error:
        raise DataError(f"{name}: expected a readable npz file, got {error}; copy or make it again") from None
    if images.ndim == 3 and images.shape[-1] > MOST_CHANNELS:
        images = images[..., None]
    if classes is None:
        last = max((int(y.max()) for y in others if y.size and np.issubdtype(y.dtype, np.integer)), default=-1)
        if last >= MOST_CLASSES:
            raise DataError(f"{name}: expected labels below {MOST_CLASSES}, got {last}; number the classes from 0")
        classes = [str(label) for label in range(last + 1)]
    labels, masks = checked(f"{name} {split}", images, labels, classes, masks)
    return ImageSet(images, labels, tuple(classes), masks, name=name, split=split, value_range=value_range)


def _check_types(name: str, file: Arrays, images: NDArray[Any]) -> None:
    """One split scaled and the other not would be two data sets."""
    if images.dtype.kind not in "buif":
        raise DataError(f"{name}: expected images of numbers, got {images.dtype}; convert them")
    found = {key: file.dtype(key) for key in ("x_train", "x_test") if key in file}
    if len(set(found.values())) > 1:
        types = " and ".join(f"{key} of {dtype}" for key, dtype in found.items())
        raise DataError(f"{name}: expected images of one type, such as uint8, got {types}; convert one")
    if images.dtype != np.uint8 and "x_train" not in found:
        raise DataError(f"{name}: expected x_train, whose range {images.dtype} images are scaled by, got none; add it")


def _range(name: str, train: NDArray[Any]) -> tuple[float, float]:
    """The least and the greatest finite value of the training images."""
    finite = train[np.isfinite(train)]
    if not finite.size:
        raise DataError(f"{name}: expected finite values in x_train, got none; repair them")
    return float(finite.min()), float(finite.max())


def _to_uint8(where: str, images: NDArray[Any], least: float, greatest: float) -> NDArray[np.uint8]:
    if not np.isfinite(images).all():
        raise DataError(f"{where}: expected finite images, got {images.dtype} with NaN or infinity; repair them")
    scale = 255 / (greatest - least) if greatest > least else 0.0
    if not 0 <= scale < math.inf or (greatest > least and scale == 0):
        raise DataError(
            f"{where}: expected a range of values that floats can divide, got {least} to {greatest}; rescale them"
        )
    found = np.empty(images.shape, np.uint8)
    # Image by image: a float64 copy of the whole would be eight times as large as what is made.
    for place in np.ndindex(images.shape[:1]):
        found[place] = np.rint(np.clip((images[place].astype(np.float64) - least) * scale, 0, 255))
    return found
