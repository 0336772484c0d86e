r"""Identify the images of a mask store by their files: images.tsv, one line "SIZE\tPATH" for each row.

A mask on another image is the worst error of a store, so that a path is matched only if the row is unambiguous, and a file
whose size in bytes has changed is rejected.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

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
        self, paths: Sequence[str | os.PathLike[str]], sizes: Sequence[int] | None = None, prefer_equal: bool = False
    ) -> Int[np.ndarray, "n"]:
        """Return the row of each image.

        A stored path matches if one of the two is the end of the other, in whole components. All paths usually lie in one folder: if
        there is just one folder with which all of them match, it resolves paths that match several rows.

        Args:
            paths: Paths of the images, absolute or relative.
            sizes: Size of each file in bytes. None: read from the files that exist.
            prefer_equal: Paths are relative to the root of the data set, so that equal paths are preferred if all have one.

        Raises:
            MaskError: An image is missing, ambiguous, given by two paths, or has changed.
        """
        names = [_normal(path) for path in paths]
        bytes_of = _sizes(paths) if sizes is None else list(sizes)
        by_path = {path: row for row, path in enumerate(self.paths)}
        candidates = (_all_rows(shift, names, by_path) for shift in self._shifts(names))
        matches = [candidate for candidate in candidates if candidate is not None]
        intact = [match for match in matches if self._changed(match, bytes_of) is None]
        if len(intact) > 1 and prefer_equal and self.paths[intact[0][0]] == names[0]:
            intact = intact[:1]
        if len(intact) == 1:
            rows = np.array(intact[0], np.int64)
        elif intact:
            first, second = (self.paths[match[0]] for match in intact[:2])
            raise MaskError(f"the path {names[0]} is ambiguous: it matches {first} and {second}; pass longer paths")
        elif len(matches) == 1 and (place := self._changed(matches[0], bytes_of)) is not None:
            raise self._size_error(names[place], bytes_of[place], matches[0][place])
        else:
            rows = self._one_by_one(names, bytes_of, by_path)
        self._check_one_path_per_row(names, rows)
        return rows

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

    def _changed(self, rows: Sequence[int], sizes: Sequence[int | None]) -> int | None:
        """Return the first index at which a size is known and differs from the stored one."""
        pairs = enumerate(zip(rows, sizes, strict=True))
        return next((place for place, (row, size) in pairs if size is not None and size != self.sizes[row]), None)

    def _one_by_one(
        self, names: Sequence[str], sizes: Sequence[int | None], by_path: dict[str, int]
    ) -> Int[np.ndarray, "n"]:
        """Match each path alone, for images in several folders."""
        ending: dict[str, list[int]] = {}
        for row, path in enumerate(self.paths):
            for end in _ends(path):
                ending.setdefault(end, []).append(row)
        rows = np.zeros(len(names), np.int64)
        missing: list[str] = []
        for place, (name, size) in enumerate(zip(names, sizes, strict=True)):
            found = {*ending.get(name, ()), *(by_path[end] for end in _ends(name) if end in by_path)}
            fitting = sorted(row for row in found if size is None or size == self.sizes[row])
            if len(fitting) > 1:
                first, second = (self.paths[row] for row in fitting[:2])
                raise MaskError(f"the path {name} is ambiguous: it matches {first} and {second}; pass longer paths")
            if found and not fitting:
                raise self._size_error(name, size, min(found))
            if fitting:
                rows[place] = fitting[0]
            else:
                missing.append(name)
        if missing:
            raise MaskError(
                f"expected a mask for each of {len(names):,} images, got none for {len(missing):,}, such as {missing[0]} "
                f"(the store has images such as {self.paths[0]}); build masks of these images, or leave them out"
            )
        return rows

    def _size_error(self, name: str, size: int | None, row: int) -> MaskError:
        return MaskError(
            f"expected the image that the mask was built for, got {name} with {size:,} bytes instead of {self.sizes[row]:,}; "
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
