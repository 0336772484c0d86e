"""Build a mask store: segment, shrink to the images' size, refine, pack. Stopped and started again, it goes on."""

import dataclasses
import errno
import hashlib
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from smix import files, progress
from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.refine import NUMBERS, Refinement, refine
from smix.masks.sources import Segmentation, Source
from smix.masks.store import STATS, Flag, Manifest, MaskStore, pack, packed_bytes, read_manifest

ROWS_PER_SHARD = 2048
BATCH = 16
SECONDS_BETWEEN_COMMITS = 10.0
"""A build that is killed loses at most this much work."""


def build_masks(
    data: ImageSet,
    source: Source,
    out: Path | str,
    refine: Refinement = "default",
    limit: int | None = None,
    quiet: bool = True,
) -> MaskStore:
    """Find the object of each image and store the masks in `out`.

    A store that is there with the same settings is completed: after an interruption, a larger `limit`, or damage.

    Args:
        data: A whole split.
        limit: Only the masks of `data.take(limit)`: class-balanced, and part of every larger limit.

    Raises:
        MaskError: `out` holds masks made otherwise, or the disk is full; what was built stays.
    """
    out = Path(out)
    if len(data.index) != len(data) or not np.array_equal(data.index, np.arange(len(data))):
        raise MaskError(f"{out}: expected a whole split, got a part of {data.name}; give the whole one and a limit")
    manifest = Manifest(
        data={"name": data.name, "split": data.split, "fingerprint": data.fingerprint, "count": len(data)},
        shape=data.size,
        source=source.describe(data),
        refine={"name": refine, **NUMBERS.get(refine, {})},
        rows_per_shard=ROWS_PER_SHARD,
    )
    wanted = np.sort(data.take(limit).index)
    try:
        with files.lock(out):
            return _complete(_Building(out, manifest), data, source, refine, wanted, quiet)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise MaskError(
            f"{out}: expected room for {len(data) * packed_bytes(data.size):,} bytes of masks, got no space left on the disk; "
            "free some and start the same command again: finished shards are kept"
        ) from None


class _Building:
    """A store in the making: shards and stats in memory; every commit leaves a whole store on the disk."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.manifest = path, manifest
        count = manifest.data["count"]
        self.stats = np.zeros(count, STATS)
        self.stats["flags"] = Flag.NOT_BUILT
        self.packed = np.zeros((count, packed_bytes(manifest.shape)), np.uint8)
        self.starts = range(0, count, manifest.rows_per_shard)
        if (path / "manifest.json").is_file():
            self._load()

    def _load(self) -> None:
        """Take over what is whole in the folder."""
        old = read_manifest(self.path)
        mine, theirs = self.manifest.settings(), old.settings()
        for part in mine:
            for what, wanted, got in _differences(part, mine[part], theirs[part]):
                raise MaskError(
                    f"{self.path}: expected a new folder or masks made with {what} {wanted}, got {got}; choose another --out"
                )
        self.manifest = old
        self.starts = range(0, len(self.stats), old.rows_per_shard)
        stats = self.path / "stats.npy"
        if not stats.is_file() or files.sha256(stats) != old.stats:
            return
        self.stats = np.load(stats, allow_pickle=False)
        for number, entry in enumerate(old.shards):
            rows, file = self.rows(number), self.path / entry["file"]
            if file.is_file() and files.sha256(file) == entry["sha256"]:
                self.packed[rows] = np.load(file, allow_pickle=False)
            else:
                self.stats[rows] = (0, 0, Flag.NOT_BUILT)

    def rows(self, number: int) -> slice:
        return slice(self.starts[number], self.starts[number] + self.manifest.rows_per_shard)

    def not_built(self) -> NDArray[np.bool_]:
        return (self.stats["flags"] & Flag.NOT_BUILT) != 0

    def commit(self, shards: list[int]) -> None:
        """Write these shards (the first time all), the stats, and the manifest that vouches for both."""
        entries = list(self.manifest.shards)
        contents: dict[str, bytes] = {}
        for number in shards if entries else range(len(self.starts)):
            name = f"shard-{number:05d}.npy"
            contents[name] = content = _npy(self.packed[self.rows(number)])
            entries[number : number + 1] = [{"file": name, "sha256": hashlib.sha256(content).hexdigest()}]
        contents["stats.npy"] = content = _npy(self.stats)
        self.manifest = dataclasses.replace(
            self.manifest, shards=tuple(entries), stats=hashlib.sha256(content).hexdigest()
        )
        contents["manifest.json"] = self.manifest.to_bytes()
        files.write_together(self.path, contents)


def _differences(part: str, mine: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    """What differs, by name, with both values; long checksums shortened."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in [*mine, *(key for key in theirs if key not in mine)]:
            yield from _differences(f"{part} {key.replace('_', ' ')}", mine.get(key), theirs.get(key))
    elif mine != theirs:
        wanted, got = (v[:12] if isinstance(v, str) and len(v) == 64 else v for v in (mine, theirs))
        yield part, wanted, got


def _npy(array: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _complete(
    building: _Building, data: ImageSet, source: Source, how: Refinement, wanted: NDArray[np.int64], quiet: bool
) -> MaskStore:
    todo = wanted[building.not_built()[wanted]]
    with progress.bar("masks", len(wanted), quiet=quiet) as done:
        finished = len(wanted) - len(todo)
        done(finished)
        for number in range(len(building.starts)):
            rows = building.rows(number)
            mine = todo[(todo >= rows.start) & (todo < rows.stop)]
            committed = time.monotonic()
            for place in range(0, len(mine), BATCH):
                index = mine[place : place + BATCH]
                _find(building, data, source, how, index)
                finished += len(index)
                done(finished)
                if time.monotonic() - committed > SECONDS_BETWEEN_COMMITS or index[-1] == mine[-1]:
                    building.commit([number])
                    committed = time.monotonic()
    return MaskStore(building.path)


def _find(building: _Building, data: ImageSet, source: Source, how: Refinement, index: NDArray[np.int64]) -> None:
    found = source(data, index)
    broken = ~found.object.flatten(1).isfinite().all(1).numpy()
    masks = refine(shrink(found.mask(), data.size).numpy(), how)
    masks[broken] = False  # what a network says where it is not finite is no object
    building.packed[index] = pack(masks)
    building.stats["coverage"][index] = masks.reshape(len(masks), -1).mean(1)
    building.stats["score"][index] = confidence(found).numpy()
    empty = ~masks.reshape(len(masks), -1).any(1)
    building.stats["flags"][index] = np.where(broken, Flag.BROKEN, 0) | np.where(empty, Flag.EMPTY, 0)


def shrink(masks: Bool[Tensor, "B *s"], size: tuple[int, ...]) -> Bool[Tensor, "B *S"]:
    """To the images' size, by area: a pixel is object if at least half of it is."""
    if tuple(masks.shape[1:]) == size:
        return masks
    return F.interpolate(masks[:, None].float(), size, mode="area")[:, 0] >= 0.5


def confidence(found: Segmentation) -> Tensor:
    """Mean probability on the object, (B,); 0 where there is none."""
    mask = found.mask()
    inside = torch.where(mask, found.object, 0.0).flatten(1).sum(1)
    return (inside / mask.flatten(1).sum(1).clamp(min=1)).nan_to_num()
