"""A mask store: a folder with the object masks of one split of a data set, one bit a pixel.

    manifest.json     what it is of, how it was made, the shards with their sha256; written last, so what it lists is whole
    shard-00000.npy   uint8 (rows, ceil(pixels / 8)): masks flattened in C order, packbits(bitorder="big"), memory-mapped
    stats.npy         structured (N,): coverage f4, score f4 (mean confidence on the object), flags u1
    classes-00000.npy uint8 (rows, *S): the class of each pixel, 0 for none; only if it was asked for
    broken.json       why masks are flagged broken, by row; only if any is broken
    cost.jsonl        a line a build: how many masks it made, in how many seconds; not part of the store's identity

A mask covers the whole uncropped image. Row i belongs to image i of the whole split, whatever part of it was built.
"""

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smix.arrays import map_npy
from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.manifest import class_shard_name, read_manifest, shard_name
from smix.untrusted import UnreadableError, one_line, open_file, parse_json, read_bytes, read_text

Rows = NDArray[Any] | Sequence[int] | slice | int
"""Row numbers, negative ones from the end, or a bool for each row."""
STATS = np.dtype([("coverage", "<f4"), ("score", "<f4"), ("flags", "u1")])

BYTES = np.dtype(np.uint8)
COST = "cost.jsonl"


class Flag(IntFlag):
    """Why a mask cannot be used."""

    BROKEN = 1
    """The image could not be read, or the source gave no finite answer."""
    EMPTY = 2
    NOT_BUILT = 4


@dataclass(frozen=True, eq=False)
class _Mapped:
    """A file of the store, mapped to memory."""

    array: NDArray[Any]
    path: str
    status: os.stat_result
    """Status of the file when its sha256 was compared."""

    def changed(self) -> bool:
        """Return whether the file was written since. Where another took its name, the memory is still that of the first."""
        try:
            now = os.stat(self.path)  # noqa: PTH116 - for each shard of a batch: pathlib takes four times as long
        except FileNotFoundError:
            return False
        same_file = (now.st_dev, now.st_ino) == (self.status.st_dev, self.status.st_ino)
        return same_file and (now.st_size, now.st_mtime_ns) != (self.status.st_size, self.status.st_mtime_ns)


class MaskStore:
    """The masks in a folder: `store[index]` are bool arrays (n, *S).

    A shard is compared with its sha256 when it is first read, and again when the size or the time of its file has changed since. A store
    may grow while it is open.

    A store can be pickled: only the path travels, and all processes of a machine share the memory that the files are mapped to.

    Raises:
        MaskError: The store is missing or damaged, or rows are read that were not built.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.manifest = read_manifest(self.path)
        self._mapped: dict[str, _Mapped] = {}
        # A copy (9 bytes per row), so that later changes of the file are not seen.
        self.stats: NDArray[Any] = self._file("stats.npy", STATS, self.manifest.count).copy()

    def __reduce__(self) -> tuple[type["MaskStore"], tuple[str]]:
        return MaskStore, (str(self.path.resolve()),)

    def __len__(self) -> int:
        return self.manifest.count

    @property
    def shape(self) -> tuple[int, ...]:
        """The spatial size S."""
        return self.manifest.shape

    @property
    def coverage(self) -> NDArray[np.float32]:
        """(N,) share of each mask's pixels that are object."""
        return self.stats["coverage"]

    @property
    def score(self) -> NDArray[np.float32]:
        """(N,) mean confidence of the source on the object."""
        return self.stats["score"]

    @property
    def built(self) -> NDArray[np.bool_]:
        """(N,) which masks were asked of the source."""
        return (self.stats["flags"] & Flag.NOT_BUILT) == 0

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(N,) which masks show an object at all: built, not broken, not empty."""
        return self.stats["flags"] == 0

    @property
    def seconds(self) -> float:
        """Seconds that the masks took to build, summed over all builds and processes; NaN if that was not kept."""
        try:
            lines = [parse_json(line) for line in read_text(self.path / COST, links=False).splitlines()]
            return math.fsum(line["seconds"] for line in lines) if lines else math.nan
        except (ValueError, TypeError, KeyError):
            return math.nan

    @property
    def problems(self) -> dict[int, str]:
        """Why masks are broken, by row."""
        if not self.manifest.broken:
            return {}
        try:
            content = read_bytes(self.path / "broken.json", links=False)
        except UnreadableError as error:
            raise self._broken("broken.json", str(error)) from None
        self._check_sha256("broken.json", hashlib.sha256(content).hexdigest())
        return read_problems(content, self.manifest.count)

    def __getitem__(self, index: Rows) -> NDArray[np.bool_]:
        rows = self._rows(index)
        packed = np.empty((len(rows), packed_bytes(self.shape)), np.uint8)
        shards, places = np.divmod(rows, self.manifest.rows_per_shard)
        # Row by row: a random batch hits as many shards as it has rows.
        mapped = {number: self._shard(number) for number in np.unique(shards).tolist()}
        for place, (number, row) in enumerate(zip(shards.tolist(), places.tolist(), strict=True)):
            packed[place] = mapped[number][row]
        return unpack(packed, self.shape)

    def classes(self, index: Rows) -> NDArray[np.uint8]:
        """Class maps (n, *S) of these rows: 0 no object, k the k-th name in `manifest.classes`.

        Raises:
            MaskError: the store was built without.
        """
        if self.manifest.classes is None:
            raise MaskError(f"{self.path}: expected a store with class maps, got none; build one with --save-classes")
        rows = self._rows(index)
        maps = np.empty((len(rows), *self.shape), np.uint8)
        shards, places = np.divmod(rows, self.manifest.rows_per_shard)
        mapped = {number: self._class_shard(number) for number in np.unique(shards).tolist()}
        for place, (number, row) in enumerate(zip(shards.tolist(), places.tolist(), strict=True)):
            maps[place] = mapped[number][row]
        return maps

    def _rows(self, index: Rows) -> NDArray[np.int64]:
        """Numbers from 0 of the rows asked for. Raises MaskError unless they are built."""
        rows = np.arange(len(self))[index] if isinstance(index, slice) else np.atleast_1d(index)
        if rows.dtype == bool:
            if rows.shape != (len(self),):
                raise IndexError(f"{self.path}: expected a bool for each of {len(self)} rows, got shape {rows.shape}")
            rows = np.flatnonzero(rows)
        if rows.ndim != 1 or (len(rows) and not np.issubdtype(rows.dtype, np.integer)):
            raise IndexError(f"{self.path}: expected row numbers, got {rows.dtype} of shape {rows.shape}")
        if len(rows) and not (rows.min() >= -len(self) and rows.max() < len(self)):
            raise IndexError(f"{self.path}: expected rows below {len(self)}, got {rows.min()} to {rows.max()}")
        rows = np.where(rows < 0, rows + len(self), rows).astype(np.int64)
        if missing := int((self.stats["flags"][rows] & Flag.NOT_BUILT != 0).sum()):
            raise MaskError(f"{self.path}: expected masks of all rows asked for, got {missing} not built; build more")
        return rows

    def check_made_of(self, data: ImageSet) -> None:
        """Raises MaskError unless this store is of the split that `data` is, or is a part of."""
        mine = self.manifest.data
        for what, expected, got in (
            ("split", data.split, mine.split),
            ("data set", data.fingerprint, mine.fingerprint),
        ):
            if expected != got:
                raise MaskError(
                    f"{self.path}: expected masks of {data.name} {data.split}, got masks of another {what} "
                    f"({mine.name} {mine.split}, {mine.fingerprint[:8]} instead of {data.fingerprint[:8]}); "
                    "build them for this one with smix masks build"
                )

    def check_belongs(self, data: ImageSet) -> None:
        """Raises MaskError unless this store has a built mask for every image of `data`."""
        self.check_made_of(data)
        if missing := int((~self.built[data.index]).sum()):
            raise MaskError(
                f"{self.path}: expected masks of {len(data)} images of {data.name} {data.split}, got {len(data) - missing} "
                f"({self.built.sum()} are built); build the rest with the same smix masks build and a larger --limit"
            )

    def damaged(self) -> list[str]:
        """Return the names of the files that differ from their sha256. Reads every file."""
        return [name for name, expected in self.manifest.files.items() if self._sha256(name) != expected]

    def check_whole(self) -> None:
        """Read every file and compare it with its sha256. Raises MaskError, which names the damaged ones."""
        if damaged := self.damaged():
            raise self._broken("whole files", f"damaged: {', '.join(damaged[:5])}{', ...' if len(damaged) > 5 else ''}")
        for number in range(self.manifest.shard_count):
            self._shard(number)
            if self.manifest.classes is not None:
                self._class_shard(number)
        _ = self.problems

    def _shard(self, number: int) -> NDArray[np.uint8]:
        return self._file(shard_name(number), BYTES, len(self.manifest.rows(number)), packed_bytes(self.shape))

    def _class_shard(self, number: int) -> NDArray[np.uint8]:
        return self._file(class_shard_name(number), BYTES, len(self.manifest.rows(number)), *self.shape)

    def _file(self, name: str, dtype: np.dtype[Any], *shape: int) -> NDArray[Any]:
        """Return the array in a file of the store. Checks its sha256 on first use and after the file has changed."""
        known = self._mapped.get(name)
        try:
            if known is not None and not known.changed():
                return known.array
            path = self.path / name
            with open_file(path, links=False) as file:
                status = os.fstat(file.fileno())
                self._check_sha256(name, hashlib.file_digest(file, "sha256").hexdigest())
                array = map_npy(file)
        except (OSError, UnreadableError) as error:
            raise self._broken(name, getattr(error, "strerror", None) or one_line(error)) from None
        if array.dtype != dtype or array.shape != shape:
            raise self._broken(f"{name} of shape {shape} and {dtype}", f"{array.shape} of {array.dtype}")
        self._mapped[name] = _Mapped(array, str(path), status)
        return array

    def _check_sha256(self, name: str, got: str) -> None:
        if got == self.manifest.files[name]:
            return
        grown = read_manifest(self.path)  # by a build that went on since the store was opened
        if grown.identity == self.manifest.identity and got == grown.files.get(name):
            self.manifest = grown
            return
        raise self._broken(f"{name} with sha256 {self.manifest.files[name][:8]}", got[:8])

    def _sha256(self, name: str) -> str:
        """Return the sha256 of a file, empty if it cannot be read."""
        try:
            with open_file(self.path / name, links=False) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except UnreadableError:
            return ""

    def _broken(self, expected: str, got: str) -> MaskError:
        return MaskError(f"{self.path}: expected {expected}, got {got}; repair it with the same smix masks build")


def read_problems(content: bytes, count: int) -> dict[int, str]:
    """Return the content of broken.json: why masks are broken, by row below `count`.

    Raises:
        MaskError: `content` is not a valid broken.json.
    """
    try:
        problems = {int(row): why for row, why in parse_json(content).items()}
    except (ValueError, AttributeError):
        problems = {-1: ""}
    if not all(0 <= row < count and isinstance(why, str) for row, why in problems.items()):
        raise MaskError("broken.json: expected a reason for each broken row, got other content; build the masks again")
    return problems


def verify(paths: Sequence[Path]) -> tuple[list[Path], list[MaskError]]:
    """Read every file of each store. Returns the stores that are whole, and what is wrong with the others."""
    whole, damaged = [], []
    for path in paths:
        try:
            MaskStore(path).check_whole()
            whole.append(path)
        except MaskError as error:
            damaged.append(error)
    return whole, damaged


def pack(masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Masks (n, *S) as rows of bits."""
    return np.packbits(masks.reshape(len(masks), math.prod(masks.shape[1:])), axis=1, bitorder="big")


def unpack(packed: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The inverse of `pack`."""
    bits = np.unpackbits(packed, axis=1, count=math.prod(shape), bitorder="big")
    return bits.view(bool).reshape(len(packed), *shape)


def packed_bytes(shape: tuple[int, ...]) -> int:
    return -(-math.prod(shape) // 8)
