"""A store in the making: shards that are finished wait in the folder `building` until all are, then become the store.

    building/manifest.json   what is being made, without shards
    building/00007.npy       the shard itself, building/00007-classes.npy its class maps
    building/00007.json      its number, the identity of the manifest, its sha256, its rows of stats.npy, what is broken in it;
                             written last

A finished shard with other settings, other data or another shard number is discarded.

Any number of processes can work on the shards of one store: each file is whole or absent, and equal whoever writes it.
"""

import base64
import dataclasses
import hashlib
import io
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smix import files
from smix.arrays import map_npy
from smix.errors import MaskError
from smix.masks.manifest import (
    BUILDING,
    Manifest,
    Sha256,
    class_shard_name,
    read_begun,
    read_manifest,
    shard_name,
)
from smix.masks.store import STATS, Flag, packed_bytes, read_problems
from smix.untrusted import UnreadableError, convert, open_file, read_bytes, read_checked, with_checksum


@dataclass(frozen=True)
class Entry:
    """The content of building/00007.json: what is known of a finished shard."""

    identity: str
    """`Manifest.identity` of the build that it belongs to."""
    number: int
    sha256_masks: Sha256
    sha256_classes: Sha256 | None
    stats: str
    """Its rows of stats.npy in base64."""
    broken: dict[str, str]
    """Why a mask is broken, by row of the whole store."""


@dataclass(frozen=True, eq=False)
class Shard:
    """The rows of one shard, on their way to the disk."""

    packed: NDArray[np.uint8]
    """(rows, bytes)"""
    stats: NDArray[Any]
    """(rows,)"""
    classes: NDArray[np.uint8] | None
    """(rows, *S)"""
    broken: dict[int, str] = field(default_factory=dict)
    """Why a mask is broken, by row of the whole store."""

    @property
    def built(self) -> NDArray[np.bool_]:
        return (self.stats["flags"] & Flag.NOT_BUILT) == 0


class StagedStore:
    """The folder of a mask store that is being built; the store may be finished, unfinished or not begun.

    Raises:
        MaskError: The folder holds masks of other settings.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.building = path, path / BUILDING
        if self.building.is_symlink():
            raise MaskError(f"{self.building}: expected a folder, got a symbolic link; remove it")
        self.finished: Manifest | None = None
        if (path / "manifest.json").is_file():
            self.finished = read_manifest(path)
            manifest = self._as_before(manifest, self.finished)
        if (self.building / "manifest.json").is_file():
            manifest = self._as_before(manifest, read_begun(path))
        self.manifest = manifest
        self.numbers = range(manifest.shard_count)
        self._old_stats, self._old_broken = self._read_old()
        self._check_parts()

    def load(self, number: int) -> Shard | None:
        """Return the shard as far as it is built. None: it is not on the disk, or damaged."""
        return self._part(number) or self._previous(number)

    def empty(self, number: int) -> Shard:
        """Return the shard before anything of it is built."""
        count, shape = len(self.manifest.rows(number)), self.manifest.shape
        stats = np.zeros(count, STATS)
        stats["flags"] = Flag.NOT_BUILT
        classes = None if self.manifest.classes is None else np.zeros((count, *shape), np.uint8)
        return Shard(np.zeros((count, packed_bytes(shape)), np.uint8), stats, classes)

    def wanted_of(self, number: int, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which rows of the shard are wanted, counted from its first."""
        rows = self.manifest.rows(number)
        first, last = np.searchsorted(wanted, (rows.start, rows.stop))
        return wanted[first:last] - rows.start

    def is_complete(self, wanted: NDArray[np.int64]) -> bool:
        """Return whether all wanted rows of all shards are on the disk. Only the entries of the shards are read."""
        for number in self.numbers:
            stats = self._stats(number)
            if stats is None or (stats["flags"][self.wanted_of(number, wanted)] & Flag.NOT_BUILT).any():
                return False
        return True

    def built_rows(self) -> NDArray[np.int64]:
        """Return the rows that the finished store contained, as far as known. A repair rebuilds them regardless of the limit."""
        if self.finished is None:
            return np.zeros(0, np.int64)
        stats = self._whole(self.path / "stats.npy", self.finished.stats, STATS, (self.manifest.count,))
        if stats is not None:
            return np.flatnonzero((stats["flags"] & Flag.NOT_BUILT) == 0)
        # Without stats.npy a mask that is not empty must have been built.
        rows = [np.zeros(0, np.int64)]
        for number in self.numbers:
            packed = self._masks(self.path / shard_name(number), self.finished.shards[number], number)
            if packed is not None:
                rows.append(self.manifest.rows(number).start + np.flatnonzero(packed.any(1)))
        return np.concatenate(rows)

    def write(self, number: int, shard: Shard) -> None:
        """Write a shard to the disk, where it waits for the others."""
        self.building.mkdir(exist_ok=True)
        if not (self.building / "manifest.json").is_file():
            files.write_bytes(self.building / "manifest.json", self.manifest.to_bytes())
        masks, classes = npy(shard.packed), None if shard.classes is None else npy(shard.classes)
        files.write_bytes(self.building / f"{number:05d}.npy", masks)
        if classes is not None:
            files.write_bytes(self.building / f"{number:05d}-classes.npy", classes)
        entry = Entry(
            identity=self.manifest.identity,
            number=number,
            sha256_masks=hashlib.sha256(masks).hexdigest(),
            sha256_classes=None if classes is None else hashlib.sha256(classes).hexdigest(),
            stats=base64.b64encode(shard.stats.tobytes()).decode(),
            broken={str(row): why for row, why in shard.broken.items()},
        )
        files.write_bytes(self.building / f"{number:05d}.json", with_checksum(dataclasses.asdict(entry)))

    def finish(self) -> None:
        """Make the store of the shards: files get their names, nothing is copied. Without new ones there is nothing to do.

        The process that finishes last does it; of several at once, one.
        """
        with files.lock(self.path, ".finish.lock", wait=True):
            if not self.building.is_dir():
                return
            shards: list[str] = []
            class_shards: list[str] = []
            moves: dict[str, str] = {}
            broken: dict[int, str] = {}
            stats = np.zeros(self.manifest.count, STATS)
            for number in self.numbers:
                rows = self.manifest.rows(number)
                entry, known = self._entry(number), self._stats(number)
                assert known is not None
                stats[rows.start : rows.stop] = known
                if entry is None:
                    assert self.finished is not None
                    shards.append(self.finished.shards[number])
                    class_shards += self.finished.class_shards[number : number + 1]
                    broken |= {row: why for row, why in self._old_broken.items() if row in rows}
                    continue
                broken |= {int(row): why for row, why in entry.broken.items()}
                shards.append(entry.sha256_masks)
                moves[shard_name(number)] = f"{BUILDING}/{number:05d}.npy"
                if entry.sha256_classes is not None:
                    class_shards.append(entry.sha256_classes)
                    moves[class_shard_name(number)] = f"{BUILDING}/{number:05d}-classes.npy"
            if moves:
                contents = {"stats.npy": npy(stats)}
                if broken:
                    contents["broken.json"] = (
                        json.dumps({str(row): why for row, why in broken.items()}, indent=0) + "\n"
                    ).encode()
                made = dataclasses.replace(
                    self.manifest,
                    shards=tuple(shards),
                    class_shards=tuple(class_shards),
                    stats=hashlib.sha256(contents["stats.npy"]).hexdigest(),
                    broken=hashlib.sha256(contents["broken.json"]).hexdigest() if broken else "",
                )
                files.write_together(self.path, {**contents, "manifest.json": made.to_bytes()}, moves)
            shutil.rmtree(self.building)

    def _as_before(self, manifest: Manifest, old: Manifest) -> Manifest:
        """Return the earlier manifest without its shards. Raises MaskError if its settings differ."""
        _check_same(self.path, manifest.settings(), old.settings())
        return dataclasses.replace(old, shards=(), class_shards=(), stats="", broken="")

    def _check_parts(self) -> None:
        """Say which finished shards do not belong to this build. They are left where they are until others take their names."""
        for number in self.numbers:
            file = self.building / f"{number:05d}.json"
            if file.exists() and self._entry(number) is None:
                sys.stderr.write(
                    f"{file}: expected a finished shard of this build, got one of other settings or images, or a damaged one; "
                    "its masks are built again\n"
                )

    def _entry(self, number: int) -> Entry | None:
        """Return the entry of a finished shard, or None if it is missing, damaged or of another build."""
        try:
            entry = convert(read_checked(self.building / f"{number:05d}.json"), Entry)
            stats, rows = base64.b64decode(entry.stats, validate=True), self.manifest.rows(number)
            belongs = (entry.identity, entry.number) == (self.manifest.identity, number)
            fits = len(stats) == len(rows) * STATS.itemsize and all(int(row) in rows for row in entry.broken)
            with_classes = (entry.sha256_classes is None) == (self.manifest.classes is None)
            return entry if belongs and fits and with_classes else None
        except ValueError:
            return None

    def _stats(self, number: int) -> NDArray[Any] | None:
        """Return the rows of stats.npy of a shard that is on the disk, without reading the shard."""
        if (entry := self._entry(number)) is not None:
            return np.frombuffer(base64.b64decode(entry.stats), STATS)
        rows = self.manifest.rows(number)
        return None if self._old_stats is None else self._old_stats[rows.start : rows.stop]

    def _part(self, number: int) -> Shard | None:
        if (entry := self._entry(number)) is None:
            return None
        packed = self._masks(self.building / f"{number:05d}.npy", entry.sha256_masks, number)
        classes = None
        if entry.sha256_classes is not None:
            classes = self._classes(self.building / f"{number:05d}-classes.npy", entry.sha256_classes, number)
        if packed is None or (classes is None) != (self.manifest.classes is None):
            return None
        stats = np.frombuffer(base64.b64decode(entry.stats), STATS).copy()
        return Shard(packed, stats, classes, {int(row): why for row, why in entry.broken.items()})

    def _previous(self, number: int) -> Shard | None:
        """Return a shard of the finished store, None if it is damaged."""
        if self.finished is None or self._old_stats is None:
            return None
        rows = self.manifest.rows(number)
        packed = self._masks(self.path / shard_name(number), self.finished.shards[number], number)
        classes = None
        if self.manifest.classes is not None:
            file = self.path / class_shard_name(number)
            classes = self._classes(file, self.finished.class_shards[number], number)
        if packed is None or (classes is None) != (self.manifest.classes is None):
            return None
        broken = {row: why for row, why in self._old_broken.items() if row in rows}
        return Shard(packed, self._old_stats[rows.start : rows.stop].copy(), classes, broken)

    def _read_old(self) -> tuple[NDArray[Any] | None, dict[int, str]]:
        """Return stats.npy and broken.json of the finished store. None: stats.npy is damaged."""
        if self.finished is None:
            return None, {}
        stats = self._whole(self.path / "stats.npy", self.finished.stats, STATS, (self.manifest.count,))
        if stats is None or not self.finished.broken:
            return stats, {}
        file = self.path / "broken.json"
        try:
            content = read_bytes(file, links=False)
            if hashlib.sha256(content).hexdigest() == self.finished.broken:
                return stats, read_problems(content, self.manifest.count)
        except (UnreadableError, MaskError):
            pass
        stats["flags"][stats["flags"] & Flag.BROKEN != 0] = Flag.NOT_BUILT  # asked again, for the reason
        return stats, {}

    def _masks(self, file: Path, sha256: str, number: int) -> NDArray[Any] | None:
        shape = (len(self.manifest.rows(number)), packed_bytes(self.manifest.shape))
        return self._whole(file, sha256, np.dtype(np.uint8), shape)

    def _classes(self, file: Path, sha256: str, number: int) -> NDArray[Any] | None:
        return self._whole(file, sha256, np.dtype(np.uint8), (len(self.manifest.rows(number)), *self.manifest.shape))

    def _whole(self, file: Path, sha256: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any] | None:
        """Return a copy of the array in a file; None if it is damaged."""
        try:
            with open_file(file, links=False) as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != sha256:
                    return None
                array = map_npy(opened)
        except UnreadableError:
            return None
        return array.copy() if (array.dtype, array.shape) == (dtype, shape) else None


def _check_same(path: Path, mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Raises MaskError that names the first difference between settings, with both values."""
    for part in mine:
        for what, wanted, got in _differences(part, mine[part], theirs[part]):
            raise MaskError(
                f"{path}: expected a new folder or masks made with {what} {wanted}, got {got}; choose another --out"
            )


def _differences(part: str, mine: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the differences by name, with both values; long checksums shortened."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in [*mine, *(key for key in theirs if key not in mine)]:
            yield from _differences(f"{part} {key.replace('_', ' ')}", mine.get(key), theirs.get(key))
    elif mine != theirs:
        wanted, got = (v[:12] if isinstance(v, str) and len(v) == 64 else v for v in (mine, theirs))
        yield part, wanted, got


def npy(array: NDArray[np.generic]) -> bytes:
    """Return an array as the content of an .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()
