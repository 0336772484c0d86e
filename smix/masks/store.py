"""A mask store: a folder with the object masks of one split of a data set, one bit a pixel.

    manifest.json     what it is of, how it was made, the shards with their sha256; written last, so what it lists is whole
    shard-00000.npy   uint8 (rows, ceil(pixels / 8)): masks flattened in C order, packbits(bitorder="big"), memory-mapped
    stats.npy         structured (N,): coverage f4, score f4 (mean confidence on the object), flags u1
    classes-00000.npy uint8 (rows, *S): the class of each pixel, 0 for none; only if it was asked for
    broken.json       why masks are flagged broken, by row; only if any is
    cost.jsonl        a line a build: how many masks it made, in how many seconds; not part of the store's identity

A mask covers the whole uncropped image. Row i belongs to image i of the whole split, whatever part of it was built.
"""

import json
import math
from collections.abc import Sequence
from enum import IntFlag
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smix import files
from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.manifest import read_manifest

Rows = NDArray[Any] | Sequence[int] | slice | int
"""Row numbers, negative ones from the end, or a bool for each row."""
STATS = np.dtype([("coverage", "<f4"), ("score", "<f4"), ("flags", "u1")])

COST = "cost.jsonl"


class Flag(IntFlag):
    """Why a mask cannot be used."""

    BROKEN = 1
    """The image could not be read, or the source gave no finite answer."""
    EMPTY = 2
    NOT_BUILT = 4


class MaskStore:
    """The masks in a folder: `store[index]` are bool arrays (n, *S). A shard is checked against its sha256 when first read.

    It can be pickled: what travels is the path, and all processes of a machine share the memory that the files are mapped to.

    Raises:
        MaskError: missing or broken; reading rows that were not built.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.manifest = read_manifest(self.path)
        self._shards: dict[str, NDArray[np.uint8]] = {}
        self._verify("stats.npy", self.manifest.stats)
        self.stats: NDArray[Any] = np.load(self.path / "stats.npy", mmap_mode="r", allow_pickle=False)
        count = self.manifest.count
        if self.stats.dtype != STATS or self.stats.shape != (count,):
            raise self._broken(f"stats.npy of {count} rows", f"{self.stats.shape} of {self.stats.dtype}")

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
        """What it took to build the masks, summed over all builds and processes; NaN if that was not kept."""
        try:
            lines = [json.loads(line) for line in (self.path / COST).read_text().splitlines()]
            return math.fsum(line["seconds"] for line in lines) if lines else math.nan
        except (OSError, ValueError, TypeError, KeyError):
            return math.nan

    @property
    def problems(self) -> dict[int, str]:
        """Why masks are broken, by row."""
        if not self.manifest.broken:
            return {}
        self._verify("broken.json", self.manifest.broken)
        return {int(row): why for row, why in json.loads((self.path / "broken.json").read_text()).items()}

    def __getitem__(self, index: Rows) -> NDArray[np.bool_]:
        rows = self._rows(index)
        packed = np.empty((len(rows), packed_bytes(self.shape)), np.uint8)
        shards, places = np.divmod(rows, self.manifest.rows_per_shard)
        # Row by row: a random batch hits as many shards as it has rows.
        for place, (number, row) in enumerate(zip(shards.tolist(), places.tolist(), strict=True)):
            packed[place] = self._shard(number)[row]
        return unpack(packed, self.shape)

    def classes(self, index: Rows) -> NDArray[np.uint8]:
        """Class maps (n, *S) of these rows: 0 no object, k the k-th name in `manifest.classes`.

        Raises:
            MaskError: the store was built without.
        """
        if self.manifest.classes is None:
            raise MaskError(f"{self.path}: expected a store with class maps, got none; build one with --keep-classes")
        rows = self._rows(index)
        maps = np.empty((len(rows), *self.shape), np.uint8)
        for place, row in enumerate(rows.tolist()):
            number, within = divmod(row, self.manifest.rows_per_shard)
            maps[place] = self._shard(number, "classes")[within]
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
            ("split", data.split, mine["split"]),
            ("data set", data.fingerprint, mine["fingerprint"]),
        ):
            if expected != got:
                raise MaskError(
                    f"{self.path}: expected masks of {data.name} {data.split}, got masks of another {what} "
                    f"({mine['name']} {mine['split']}, {mine['fingerprint'][:8]} instead of {data.fingerprint[:8]}); "
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
        """Names of the files that differ from their sha256: every file is read."""
        manifest = self.manifest
        listed = [(entry["file"], entry["sha256"]) for entry in manifest.shards]
        listed += [
            (entry["classes"]["file"], entry["classes"]["sha256"]) for entry in manifest.shards if "classes" in entry
        ]
        listed += [("stats.npy", manifest.stats), *([("broken.json", manifest.broken)] if manifest.broken else [])]
        return [name for name, sha256 in listed if self._sha256(name) != sha256]

    def check_whole(self) -> None:
        """Read every file and compare it with its sha256. Raises MaskError, which names the damaged ones."""
        if damaged := self.damaged():
            raise self._broken("whole files", f"damaged: {', '.join(damaged[:5])}{', ...' if len(damaged) > 5 else ''}")

    def _shard(self, number: int, kind: str = "masks") -> NDArray[np.uint8]:
        entry = self.manifest.shards[number]
        file = entry if kind == "masks" else entry["classes"]
        if (found := self._shards.get(file["file"])) is not None:
            return found
        self._verify(file["file"], file["sha256"])
        mapped = np.load(self.path / file["file"], mmap_mode="r", allow_pickle=False)
        # A plain array over the same memory: rows of numpy's memmap cost several times as much.
        self._shards[file["file"]] = np.asarray(mapped)
        return self._shards[file["file"]]

    def _verify(self, name: str, expected: str) -> None:
        if (got := self._sha256(name)) != expected:
            raise self._broken(f"{name} with sha256 {expected[:8]}" if got else name, got[:8] or "no such file")

    def _sha256(self, name: str) -> str:
        """Empty if there is no such file."""
        return files.sha256(self.path / name) if (self.path / name).is_file() else ""

    def _broken(self, expected: str, got: str) -> MaskError:
        return MaskError(f"{self.path}: expected {expected}, got {got}; repair it with the same smix masks build")


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
