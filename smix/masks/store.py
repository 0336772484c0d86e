"""A mask store: a folder with the object masks of one split of a data set, one bit a pixel.

    manifest.json     what it is of, how it was made, the shards with their sha256; written last, so what it lists is whole
    shard-00000.npy   uint8 (rows, ceil(pixels / 8)): masks flattened in C order, packbits(bitorder="big"), memory-mapped
    stats.npy         structured (N,): coverage f4, score f4 (mean confidence on the object), flags u1

A mask covers the whole uncropped image. Row i belongs to image i of the whole split, whatever part of it was built.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smix import files
from smix.data.sets import ImageSet
from smix.errors import MaskError

FORMAT = 1
STATS = np.dtype([("coverage", "<f4"), ("score", "<f4"), ("flags", "u1")])


class Flag(IntFlag):
    """Why a mask cannot be used."""

    BROKEN = 1
    """The source gave no finite answer."""
    EMPTY = 2
    NOT_BUILT = 4


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json."""

    data: dict[str, Any]
    """name, split, fingerprint, count of the data set."""
    shape: tuple[int, ...]
    """The spatial size of the masks."""
    source: dict[str, Any]
    """name, sha256 of the weights, input size."""
    refine: dict[str, Any]
    """name, and the numbers of the refinement."""
    rows_per_shard: int
    shards: tuple[dict[str, Any], ...] = ()
    """file and sha256 of each shard; none: not built yet."""
    stats: str = ""
    """sha256 of stats.npy."""
    format: int = FORMAT

    def settings(self) -> dict[str, Any]:
        """What made the masks: two builds with equal settings can share a folder, whatever the data set was called."""
        data = {key: value for key, value in self.data.items() if key != "name"}
        return {"data": data, "shape": list(self.shape), "source": self.source, "refine": self.refine}

    def to_bytes(self) -> bytes:
        """As JSON, with a sha256 of itself: nothing else vouches for the manifest."""
        values = {
            "format": self.format,
            **self.settings(),
            "data": self.data,
            "rows_per_shard": self.rows_per_shard,
            "shards": list(self.shards),
            "stats": self.stats,
        }
        return (json.dumps({**values, "sha256": _checksum(values)}, indent=1, allow_nan=False) + "\n").encode()


class MaskStore:
    """The masks in a folder: `store[index]` are bool arrays (n, *S). A shard is checked against its sha256 when first read.

    Raises:
        MaskError: missing or broken; reading rows that were not built.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.manifest = read_manifest(self.path)
        stats = self.path / "stats.npy"
        self._verify(stats, self.manifest.stats)
        self.stats: NDArray[np.void] = np.load(stats, allow_pickle=False)
        if self.stats.dtype != STATS or len(self.stats) != self.manifest.data["count"]:
            raise self._broken(
                f"stats.npy of {self.manifest.data['count']} rows", f"{len(self.stats)} of {self.stats.dtype}"
            )
        self._shards: dict[int, NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self.stats)

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

    def __getitem__(self, index: NDArray[np.int64] | slice | int) -> NDArray[np.bool_]:
        rows = np.atleast_1d(np.arange(len(self))[index])
        if not self.built[rows].all():
            raise MaskError(
                f"{self.path}: expected masks of all rows asked for, got {(~self.built[rows]).sum()} not built; build more"
            )
        packed = np.empty((len(rows), packed_bytes(self.shape)), np.uint8)
        shard, place = np.divmod(rows, self.manifest.rows_per_shard)
        for number in np.unique(shard):
            here = shard == number
            packed[here] = self._shard(int(number))[place[here]]
        return unpack(packed, self.shape)

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
        if self.shape != data.size:
            raise MaskError(f"{self.path}: expected masks of size {data.size}, got {self.shape}; build them again")

    def check_belongs(self, data: ImageSet) -> None:
        """Raises MaskError unless this store has a built mask for every image of `data`."""
        self.check_made_of(data)
        if missing := int((~self.built[data.index]).sum()):
            raise MaskError(
                f"{self.path}: expected masks of {len(data)} images of {data.name} {data.split}, got {len(data) - missing} "
                f"({self.built.sum()} are built); build the rest with the same smix masks build and a larger --limit"
            )

    def check_whole(self) -> None:
        """Read every file and compare it with its sha256. Raises MaskError."""
        for number in range(len(self.manifest.shards)):
            self._shard(number)

    def _shard(self, number: int) -> NDArray[np.uint8]:
        if number not in self._shards:
            entry = self.manifest.shards[number]
            self._verify(self.path / entry["file"], entry["sha256"])
            self._shards[number] = np.load(self.path / entry["file"], mmap_mode="r", allow_pickle=False)
        return self._shards[number]

    def _verify(self, file: Path, expected: str) -> None:
        if not file.is_file():
            raise self._broken(file.name, "no such file")
        if (got := files.sha256(file)) != expected:
            raise self._broken(f"{file.name} with sha256 {expected[:8]}", got[:8])

    def _broken(self, expected: str, got: str) -> MaskError:
        return MaskError(f"{self.path}: expected {expected}, got {got}; repair it with the same smix masks build")


def read_manifest(path: Path) -> Manifest:
    file = path / "manifest.json"
    if not file.is_file():
        raise MaskError(f"{path}: expected a mask store with manifest.json, got none; build it with smix masks build")
    try:
        values = json.loads(file.read_text())
        if values["format"] != FORMAT:
            raise MaskError(f"{path}: expected format {FORMAT}, got {values['format']}; update smix or build it again")
        if values.pop("sha256") != _checksum(values):
            raise ValueError("changed since it was written")
        return Manifest(**{**values, "shape": tuple(values["shape"]), "shards": tuple(values["shards"])})
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, MaskError):
            raise
        raise MaskError(
            f"{path}: expected a whole manifest.json, got {type(error).__name__}; remove {file.name} and build again"
        ) from None


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def pack(masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Masks (n, *S) as rows of bits."""
    return np.packbits(masks.reshape(len(masks), math.prod(masks.shape[1:])), axis=1, bitorder="big")


def unpack(packed: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The inverse of `pack`."""
    bits = np.unpackbits(packed, axis=1, count=math.prod(shape), bitorder="big")
    return bits.astype(bool).reshape(len(packed), *shape)


def packed_bytes(shape: tuple[int, ...]) -> int:
    return -(-math.prod(shape) // 8)
