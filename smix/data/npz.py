"""Data sets in an npz file."""

import math
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
from numpy.typing import NDArray

from smix.arrays import Arrays, open_npz
from smix.data.imageset import MAX_CHANNELS, ImageSet, Split
from smix.errors import DataError
from smix.untrusted import UnreadableError, check_file

MAX_CLASSES = 100_000
"""Maximum number of classes without names: a larger label is a mistake, such as -1 stored as an unsigned integer."""


def load_npz(name: str, place: str, split: Split) -> ImageSet:
    """Load the arrays x_SPLIT and y_SPLIT and, if they exist, mask_SPLIT and classes of an npz file.

    Images are (N, *S, C) with 1 to 3 spatial dimensions and 1 to 16 channels. An array of three dimensions whose last is
    longer than 16 contains grey images (N, H, W) without an axis for the channel.

    Images whose dtype is not uint8 (booleans, integers, floats) are converted to uint8: in both splits, values are scaled
    linearly from the range of x_train to [0, 255] and rounded to the nearest; values of x_test outside that range are
    clipped.

    Args:
        name: Name of the data set.
        place: Path of the file.
        split: "train" or "test".

    Raises:
        DataError: The file is missing or damaged, or an array has a wrong shape, type or value.
    """
    path = Path(place)
    if not path.is_file():
        raise DataError(f"{name}: there is no file {path}; check the path")
    try:
        check_file(path)
    except UnreadableError as error:
        raise DataError(
            f"{name}: {path} cannot be read ({error}); change its permissions or choose another file"
        ) from None
    if not is_zipfile(path):
        raise DataError(
            f"{name}: the file is truncated or not an npz file (a zip archive of arrays); copy or write it again"
        )
    try:
        with open_npz(path) as file:
            if missing := [key for key in (f"x_{split}", f"y_{split}") if key not in file]:
                raise DataError(
                    f"{name}: the file contains no {' and no '.join(missing)}; add the arrays x_{split} and y_{split}"
                )
            images, labels, value_range = file[f"x_{split}"], file[f"y_{split}"], None
            _check_types(name, file, images)
            if images.dtype != np.uint8:
                value_range = _range(name, images if split == "train" else file["x_train"])
                images = _to_uint8(f"{name} {split}", images, *value_range)
            masks = file.get(f"mask_{split}")
            masks = None if masks is None else _to_bool(f"{name}: mask_{split}", masks)
            # The labels of both splits are used, so that a class without test images does not change the number of classes.
            all_labels = [file[key].reshape(-1) for key in ("y_train", "y_test") if key in file]
            classes = [str(text) for text in file["classes"].reshape(-1)] if "classes" in file else None
    except UnreadableError as error:
        raise DataError(f"{name}: the npz file cannot be read ({error}); copy or write it again") from None
    if images.ndim == 3 and images.shape[-1] > MAX_CHANNELS:
        images = images[..., None]
    if classes is None:
        integers = [int(y.max()) for y in all_labels if y.size and np.issubdtype(y.dtype, np.integer)]
        last = max(integers, default=-1)
        if last >= MAX_CLASSES:
            raise DataError(f"{name}: expected labels below {MAX_CLASSES}, got {last}; number the classes from 0")
        classes = [str(label) for label in range(last + 1)]
    return ImageSet(images, labels, tuple(classes), masks, name=name, split=split, value_range=value_range)


def _to_bool(where: str, masks: NDArray[Any]) -> NDArray[np.bool_]:
    """Convert masks of 0 and 1 of any type, or of 0 and 255 as in image files, to bool."""
    if masks.dtype.kind not in "buif":
        raise DataError(f"{where}: expected numbers, got {masks.dtype}; convert them")
    inside: NDArray[np.bool_] = masks != 0
    top = masks.max(initial=0)
    if top not in (0, 1, 255) or not (masks[inside] == top).all():
        values = ", ".join(f"{value:g}" for value in np.unique(masks[: 1 << 10])[:6].astype(float))
        raise DataError(
            f"{where}: expected values 0 and 1, or 0 and 255, got {values}, ...; set the pixels of the object to 1 and all others to 0"
        )
    return inside


def _check_types(name: str, file: Arrays, images: NDArray[Any]) -> None:
    """Check that the images of both splits have the same type, since otherwise only one of them would be scaled."""
    if images.dtype.kind not in "buif":
        raise DataError(f"{name}: expected images with a numeric dtype, got {images.dtype}; convert them")
    types = {key: file.dtype(key) for key in ("x_train", "x_test") if key in file}
    if len(set(types.values())) > 1:
        listed = " and ".join(f"{key} of {dtype}" for key, dtype in types.items())
        raise DataError(f"{name}: both splits need images of the same type, such as uint8, got {listed}; convert one")
    if images.dtype != np.uint8 and "x_train" not in types:
        raise DataError(
            f"{name}: the file contains no x_train, but its range is needed to scale {images.dtype} images; add it"
        )


def _range(name: str, train: NDArray[Any]) -> tuple[float, float]:
    """Return the smallest and the largest finite value in the training images."""
    finite = train[np.isfinite(train)]
    if not finite.size:
        raise DataError(f"{name}: x_train contains no finite values; correct them")
    return float(finite.min()), float(finite.max())


def _to_uint8(where: str, images: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    if not np.isfinite(images).all():
        raise DataError(f"{where}: the images ({images.dtype}) contain NaN or infinity; replace these values")
    scale = 255 / (high - low) if high > low else 0.0
    if not 0 <= scale < math.inf or (high > low and scale == 0):
        raise DataError(f"{where}: the range of values, {low} to {high}, is too small or too large; rescale the images")
    scaled = np.empty(images.shape, np.uint8)
    # Image by image, since a float64 copy of all images would be eight times as large as the result.
    for place in np.ndindex(images.shape[:1]):
        scaled[place] = np.rint(np.clip((images[place].astype(np.float64) - low) * scale, 0, 255))
    return scaled
