"""Split images into training and test images by a hash of their paths, and write a split as a CSV file."""

import csv
import hashlib
import io
import math
import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray

from smix import files
from smix.data.image_files import ImageFiles
from smix.data.imageset import ImageSet
from smix.errors import DataError, OptionError

TEST_FRACTION = 0.2
SPREAD = 0.5
"""Minimum and maximum number of test images in a class, relative to the fraction."""


def draw_keys(paths: Sequence[str], labels: Sequence[str]) -> NDArray[np.object_]:
    """Return the key that the split of each image is drawn by: its class, and its path below the folder of this class.

    The key depends neither on the folder in which the data set lies nor on how it is listed, so that `folder:` and `csv:` draw
    the same split. An image in no folder that is called like its class has its path below the common folder of all images.

    Args:
        paths: Path of each image with "/", all absolute or all relative to one folder.
        labels: Name of the class of each image.

    >>> draw_keys(["birds/train/cat/old/1.jpg", "birds/train/dog/2.jpg"], ["cat", "dog"]).tolist()
    ['cat/old/1.jpg', 'dog/2.jpg']
    """
    common = posixpath.commonpath({posixpath.dirname(path) for path in paths}) if paths else ""
    start = len(common.rstrip("/")) + 1 if common else 0
    keys = np.empty(len(paths), object)
    for place, (path, label) in enumerate(zip(paths, labels, strict=True)):
        inner = path[start:]
        keys[place] = f"{label}/{f'/{inner}'.partition(f'/{label}/')[2] or inner}"
    return keys


def draw_test(
    paths: NDArray[np.object_], labels: Int[np.ndarray, "N"], fraction: float = TEST_FRACTION, seed: int = 0
) -> Bool[np.ndarray, "N"]:
    """Draw the test images of a data set that has none.

    An image is a test image if the sha256 of seed and key, read as a number in [0, 1), is below `fraction`. In each class, the
    number of test images is kept between 0.5 and 1.5 times the expected number, and at least one, by moving the images that
    are nearest to the bound. Images that are added later can therefore move a few others of their class.

    Args:
        paths: Key of each image: see `draw_keys`.
        labels: Class of each image.
        fraction: Fraction of test images, in (0, 1).
        seed: Random seed for the split.

    Returns:
        True for test images.

    Raises:
        OptionError: `fraction` is out of range.
        DataError: A class has a single image.

    >>> paths = np.array([f"cat/{number}.jpg" for number in range(100)], object)
    >>> int(draw_test(paths, np.zeros(100, np.int64)).sum())
    12
    """
    if not 0 < fraction < 1:
        raise OptionError(f"test_fraction: expected a fraction between 0 and 1, got {fraction}")
    draws = np.array([_number(f"{seed}/{path}") for path in paths])
    test = draws < fraction
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2:
            raise DataError(
                f"{paths[rows[0]]}: this is the only image of its class, so that no test image can be drawn; "
                "add images, or define the split"
            )
        share = fraction * len(rows)
        least = max(1, math.floor(SPREAD * share))
        most = max(least, min(len(rows) - 1, math.ceil((2 - SPREAD) * share)))
        count = min(max(int(test[rows].sum()), least), most)
        test[rows] = False
        test[rows[np.argsort(draws[rows], kind="stable")[:count]]] = True
    return test


@dataclass(frozen=True, eq=False)
class SplitPart:
    """Files of images with their labels."""

    files: ImageFiles
    labels: tuple[str, ...]
    """Name of the class of each image."""

    @classmethod
    def of(cls, data: ImageSet) -> "SplitPart":
        """Return the files of a data set. Raises DataError if its images are not in files."""
        if data.files is None:
            raise DataError(f"{data.name}: only images in files have a split that can be written; use folder: or csv:")
        return cls(data.files, tuple(data.classes[label] for label in data.labels))


def write_split(out: Path, parts: Mapping[str, SplitPart]) -> None:
    """Write a split as lines `path,label,split` for `csv:FILE`, with paths relative to the folder of the file.

    Args:
        out: CSV file.
        parts: Image files by split: "train", "val" or "test".

    Raises:
        RunError: The file cannot be written.
    """
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("path", "label", "split"))
    folder = out.resolve().parent
    for split, part in parts.items():
        home = os.path.relpath(part.files.root.resolve(), folder)
        for path, label in zip(part.files.paths, part.labels, strict=True):
            writer.writerow((os.path.normpath(f"{home}/{path}").replace(os.sep, "/"), label, split))
    files.write_bytes(out, file.getvalue().encode())


def _number(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
