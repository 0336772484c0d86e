r"""Identify the images of a mask store by their files: images.tsv, one line "SIZE\tPATH" for each row.

A mask on another image is the worst error of a store, so that a path is matched only if the row is unambiguous, and a file
whose size in bytes has changed is rejected. Files of other images can have the same names and sizes (BMP and TIFF of one camera), so
that the content of some files is compared, too.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from smix.data.image_files import COMPARED, content_number, spread
from smix.errors import MaskError
from smix.untrusted import first_duplicate, is_text

IMAGES = "images.tsv"
"""File of a store with the size in bytes and the path of each image, relative to the root of the data set."""


@dataclass(frozen=True)
class _Shift:
    """Conversion from the paths of a caller to the paths in the store."""

    drop: str
    """Folder that only the caller's paths start with."""
    add: str
    """Folder that only the store's paths start with."""

    def apply(self, path: str) -> str | None:
        """Return the path in the store; None if the path does not start with `drop`."""
        return self.add + path[len(self.drop) :] if path.startswith(self.drop) else None


@dataclass(frozen=True, eq=False)
class ImageKeys:
    """Path and size of the file of each image of a store."""

    paths: NDArray[np.object_]
    sizes: Int[np.ndarray, "N"]

    def to_bytes(self) -> bytes:
        """Return the content of images.tsv."""
        lines = zip(self.sizes.tolist(), self.paths, strict=True)
        return "".join(f"{size}\t{path}\n" for size, path in lines).encode()

    @classmethod
    def parse(cls, content: bytes, count: int) -> "ImageKeys":
        """Read the content of images.tsv.

        Raises:
            MaskError: It is not valid for `count` images.
        """
        try:
            pairs = [line.split("\t") for line in content.decode().split("\n")[:-1]]
            sizes = np.array([int(size) for size, _ in pairs], np.int64)
            paths = np.array([path for _, path in pairs], object)
        except (ValueError, OverflowError):
            sizes, paths = np.zeros(0, np.int64), np.zeros(0, object)
        if len(paths) != count or not all(map(is_text, paths)) or first_duplicate(paths) is not None:
            raise MaskError(
                f"{IMAGES}: expected the sizes and different paths of {count:,} images, got other content; build the masks again"
            )
        return cls(paths, sizes)

    def rows(
        self, paths: Sequence[str | os.PathLike[str]], sizes: Sequence[int] | None = None, root: str | None = None
    ) -> Int[np.ndarray, "n"]:
        """Return the row of each image.

        The absolute path of a file that exists must end with the stored path, in whole components. A path without a file matches if one
        of the two is the end of the other. All paths usually lie in one folder: if there is just one folder with which all of
        them match, it resolves paths that match several rows. A size can refuse a match, but never chooses one.

        Args:
            paths: Paths of the images, absolute or relative.
            sizes: Size of each file in bytes. None: read from the files that exist.
            root: Folder of the whole data set, from which the stored paths are tried first. None: unknown.

        Raises:
            MaskError: An image is missing, ambiguous, given by two paths, or has changed.
        """
        bytes_of = _sizes(paths) if sizes is None else list(sizes)
        on_disk = (size is not None and sizes is None for size in bytes_of)
        # The folder that a relative path starts from tells train/1.jpg from test/1.jpg.
        names = [_normal(os.path.abspath(path) if real else path) for path, real in zip(paths, on_disk, strict=True)]  # noqa: PTH100
        by_path = {path: row for row, path in enumerate(self.paths)}
        inside = None if root is None else _all_rows(_Shift(f"{_normal(root).rstrip('/')}/", ""), names, by_path)
        candidates = [inside] if inside else (_all_rows(shift, names, by_path) for shift in self._shifts(names))
        matches = [candidate for candidate in candidates if candidate is not None]
        if len(matches) > 1:
            raise self._ambiguous(names[0], [match[0] for match in matches])
        rows = np.array(matches[0], np.int64) if matches else self._one_by_one(names, by_path)
        self._check_sizes(names, bytes_of, rows)
        self._check_one_path_per_row(names, rows)
        return rows

    def check_content(
        self, paths: Sequence[str | os.PathLike[str]], rows: Int[np.ndarray, "n"], content: NDArray[np.uint64]
    ) -> None:
        """Check that files are those of their rows: all of them, or 64 evenly spaced ones.

        Args:
            paths: Path of each file. Files that cannot be read are left out.
            rows: Row of each file.
            content: `content_number` of each row's file when the mask was built, 0 if it is unknown.

        Raises:
            MaskError: A file has other content than the one that the mask was built for.
        """
        for place in spread(np.flatnonzero(content[rows]).tolist(), COMPARED):
            if (now := content_number(Path(paths[place]))) and now != int(content[rows[place]]):
                raise MaskError(
                    f"expected the image that the mask was built for ({self.paths[rows[place]]}), got other content in "
                    f"{Path(paths[place]).as_posix()}; restore it, or build masks of these images in a new folder"
                )

    def _shifts(self, names: Sequence[str]) -> Iterator[_Shift]:
        """Yield the shifts that find the first path, beginning with that of equal paths."""
        if not names:
            yield _Shift("", "")
            return
        first = names[0]
        yield from (_Shift(first[: len(first) - len(end)], "") for end in _ends(first))
        for path in self.paths:
            if path.endswith(f"/{first}"):
                yield _Shift("", path[: len(path) - len(first)])

    def _one_by_one(self, names: Sequence[str], by_path: dict[str, int]) -> Int[np.ndarray, "n"]:
        """Match each path alone, for images in several folders."""
        ending: dict[str, list[int]] = {}
        for row, path in enumerate(self.paths):
            for end in _ends(path):
                ending.setdefault(end, []).append(row)
        rows = np.zeros(len(names), np.int64)
        missing: list[str] = []
        for place, name in enumerate(names):
            found = sorted({*ending.get(name, ()), *(by_path[end] for end in _ends(name) if end in by_path)})
            if len(found) > 1:
                raise self._ambiguous(name, found)
            if found:
                rows[place] = found[0]
            else:
                missing.append(name)
        if missing:
            raise MaskError(
                f"expected a mask for each of {len(names):,} images, got none for {len(missing):,}, such as {missing[0]} "
                f"(the store has images such as {self.paths[0]}); build masks of these images, or leave them out"
            )
        return rows

    def _ambiguous(self, name: str, rows: Sequence[int]) -> MaskError:
        first, second = (self.paths[row] for row in rows[:2])
        return MaskError(f"the path {name} is ambiguous: it matches {first} and {second}; pass longer paths")

    def _check_sizes(self, names: Sequence[str], sizes: Sequence[int | None], rows: Int[np.ndarray, "n"]) -> None:
        """Raise MaskError if a size is known and differs from the stored one."""
        for name, size, stored in zip(names, sizes, self.sizes[rows].tolist(), strict=True):
            if size is not None and size != stored:
                raise MaskError(
                    f"expected the image that the mask was built for, got {name} with {size:,} bytes instead of {stored:,}; "
                    "restore it, or build the masks again in a new folder"
                )

    def _check_one_path_per_row(self, names: Sequence[str], rows: Int[np.ndarray, "n"]) -> None:
        """Raise MaskError if two different paths have the same row: one of them is a different image."""
        if len(np.unique(rows)) == len(rows):
            return
        seen: dict[int, str] = {}
        for name, row in zip(names, rows.tolist(), strict=True):
            if seen.setdefault(row, name) != name:
                raise MaskError(
                    f"expected one path for each image, got {seen[row]} and {name} for {self.paths[row]}; build masks of both"
                )


def _all_rows(shift: _Shift, names: Sequence[str], by_path: dict[str, int]) -> list[int] | None:
    """Return the row of each path; None if one has none."""
    rows = []
    for name in names:
        path = shift.apply(name)
        row = None if path is None else by_path.get(path)
        if row is None:
            return None
        rows.append(row)
    return rows


def _ends(path: str) -> Iterator[str]:
    """Yield a path, then the path without its first component, and so on to the name of the file."""
    yield path
    place = path.find("/")
    while place >= 0:
        yield path[place + 1 :]
        place = path.find("/", place + 1)


def _normal(path: str | os.PathLike[str]) -> str:
    return Path(os.path.normpath(path)).as_posix()


def _sizes(paths: Sequence[str | os.PathLike[str]]) -> list[int | None]:
    """Return the size of each file; None where there is none, as for paths from the root of a data set."""
    sizes: list[int | None] = []
    for path in paths:
        try:
            sizes.append(os.stat(path).st_size)  # noqa: PTH116 - a Path for each of a million files takes longer
        except (OSError, ValueError):
            sizes.append(None)
    return sizes
