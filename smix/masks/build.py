"""Build a mask store: decode, segment, shrink to the masks' size, refine, pack. Stopped and started again, it goes on.

Other threads decode the batches ahead and refine those behind; the source is called in this one, in order, so that a network
has the machine to itself. Finished shards wait on the disk (work.py) until all are there: a build that is killed redoes one shard.
"""

import errno
import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from smix import files, launch, progress
from smix.data.pictures import Pictures
from smix.data.sets import ImageSet
from smix.errors import MaskError, OptionError, RunError
from smix.masks.manifest import Manifest, SplitId, check_manifest
from smix.masks.refine import NUMBERS, Refinement, refine
from smix.masks.sources import Segmentation, Source
from smix.masks.store import COST, Flag, MaskStore, pack, packed_bytes
from smix.masks.work import Shard, StagedStore

ROWS_PER_SHARD = 1024
"""A build that is killed loses at most this much work ..."""
MOST_SHARDS = 256
"""... unless the data set is so large that it would be more files than a process may keep open."""
BATCH = 16
SIZE_OF_FOLDERS = (224, 224)
"""Size of the masks where images have different sizes."""


def build_masks(
    data: ImageSet,
    source: Source,
    out: Path | str,
    refine: Refinement = "default",
    limit: int | None = None,
    quiet: bool = True,
    *,
    size: tuple[int, ...] | None = None,
    save_classes: bool = False,
    strict: bool = False,
    part: tuple[int, int] = (1, 1),
) -> MaskStore | None:
    """Find the object of each image and store the masks in `out`.

    A store that is there with the same settings is completed: after an interruption, a larger `limit`, or damage. What it had is
    never given up: damaged masks are built again, whatever the limit.

    Args:
        data: A whole split.
        limit: Only the masks of `data.take(limit)`: class-balanced, and part of every larger limit.
        size: Of the masks; None: the images' own, or 224 x 224 for files of different sizes.
        save_classes: Store the class of each pixel, too, 8 bits.
        strict: Stop at the first image that cannot be read, or has no mask; otherwise its mask is empty and flagged.
        part: (i, n): only the i-th of n parts, from 1; any number of processes can build parts of one store at once.

    Returns:
        The store; None if other parts are missing.

    Raises:
        MaskError: `out` holds masks made otherwise, or the disk is full; what was built stays.
    """
    out = Path(out)
    if len(data.index) != len(data) or not np.array_equal(data.index, np.arange(len(data))):
        raise MaskError(f"{out}: expected a whole split, got a part of {data.name}; give the whole one and a limit")
    if not 1 <= part[0] <= part[1]:
        raise OptionError(f"shard: expected I/N with 1 <= I <= N, got {part[0]}/{part[1]}")
    described = source.describe(data)  # first: some sources know their classes only when they have seen the data
    names: tuple[str, ...] | None = getattr(source, "classes", ()) if save_classes else None
    manifest = Manifest(
        data=SplitId(data.name, data.split, data.fingerprint, len(data)),
        shape=size or data.size or SIZE_OF_FOLDERS,
        source=described,
        refine={"name": refine, **NUMBERS.get(refine, {})},
        rows_per_shard=rows_per_shard(len(data)),
        classes=names,
    )
    check_manifest(manifest)
    wanted = np.sort(data.take(limit).index)
    alone = part[1] == 1
    try:
        with (
            files.lock(out, shared=not alone),
            files.lock(out, f".part-{part[0]}-of-{part[1]}.lock"),
            launch.interruptible(),
        ):
            with files.lock(out, ".finish.lock", wait=True):
                work = StagedStore(out, manifest)
            wanted = np.union1d(wanted, work.built_rows())
            build = _Build(work, data, source, refine, wanted, strict, quiet)
            with _costed(out, build):
                build.run(part)
            if not work.is_complete(wanted):
                assert not alone, f"{out}: all shards were built, and some are missing"
                return None
            work.finish()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise MaskError(
            f"{out}: expected room for {len(data) * packed_bytes(manifest.shape):,} bytes of masks, got no space left on the "
            "disk; free some and start the same command again: finished shards are kept"
        ) from None
    return MaskStore(out)


def rows_per_shard(count: int) -> int:
    """A multiple of 1,024."""
    return ROWS_PER_SHARD * max(1, -(-count // (ROWS_PER_SHARD * MOST_SHARDS)))


@dataclass(frozen=True, eq=False)
class _Found:
    """Masks of a batch, at the size of the store."""

    rows: NDArray[np.int64]
    masks: NDArray[np.bool_]
    score: NDArray[np.float32]
    classes: NDArray[np.uint8] | None
    broken: dict[int, str]
    """Why, by place in the batch."""


@dataclass(frozen=True, eq=False)
class _Build:
    work: StagedStore
    data: ImageSet
    source: Source
    refine: Refinement
    wanted: NDArray[np.int64]
    strict: bool
    quiet: bool
    written: list[int] = field(default_factory=list)
    """Number of masks that each finished shard got."""

    def run(self, part: tuple[int, int]) -> None:
        """Build what is missing of the shards of this part."""
        work = self.work
        mine = [number for number in work.numbers if number % part[1] == part[0] - 1]
        todo = {}
        total = finished = 0
        for number in mine:
            shard, rows = work.load(number), work.wanted_of(number, self.wanted)
            missing = rows if shard is None else rows[~shard.built[rows]]
            total, finished = total + len(rows), finished + len(rows) - len(missing)
            if shard is None or len(missing):
                todo[number] = missing
        with progress.bar("masks", total, quiet=self.quiet) as done:
            done(finished)
            for number, missing in todo.items():
                shard, start = work.load(number) or work.empty(number), work.manifest.rows(number).start
                # What is found ahead of its turn ends with the shard: a build that is killed redoes one, no more.
                for found in self._found(_batches(missing + start, self._batch)):
                    self._put(shard, start, found)
                    finished += len(found.rows)
                    done(finished)
                    if launch.orphaned():
                        raise KeyboardInterrupt
                work.write(number, shard)
                self.written.append(len(missing))

    @property
    def _batch(self) -> int:
        return int(getattr(self.source, "batch_size", BATCH))

    def _found(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[_Found]:
        """Yield the masks of rows, in order: a few batches are read ahead, and refined behind."""
        threads = min(8, (os.cpu_count() or 1) + 1)
        reading: deque[Future[tuple[ImageSet, dict[int, str]]]] = deque()
        refining: deque[Future[_Found]] = deque()
        with ThreadPoolExecutor(threads) as pool:
            try:
                for place, rows in enumerate(batches):
                    while len(reading) < threads and place + len(reading) < len(batches):
                        reading.append(pool.submit(self._read, batches[place + len(reading)]))
                    batch, broken = reading.popleft().result()
                    refining.append(pool.submit(self._refined, self._segmented(rows, batch, broken)))
                    if len(refining) > threads:
                        yield refining.popleft().result()
                while refining:
                    yield refining.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _read(self, rows: NDArray[np.int64]) -> tuple[ImageSet, dict[int, str]]:
        """The images of these rows, and why some are none."""
        batch = self.data.rows(rows)
        if not isinstance(batch.images, Pictures) or not getattr(self.source, "needs_images", True):
            return batch, {}
        pictures, failed = batch.images.read()
        why = {place: str(error).replace(f"{pictures.home}{os.sep}", "") for place, error in failed.items()}
        return batch.with_images(pictures), why

    def _segmented(self, rows: NDArray[np.int64], batch: ImageSet, broken: dict[int, str]) -> _Found:
        shape = self.work.manifest.shape
        found = self.source(batch, np.arange(len(rows)))
        for place in np.flatnonzero(~found.object.flatten(1).isfinite().all(1).numpy()).tolist():
            broken.setdefault(place, found.problems.get(place, "no finite answer"))
        classes = None if self.work.manifest.classes is None else shrink_classes(found, shape)
        return _Found(rows, shrink(found.mask(), shape).numpy(), confidence(found).numpy(), classes, broken)

    def _refined(self, found: _Found) -> _Found:
        masks = refine(found.masks, self.refine)
        masks[list(found.broken)] = False  # what is said of an image that nobody saw is no object
        return replace(found, masks=masks)

    def _put(self, shard: Shard, start: int, found: _Found) -> None:
        if self.strict and found.broken:
            place, why = min(found.broken.items())
            raise MaskError(
                f"{self.data.name}: expected a mask of every image (--strict), got none of "
                f"{self.data.stem(int(found.rows[place]))}: {why}"
            )
        places, flat = found.rows - start, found.masks.reshape(len(found.masks), -1)
        shard.packed[places] = pack(found.masks)
        shard.stats["coverage"][places] = flat.mean(1)
        shard.stats["score"][places] = found.score
        shard.stats["flags"][places] = np.where(flat.any(1), 0, Flag.EMPTY)
        if shard.classes is not None and found.classes is not None:
            shard.classes[places] = found.classes
        for place, why in found.broken.items():
            shard.stats[places[place]] = (0, 0, Flag.BROKEN | Flag.EMPTY)
            shard.broken[int(found.rows[place])] = f"{self.data.stem(int(found.rows[place]))}: {why}"


@contextmanager
def _costed(out: Path, build: _Build) -> Iterator[None]:
    """Note how long the masks took that were built inside, however it ended: a line in cost.jsonl."""
    start = time.perf_counter()
    try:
        yield
    finally:
        if build.written:
            line = json.dumps({"masks": sum(build.written), "seconds": time.perf_counter() - start})
            try:
                files.append_text(out / COST, f"{line}\n")
            except RunError as error:  # the masks are worth more than the time that they took
                sys.stderr.write(f"{error}\n")


def _batches(rows: NDArray[np.int64], batch: int) -> list[NDArray[np.int64]]:
    return [rows[first : first + batch] for first in range(0, len(rows), batch)]


def shrink(masks: Bool[Tensor, "B *s"], size: Sequence[int]) -> Bool[Tensor, "B *S"]:
    """Shrink masks to a size by area: a pixel is object if at least half of it is."""
    if tuple(masks.shape[1:]) == tuple(size):
        return masks
    return F.interpolate(masks[:, None].float(), tuple(size), mode="area")[:, 0] >= 0.5


def shrink_classes(found: Segmentation, size: Sequence[int]) -> NDArray[np.uint8]:
    """The class map at the masks' size, by the nearest pixel. Sources without classes say 1 for object."""
    classes = found.mask().to(torch.uint8) if found.classes is None else found.classes
    return F.interpolate(classes[:, None].float(), tuple(size), mode="nearest-exact")[:, 0].to(torch.uint8).numpy()


def confidence(found: Segmentation) -> Tensor:
    """Mean probability on the object, (B,); 0 where there is none."""
    mask = found.mask()
    inside = torch.where(mask, found.object, 0.0).flatten(1).sum(1)
    return (inside / mask.flatten(1).sum(1).clamp(min=1)).nan_to_num()
