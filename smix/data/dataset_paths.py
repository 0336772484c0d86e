"""Find the image files of a torchvision, timm or custom data set by its attributes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def path_at(dataset: Any, index: int) -> str | None:
    """Return the path that a data set now lists for one image; None if it cannot tell without listing all."""
    if isinstance(dataset, Sequence | np.ndarray):
        return _path(dataset[index])
    if hasattr(dataset, "dataset") and hasattr(dataset, "indices"):
        return path_at(dataset.dataset, dataset.indices[index])
    if isinstance(parts := getattr(dataset, "datasets", None), list | tuple):
        place = index if index >= 0 else index + sum(map(len, parts))
        for part in parts:
            if place < len(part):
                return path_at(part, place)
            place -= len(part)
        return None
    for name in ATTRIBUTES:
        listed = getattr(dataset, name, None)
        if isinstance(listed, Sequence | np.ndarray) and (path := _path(listed[index])) is not None:
            return path
    return None


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
        listed = getattr(dataset, name, None)
        if isinstance(listed, Sequence | np.ndarray) and (strings := _strings(listed)) is not None:
            return strings
    if callable(filenames := getattr(dataset, "filenames", None)):  # timm.data.ImageDataset
        return _strings(list(filenames(absolute=True)))
    return None


def _strings(entries: Sequence[Any] | NDArray[Any]) -> list[str] | None:
    """Return entries as paths; None if one neither is a path nor begins with one."""
    if isinstance(entries, str | bytes):
        return None
    paths = [path for path in map(_path, entries) if path is not None]
    return paths if len(paths) == len(entries) else None


def _path(entry: Any) -> str | None:
    """Return an entry of a list of images as a path; None if it neither is a path nor begins with one."""
    first = entry[0] if isinstance(entry, tuple | list) and entry else entry
    if isinstance(first, str):
        return first
    return Path(first).as_posix() if isinstance(first, os.PathLike) else None
