"""Find the image files of a torchvision, timm or custom data set by its attributes."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smix.errors import DataError

ATTRIBUTES = ("samples", "imgs", "paths")
"""Attributes that list the images: paths, or tuples that begin with a path (torchvision's ImageFolder)."""


def paths_of(dataset: Any) -> list[str] | None:
    """Return the path of each image of a data set.

    Args:
        dataset: A sequence of paths; a data set with `samples`, `imgs` or `paths`, or with timm's `filenames(absolute=True)`; or a
            `Subset` or `ConcatDataset` of such data sets.

    Returns:
        The paths in the order of the data set; None if it does not list them.

    Raises:
        DataError: The data set lists more or fewer paths than it has images.
    """
    paths = _paths(dataset)
    if paths is not None and hasattr(dataset, "__len__") and len(paths) != len(dataset):
        raise DataError(
            f"{type(dataset).__name__}: expected a path for each of {len(dataset)} images, got {len(paths)}; wrap the data set "
            "before its images are selected or repeated"
        )
    return paths


def _paths(dataset: Any) -> list[str] | None:
    if isinstance(dataset, Sequence | np.ndarray):
        return _strings(dataset)
    if hasattr(dataset, "dataset") and hasattr(dataset, "indices"):  # torch.utils.data.Subset
        inner = paths_of(dataset.dataset)
        return None if inner is None else [inner[index] for index in dataset.indices]
    if isinstance(parts := getattr(dataset, "datasets", None), list | tuple):  # torch.utils.data.ConcatDataset
        lists = [paths_of(part) for part in parts]
        return None if None in lists else [path for each in lists if each is not None for path in each]
    for name in ATTRIBUTES:
        if isinstance(listed := getattr(dataset, name, None), Sequence | np.ndarray):
            return _strings(listed)
    if callable(filenames := getattr(dataset, "filenames", None)):  # timm.data.ImageDataset
        return _strings(filenames(absolute=True))
    return None


def _strings(entries: Iterable[Any]) -> list[str] | None:
    """Return entries as paths; None if one neither is a path nor begins with one."""
    firsts = [entry[0] if isinstance(entry, tuple | list) and entry else entry for entry in entries]
    if isinstance(entries, str | bytes) or not all(isinstance(first, str | os.PathLike) for first in firsts):
        return None
    return [first if isinstance(first, str) else Path(first).as_posix() for first in firsts]
