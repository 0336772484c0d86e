"""A store in the making: shards that are finished wait in the folder `building` until all are, then become the store.

    building/manifest.json   what is being made, without shards
    building/00007.npy       the shard itself, building/00007-classes.npy its class maps
    building/00007.json      its sha256, its rows of stats.npy, what is broken in it; written last

Any number of processes can work on the shards of one store: each file is whole or absent, and equal whoever writes it.
"""

import base64
import dataclasses
import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smix import files
from smix.errors import MaskError
from smix.masks.manifest import BUILDING, Manifest, read_manifest, read_signed, signed
from smix.masks.store import STATS, Flag, packed_bytes


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


class Work:
    """The folder of a store, which may be there, unfinished, or empty.

    Raises:
        MaskError: it holds masks made otherwise.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.building = path, path / BUILDING
        self.finished: Manifest | None = None
        for folder in (path, self.building):
            if (folder / "manifest.json").is_file():
                old = read_manifest(folder)
                _check_same(path, manifest.settings(), old.settings())
                self.finished = self.finished or (old if folder == path else None)
                manifest = dataclasses.replace(old, shards=(), stats="", broken="")
        self.manifest = manifest
        self.numbers = range(-(-manifest.count // manifest.rows_per_shard))
        self._old_stats, self._old_broken = self._read_old()

    def load(self, number: int) -> Shard | None:
        """The shard as far as it is built; None: it is not on the disk, or not whole."""
        return self._part(number) or self._old(number)

    def empty(self, number: int) -> Shard:
        """The shard before anything of it is built."""
        count, shape = len(self.manifest.rows(number)), self.manifest.shape
        stats = np.zeros(count, STATS)
        stats["flags"] = Flag.NOT_BUILT
        classes = None if self.manifest.classes is None else np.zeros((count, *shape), np.uint8)
        return Shard(np.zeros((count, packed_bytes(shape)), np.uint8), stats, classes)

    def wanted_of(self, number: int, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which rows of the shard are wanted, counted from its first."""
        rows = self.manifest.rows(number)
        first, last = np.searchsorted(wanted, (rows.start, rows.stop))
        return wanted[first:last] - rows.start

    def is_complete(self, wanted: NDArray[np.int64]) -> bool:
        """Are all shards on the disk, with all that is wanted of them? Nothing is read but what was said of them."""
        for number in self.numbers:
            stats = self._stats(number)
            if stats is None or (stats["flags"][self.wanted_of(number, wanted)] & Flag.NOT_BUILT).any():
                return False
        return True

    def had(self) -> NDArray[np.int64]:
        """The rows that the store had, as far as it can be told: a repair builds them again, whatever the limit."""
        if self.finished is None:
            return np.zeros(0, np.int64)
        if (stats := self._whole(self.path / "stats.npy", self.finished.stats)) is not None:
            return np.flatnonzero((stats["flags"] & Flag.NOT_BUILT) == 0)
        # Without stats.npy a mask that is not empty must have been built.
        rows = [np.zeros(0, np.int64)]
        for number, entry in enumerate(self.finished.shards):
            packed = self._whole(self.path / entry["file"], entry["sha256"])
            if packed is not None:
                rows.append(self.manifest.rows(number).start + np.flatnonzero(packed.any(1)))
        return np.concatenate(rows)

    def write(self, number: int, shard: Shard) -> None:
        """Put a shard on the disk, to wait for the others."""
        self.building.mkdir(exist_ok=True)
        if not (self.building / "manifest.json").is_file():
            files.write_bytes(self.building / "manifest.json", self.manifest.to_bytes())
        entry: dict[str, Any] = {
            "stats": base64.b64encode(shard.stats.tobytes()).decode(),
            "broken": shard.broken,
        }
        for name, array in self._arrays(number, shard).items():
            content = npy(array)
            entry[name] = hashlib.sha256(content).hexdigest()
            files.write_bytes(self.building / name, content)
        files.write_bytes(self.building / f"{number:05d}.json", signed(entry))

    def finish(self) -> None:
        """Make the store of the shards: files get their names, nothing is copied. Without new ones there is nothing to do.

        Whoever finishes last does it; of several at once, one.
        """
        with files.lock(self.path, ".finish.lock", wait=True):
            if not self.building.is_dir():
                return
            entries: list[dict[str, Any]] = []
            moves: dict[str, str] = {}
            broken: dict[int | str, str] = {}
            stats = np.zeros(self.manifest.count, STATS)
            for number in self.numbers:
                rows = self.manifest.rows(number)
                part, known = self._entry(number), self._stats(number)
                assert known is not None
                stats[rows.start : rows.stop] = known
                if part is None:
                    assert self.finished is not None
                    entries.append(self.finished.shards[number])
                    broken.update({row: why for row, why in self._old_broken.items() if row in rows})
                    continue
                broken.update(part["broken"])
                name, classes = f"shard-{number:05d}.npy", f"classes-{number:05d}.npy"
                entry: dict[str, Any] = {"file": name, "sha256": part[f"{number:05d}.npy"]}
                moves[name] = f"{BUILDING}/{number:05d}.npy"
                if self.manifest.classes is not None:
                    entry["classes"] = {"file": classes, "sha256": part[f"{number:05d}-classes.npy"]}
                    moves[classes] = f"{BUILDING}/{number:05d}-classes.npy"
                entries.append(entry)
            if moves:
                contents = {"stats.npy": npy(stats)}
                if broken:
                    contents["broken.json"] = (
                        json.dumps({str(row): why for row, why in broken.items()}, indent=0) + "\n"
                    ).encode()
                made = dataclasses.replace(
                    self.manifest,
                    shards=tuple(entries),
                    stats=hashlib.sha256(contents["stats.npy"]).hexdigest(),
                    broken=hashlib.sha256(contents["broken.json"]).hexdigest() if broken else "",
                )
                files.write_together(self.path, {**contents, "manifest.json": made.to_bytes()}, moves)
            shutil.rmtree(self.building)

    def _arrays(self, number: int, shard: Shard) -> dict[str, NDArray[np.uint8]]:
        arrays = {f"{number:05d}.npy": shard.packed}
        return arrays if shard.classes is None else arrays | {f"{number:05d}-classes.npy": shard.classes}

    def _entry(self, number: int) -> dict[str, Any] | None:
        """What building says of a shard; None if it is not there, or not whole."""
        try:
            return read_signed(self.building / f"{number:05d}.json")
        except (OSError, MaskError):
            return None

    def _stats(self, number: int) -> NDArray[Any] | None:
        """The rows of stats.npy of a shard that is on the disk, without reading the shard."""
        if (entry := self._entry(number)) is not None:
            return np.frombuffer(base64.b64decode(entry["stats"]), STATS)
        rows = self.manifest.rows(number)
        return None if self._old_stats is None else self._old_stats[rows.start : rows.stop]

    def _part(self, number: int) -> Shard | None:
        if (entry := self._entry(number)) is None:
            return None
        packed = self._whole(self.building / f"{number:05d}.npy", entry[f"{number:05d}.npy"])
        classes = None
        if self.manifest.classes is not None:
            name = f"{number:05d}-classes.npy"
            classes = self._whole(self.building / name, entry[name])
        if packed is None or (classes is None) != (self.manifest.classes is None):
            return None
        stats = np.frombuffer(base64.b64decode(entry["stats"]), STATS).copy()
        return Shard(packed, stats, classes, {int(row): why for row, why in entry["broken"].items()})

    def _old(self, number: int) -> Shard | None:
        """From the store that is there already."""
        if self.finished is None or self._old_stats is None:
            return None
        entry, rows = self.finished.shards[number], self.manifest.rows(number)
        packed = self._whole(self.path / entry["file"], entry["sha256"])
        classes = None
        if "classes" in entry:
            classes = self._whole(self.path / entry["classes"]["file"], entry["classes"]["sha256"])
        if packed is None or (classes is None) != (self.manifest.classes is None):
            return None
        broken = {row: why for row, why in self._old_broken.items() if row in rows}
        return Shard(packed, self._old_stats[rows.start : rows.stop].copy(), classes, broken)

    def _read_old(self) -> tuple[NDArray[Any] | None, dict[int, str]]:
        """stats.npy and broken.json of the store that is there; None if stats.npy is not whole."""
        if self.finished is None:
            return None, {}
        stats = self._whole(self.path / "stats.npy", self.finished.stats)
        if stats is None or not self.finished.broken:
            return stats, {}
        file = self.path / "broken.json"
        if file.is_file() and files.sha256(file) == self.finished.broken:
            return stats, {int(row): why for row, why in json.loads(file.read_text()).items()}
        stats["flags"][stats["flags"] & Flag.BROKEN != 0] = Flag.NOT_BUILT  # asked again, for the reason
        return stats, {}

    def _whole(self, file: Path, sha256: str) -> NDArray[Any] | None:
        if not file.is_file() or files.sha256(file) != sha256:
            return None
        return np.load(file, allow_pickle=False)


def _check_same(path: Path, mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Raises MaskError that names the first difference between settings, with both values."""
    for part in mine:
        for what, wanted, got in _differences(part, mine[part], theirs[part]):
            raise MaskError(
                f"{path}: expected a new folder or masks made with {what} {wanted}, got {got}; choose another --out"
            )


def _differences(part: str, mine: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    """What differs, by name, with both values; long checksums shortened."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in [*mine, *(key for key in theirs if key not in mine)]:
            yield from _differences(f"{part} {key.replace('_', ' ')}", mine.get(key), theirs.get(key))
    elif mine != theirs:
        wanted, got = (v[:12] if isinstance(v, str) and len(v) == 64 else v for v in (mine, theirs))
        yield part, wanted, got


def npy(array: NDArray[np.generic]) -> bytes:
    """As a file of numpy's."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()
