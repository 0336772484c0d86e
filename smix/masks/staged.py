"""A mask store that is being built. Finished shards are kept in the folder `building` until the store is complete.

    building/manifest.json       settings of the build
    building/shard-00007.npy     the masks of a shard, and building/classes-00007.npy its class maps
    building/00007.json          record of the shard, written last: its checksums, its rows of stats.npy, which masks are broken

A finished shard is discarded if it was built with other settings, for other images or with another shard number. Any number
of processes can build the shards of one store: each file is complete or absent, and its content does not depend on the
process that writes it.
"""

import base64
import dataclasses
import hashlib
import io
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped, UInt8
from numpy.typing import NDArray

from smix import files
from smix.arrays import map_npy
from smix.errors import MaskError
from smix.masks.keys import IMAGES, ImageKeys
from smix.masks.manifest import BROKEN, BUILDING, STATS, Manifest, Sha256, read_begun, read_manifest
from smix.masks.store import Flag, parse_problems, stats_dtype
from smix.untrusted import UnreadableError, open_file, read_bytes, read_checked, to_record, with_checksum

UINT8 = np.dtype(np.uint8)


@dataclass(frozen=True)
class ShardRecord:
    """The content of a file such as building/00007.json."""

    identity: str
    """`Manifest.identity` of the build that the shard belongs to."""
    number: int
    checksums: tuple[Sha256, ...]
    """Sha256 of each of `Manifest.shard_files`."""
    stats: str
    """The shard's rows of stats.npy, in base64."""
    broken: dict[str, str]
    """Reason why a mask is broken, by row of the whole store."""

    def decoded_stats(self, manifest: Manifest) -> Shaped[np.ndarray, "n"]:
        """Return the shard's rows of stats.npy. Raises ValueError if `stats` is not valid base64 or has an invalid length."""
        return np.frombuffer(base64.b64decode(self.stats, validate=True), stats_dtype(manifest)).copy()


@dataclass(frozen=True, eq=False)
class Shard:
    """The masks of one shard in memory."""

    packed: UInt8[np.ndarray, "n bytes"]
    stats: Shaped[np.ndarray, "n"]
    classes: UInt8[np.ndarray, "n *S"] | None
    broken: dict[int, str] = field(default_factory=dict)
    """Reason why a mask is broken, by row of the whole store."""

    @property
    def arrays(self) -> list[NDArray[np.uint8]]:
        """Arrays in the files of the shard."""
        return [self.packed] if self.classes is None else [self.packed, self.classes]

    @property
    def built(self) -> Bool[np.ndarray, "n"]:
        """True for masks that are built."""
        built: NDArray[np.bool_] = (self.stats["flags"] & Flag.NOT_BUILT) == 0
        return built


class StagedStore:
    """The folder of a mask store that is being built. It may already contain a finished store, which the build extends or repairs.

    Args:
        path: Folder of the store.
        manifest: Settings of the build.
        keys: Paths and sizes of the images, if the store is to have them.

    Raises:
        MaskError: The folder contains masks that were built with other settings, or its manifest is damaged.
    """

    def __init__(self, path: Path, manifest: Manifest, keys: ImageKeys | None = None) -> None:
        self.path, self.building = path, path / BUILDING
        self._keys = None if keys is None else keys.to_bytes()
        if self.building.is_symlink():
            raise MaskError(f"{self.building}: expected a folder, got a symbolic link; remove it")
        self.previous: Manifest | None = None
        if (path / "manifest.json").is_file():
            self.previous = read_manifest(path)
            manifest = self._same_settings(manifest, self.previous)
        if (self.building / "manifest.json").is_file():
            manifest = self._same_settings(manifest, read_begun(path))
        self.manifest = manifest
        self.numbers = range(manifest.shard_count)
        self._previous_stats, self._previous_broken = self._read_previous()
        for number in self.numbers:
            file = self.building / f"{number:05d}.json"
            if file.exists() and self._staged(number) is None:
                sys.stderr.write(
                    f"{file}: the shard is damaged, or was built with other settings or for other images; its masks are built again\n"
                )

    def load(self, number: int) -> Shard | None:
        """Return a shard, which may be only partly built. None: it does not exist or is damaged."""
        for record, folder in self._records(number):
            if (arrays := self._arrays(folder, number, record.checksums)) is not None:
                broken = {int(row): reason for row, reason in record.broken.items()}
                return Shard(
                    arrays[0], record.decoded_stats(self.manifest), arrays[1] if len(arrays) > 1 else None, broken
                )
        return None

    def new_shard(self, number: int) -> Shard:
        """Return an empty shard, without any built masks."""
        stats = np.zeros(len(self.manifest.rows(number)), stats_dtype(self.manifest))
        stats["flags"] = Flag.NOT_BUILT
        packed, *classes = (np.zeros(shape, np.uint8) for shape in self.manifest.shard_shapes(number))
        return Shard(packed, stats, classes[0] if classes else None)

    def requested_in(self, number: int, requested: Int[np.ndarray, "N"]) -> Int[np.ndarray, "n"]:
        """Return the requested rows (sorted) that lie in this shard, relative to its first row."""
        rows = self.manifest.rows(number)
        first, last = np.searchsorted(requested, (rows.start, rows.stop))
        return requested[first:last] - rows.start

    def is_complete(self, requested: Int[np.ndarray, "n"]) -> bool:
        """Return whether all requested rows, sorted, are built. Only the records of the shards are read."""
        for number in self.numbers:
            record, _ = next(self._records(number), (None, ""))
            if record is None:
                return False
            flags = record.decoded_stats(self.manifest)["flags"][self.requested_in(number, requested)]
            if (flags & Flag.NOT_BUILT).any():
                return False
        return True

    def built_rows(self) -> Int[np.ndarray, "n"]:
        """Return the rows that the finished store contained, as far as they are known. A repair builds all of them, whatever the limit."""
        if self.previous is None:
            return np.zeros(0, np.int64)
        if self._previous_stats is not None:
            return np.flatnonzero((self._previous_stats["flags"] & Flag.NOT_BUILT) == 0)
        # Without stats.npy a mask that is not empty must have been built.
        built = np.zeros(self.manifest.count, bool)
        for number in self.numbers:
            rows, names = self.manifest.rows(number), self.manifest.shard_files(number)
            arrays = self._arrays("", number, [self.previous.files[name] for name in names])
            if arrays is not None:
                built[rows.start : rows.stop] = arrays[0].any(1)
        return np.flatnonzero(built)

    def write(self, number: int, shard: Shard) -> None:
        """Write a finished shard to the folder `building`."""
        self.building.mkdir(exist_ok=True)
        if not (self.building / "manifest.json").is_file():
            files.write_bytes(self.building / "manifest.json", self.manifest.to_bytes())
        contents = [npy(array) for array in shard.arrays]
        for name, content in zip(self.manifest.shard_files(number), contents, strict=True):
            files.write_bytes(self.building / name, content)
        record = ShardRecord(
            identity=self.manifest.identity,
            number=number,
            checksums=tuple(hashlib.sha256(content).hexdigest() for content in contents),
            stats=base64.b64encode(shard.stats.tobytes()).decode(),
            broken={str(row): reason for row, reason in shard.broken.items()},
        )
        files.write_bytes(self.building / f"{number:05d}.json", with_checksum(dataclasses.asdict(record)))

    def finish(self) -> None:
        """Combine the finished shards into the store. Files are renamed, not copied.

        The process that builds the last shard calls this. If several processes call it at once, one of them does the work.

        Raises:
            MaskError: A shard was damaged or removed during the build.
        """
        with files.lock(self.path, ".finish.lock", wait=True):
            self._repair_keys()
            if not self.building.is_dir():
                return
            checksums: dict[str, str] = {}
            moves: dict[str, str] = {}
            broken: dict[str, str] = {}
            stats: list[NDArray[Any]] = []
            for number in self.numbers:
                record, folder = next(self._records(number), (None, ""))
                if record is None:
                    raise MaskError(
                        f"{self.path}: shard {number} was damaged during the build; run the same smix masks build again"
                    )
                stats.append(record.decoded_stats(self.manifest))
                broken |= record.broken
                names = self.manifest.shard_files(number)
                checksums |= zip(names, record.checksums, strict=True)
                moves |= {name: f"{folder}/{name}" for name in names if folder}
            if moves:
                contents = {STATS: npy(np.concatenate(stats))}
                if self._keys is not None:
                    contents[IMAGES] = self._keys
                if broken:
                    contents[BROKEN] = (json.dumps(broken, indent=0) + "\n").encode()
                checksums |= {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
                manifest = dataclasses.replace(self.manifest, files=checksums)
                files.write_together(self.path, {**contents, "manifest.json": manifest.to_bytes()}, moves)
            shutil.rmtree(self.building)

    def _repair_keys(self) -> None:
        """Write images.tsv of the finished store again if it is damaged."""
        if self.previous is None or self._keys is None:
            return
        expected = self.previous.files[IMAGES]
        try:
            intact = files.sha256(self.path / IMAGES, follow_links=False) == expected
        except UnreadableError:
            intact = False
        if not intact and hashlib.sha256(self._keys).hexdigest() == expected:
            files.write_bytes(self.path / IMAGES, self._keys)

    def _same_settings(self, manifest: Manifest, previous: Manifest) -> Manifest:
        """Return a previous manifest without its files. Raises MaskError if its settings differ."""
        _check_same(self.path, manifest.settings(), previous.settings())
        return dataclasses.replace(previous, files={})

    def _records(self, number: int) -> Iterator[tuple[ShardRecord, str]]:
        """Yield the records of a shard with the folders of its files: the staged shard, then that of the finished store."""
        if (staged := self._staged(number)) is not None:
            yield staged, BUILDING
        if self.previous is not None and self._previous_stats is not None:
            rows = self.manifest.rows(number)
            checksums = tuple(self.previous.files[name] for name in self.manifest.shard_files(number))
            stats = base64.b64encode(self._previous_stats[rows.start : rows.stop].tobytes()).decode()
            broken = {str(row): reason for row, reason in self._previous_broken.items() if row in rows}
            yield ShardRecord(self.manifest.identity, number, checksums, stats, broken), ""

    def _staged(self, number: int) -> ShardRecord | None:
        """Return the record of a staged shard. None: it is missing, damaged or belongs to another build."""
        try:
            record = to_record(read_checked(self.building / f"{number:05d}.json"), ShardRecord)
            rows = self.manifest.rows(number)
            valid = (
                (record.identity, record.number) == (self.manifest.identity, number)
                and len(record.decoded_stats(self.manifest)) == len(rows)
                and all(int(row) in rows for row in record.broken)
                and len(record.checksums) == len(self.manifest.shard_files(number))
            )
            return record if valid else None
        except ValueError:
            return None

    def _read_previous(self) -> tuple[Shaped[np.ndarray, "N"] | None, dict[int, str]]:
        """Return the content of stats.npy and broken.json of the finished store. None: stats.npy is damaged."""
        if self.previous is None:
            return None, {}
        stats = self._array(STATS, self.previous.files[STATS], stats_dtype(self.manifest), (self.manifest.count,))
        if stats is None or BROKEN not in self.previous.files:
            return stats, {}
        try:
            content = read_bytes(self.path / BROKEN, follow_links=False)
            if hashlib.sha256(content).hexdigest() == self.previous.files[BROKEN]:
                return stats, parse_problems(content, self.manifest.count)
        except (UnreadableError, MaskError):
            pass
        stats["flags"][stats["flags"] & Flag.BROKEN != 0] = Flag.NOT_BUILT  # built again, since the reason is lost
        return stats, {}

    def _arrays(self, folder: str, number: int, checksums: Sequence[str]) -> list[NDArray[np.uint8]] | None:
        """Return copies of the arrays in the files of a shard. None: one is missing or damaged."""
        names, shapes = self.manifest.shard_files(number), self.manifest.shard_shapes(number)
        arrays = []
        for name, checksum, shape in zip(names, checksums, shapes, strict=True):
            if (array := self._array(str(Path(folder, name)), checksum, UINT8, shape)) is None:
                return None
            arrays.append(array)
        return arrays

    def _array(self, name: str, sha256: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any] | None:
        """Return a copy of the array stored in a file of the folder, or None if the file is missing or damaged."""
        try:
            with open_file(self.path / name, follow_links=False) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    return None
                array = map_npy(file)
        except UnreadableError:
            return None
        return array.copy() if (array.dtype, array.shape) == (dtype, shape) else None


def _check_same(path: Path, requested: Any, previous: Any, name: str = "") -> None:
    """Raise MaskError if settings differ. The message names the first difference, with both values."""
    if isinstance(requested, dict) and isinstance(previous, dict):
        for key in {**requested, **previous}:
            _check_same(path, requested.get(key), previous.get(key), f"{name} {key.replace('_', ' ')}".strip())
    elif requested != previous:
        # Checksums are shortened.
        values = [
            value[:12] if isinstance(value, str) and len(value) == 64 else value for value in (requested, previous)
        ]
        raise MaskError(
            f"{path}: the existing masks were built with {name} {values[1]}, not {values[0]}; choose another --out"
        )


def npy(array: NDArray[np.generic]) -> bytes:
    """Return an array as the content of an .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()
