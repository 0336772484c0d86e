"""The files of the images of a data set, used to identify them."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from smix.untrusted import UnreadableError, open_file

COMPARED = 64
"""Number of files, evenly spaced, whose content identifies a data set: another one differs in nearly all of them."""


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Path and size of the file of each image."""

    root: Path
    """Folder of the whole data set, such as DIR of `folder:DIR`."""
    paths: NDArray[np.object_]
    """(N,) paths relative to `root`, with "/", such as train/cat/1.jpg."""
    sizes: Int[np.ndarray, "N"]
    """Size of each file in bytes."""
    masks: NDArray[np.object_] | None = None
    """(N,) path of the mask of each image, empty where it has none. None: the data set lists no masks."""
    notes: tuple[str, ...] = ()
    """Notes to show to the user once: the files that were skipped, and how a split was made."""
    drawn: bool = False
    """True if smix has drawn the test images, because the data set itself defines none."""

    def rows(self, index: NDArray[np.int64]) -> "ImageFiles":
        """Return the files of the images at `index`."""
        masks = None if self.masks is None else self.masks[index]
        return replace(self, paths=self.paths[index], sizes=self.sizes[index], masks=masks)

    def joined(self, other: "ImageFiles") -> "ImageFiles":
        """Return these files followed by other files with the same root, without masks."""
        paths, sizes = np.concatenate([self.paths, other.paths]), np.concatenate([self.sizes, other.sizes])
        return replace(self, paths=paths, sizes=sizes, masks=None)


def spread(places: Sequence[int], count: int) -> list[int]:
    """Return at most `count` of the places, evenly spaced, with the first and the last."""
    if len(places) <= count:
        return list(places)
    return [places[step * (len(places) - 1) // (count - 1)] for step in range(count)]


def content_number(path: Path) -> int:
    """Return the first 64 bits of the sha256 of a file, by which its content is recognised; 0 if it cannot be read."""
    try:
        with open_file(path) as file:
            return int.from_bytes(hashlib.file_digest(file, "sha256").digest()[:8], "big")
    except (OSError, UnreadableError):
        return 0


def real_paths(images: ImageFiles) -> list[str]:
    """Return the absolute path of each file, with all symbolic links resolved."""
    folders: dict[str, str] = {}
    root = os.path.abspath(images.root)  # noqa: PTH100
    return [real_path(f"{root}/{path}", folders) for path in images.paths]


def real_path(path: str, folders: dict[str, str]) -> str:
    """Return an absolute path with all symbolic links resolved.

    Args:
        path: The path.
        folders: Real path of each folder that was seen before, which is added to: `os.path.realpath` asks for each parent folder
            of each path, which takes long for a million files.
    """
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    place = os.path.join(folders[folder], name)  # noqa: PTH118
    return os.path.realpath(place) if os.path.islink(place) else place  # noqa: PTH114
