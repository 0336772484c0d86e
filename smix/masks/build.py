"""Build a mask store: decode images, segment them, shrink and refine the masks, and pack them.

Threads decode the next batches and refine the previous ones. The source is called only in the calling thread, in order, so that two
calls of a network never compete. Finished shards are kept on disk until the store is complete (staged.py): a build that is killed and
started again repeats at most one shard.
"""

import errno
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int, UInt8
from torch import Tensor

from smix import files, progress, signals
from smix.data.image_files import content_number
from smix.data.pictures import Pictures
from smix.data.sets import ImageSet
from smix.errors import MaskError, OptionError, RunError
from smix.masks.keys import ImageKeys
from smix.masks.manifest import Manifest, SplitId, check_manifest, packed_bytes
from smix.masks.names import problem_of
from smix.masks.refine import PARAMETERS, Refinement, refine
from smix.masks.sources import Segmentation, Source
from smix.masks.staged import Shard, StagedStore
from smix.masks.store import COST, Flag, MaskStore, pack

ROWS_PER_SHARD = 1024
"""Number of masks per shard, the most that a killed build loses. Larger for very large data sets: see `MAX_SHARDS`."""
MAX_SHARDS = 256
"""Maximum number of shards, since the number of open files of a process is limited."""
BATCH = 16
SIZE_OF_FOLDERS = (224, 224)
"""Default size of the masks for images of different sizes."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def build_masks(
    data: ImageSet,
    source: Source,
    out: Path | str,
    refine: Refinement | None = None,
    limit: int | None = None,
    quiet: bool = True,
    *,
    size: tuple[int, ...] | None = None,
    save_classes: bool = False,
    strict: bool = False,
    part: tuple[int, int] = (1, 1),
) -> MaskStore | None:
    """Find the object in each image and store the masks.

    An existing store with the same settings is completed after an interruption, extended with a larger `limit`, or repaired after
    damage. Its intact masks are kept, and its damaged ones are built again, whatever the limit.

    Args:
        data: A whole split of a data set.
        source: Source of the masks; see `load_source`.
        out: Folder of the store.
        refine: Refinement of the masks: "none", "published" or "default" (docs/masks.md). None: "default" for masks from networks, "none"
            for existing masks.
        limit: Build only the masks of `data.take(limit)`: class-balanced, and contained in every larger limit. None: build
            all.
        quiet: Do not show a progress bar.
        size: Spatial size of the masks. None: the size of the images, or 224 x 224 for images of different sizes.
        save_classes: Also store the class of each pixel, in 8 bits.
        strict: Stop at the first image that cannot be read or has no mask. By default its mask is empty and flagged.
        part: (i, n) builds only the i-th of n parts, counted from 1. Several processes can build parts of one store at the same time.

    Returns:
        The store, or None if other parts are not built yet.

    Raises:
        DataError: `limit` is out of range.
        OptionError: `part` is out of range.
        MaskError: `data` is not a whole split, `out` contains masks that were built with other settings, the source fails, or the disk
            is full. Finished shards are kept.
        RunError: `out` cannot be written, or another process is building there.

    >>> import tempfile
    >>> from smix import load_data
    >>> from smix.masks import load_source
    >>> data = load_data("digits-on-photos")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = build_masks(data, load_source("carried"), folder, limit=20)
    >>> int(store.built.sum()), store.shape
    (20, (32, 32))
    """
    out = Path(out)
    if len(data.index) != len(data) or not np.array_equal(data.index, np.arange(len(data))):
        raise MaskError(
            f"{out}: a mask store is built for a whole split, but this is a subset of {data.name}; pass the whole split, "
            "and use limit= to build fewer masks"
        )
    if not 1 <= part[0] <= part[1]:
        raise OptionError(f"shard: expected I/N with 1 <= I <= N, got {part[0]}/{part[1]}")
    if refine is None:
        refine = "default" if getattr(source, "needs_images", True) else "none"
    description = source.describe(data)  # first: some sources know their classes only after they have seen the data
    manifest = Manifest(
        data=SplitId(data.name, data.split, data.fingerprint, len(data), has_paths=data.files is not None),
        shape=size or data.size or SIZE_OF_FOLDERS,
        source=description,
        refine={"name": refine, **PARAMETERS.get(refine, {})},
        rows_per_shard=rows_per_shard(len(data)),
        classes=getattr(source, "classes", ()) if save_classes else None,
    )
    check_manifest(manifest)
    keys = None if data.files is None else ImageKeys(data.files.paths, data.files.sizes)
    requested = np.sort(data.take(limit).index)
    try:
        with (
            files.lock(out, shared=part[1] > 1),
            files.lock(out, f".part-{part[0]}-of-{part[1]}.lock"),
            signals.interruptible(),
        ):
            with files.lock(out, ".finish.lock", wait=True):
                staged = StagedStore(out, manifest, keys)
            requested = np.union1d(requested, staged.built_rows())
            _Builder(staged, data, source, refine, requested, strict, quiet).build(part)
            if not staged.is_complete(requested):
                if part[1] > 1:
                    return None
                raise MaskError(
                    f"{out}: a finished shard was damaged during the build; run the same smix masks build again"
                )
            staged.finish()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise MaskError(
            f"{out}: no space is left on the disk, and the masks need {len(data) * packed_bytes(manifest.shape):,} bytes; "
            "free some space and run the same command again: finished shards are kept"
        ) from None
    return MaskStore(out)


def rows_per_shard(count: int) -> int:
    """Return the number of masks per shard for a data set of `count` images: a multiple of 1,024."""
    return ROWS_PER_SHARD * max(1, -(-count // (ROWS_PER_SHARD * MAX_SHARDS)))


@dataclass(frozen=True, eq=False)
class _MaskBatch:
    """Masks of a batch of images, at the size of the store."""

    rows: Int[np.ndarray, "B"]
    masks: Bool[np.ndarray, "B *S"]
    score: Float32[np.ndarray, "B"]
    classes: UInt8[np.ndarray, "B *S"] | None
    broken: dict[int, str]
    """Reason why a mask is broken, by index in the batch."""
    content: list[int]
    """`content_number` of the file of each image, empty for images in memory."""


@dataclass(frozen=True, eq=False)
class _Builder:
    """Builds the missing masks of a store."""

    staged: StagedStore
    data: ImageSet
    source: Source
    refinement: Refinement
    requested: Int[np.ndarray, "N"]
    """Rows that the store must contain, sorted."""
    strict: bool
    quiet: bool
    written: list[int] = field(default_factory=list)
    """Number of masks that were built for each shard."""

    def build(self, part: tuple[int, int]) -> None:
        """Build the missing masks in the shards of a part, and append a line to cost.jsonl, even if the build fails."""
        start = time.perf_counter()
        try:
            self._build(part)
        finally:
            if self.written:
                line = json.dumps({"masks": sum(self.written), "seconds": time.perf_counter() - start})
                try:
                    files.append_text(self.staged.path / COST, f"{line}\n")
                except RunError as error:  # the masks are complete without it
                    sys.stderr.write(f"{error}\n")

    def _build(self, part: tuple[int, int]) -> None:
        staged, missing, total = self.staged, {}, 0
        for number in staged.numbers[part[0] - 1 :: part[1]]:
            shard, rows = staged.load(number), staged.requested_in(number, self.requested)
            total += len(rows)
            if shard is None or not shard.built[rows].all():
                missing[number] = rows if shard is None else rows[~shard.built[rows]]
        finished = total - sum(map(len, missing.values()))
        with progress.bar("masks", total, quiet=self.quiet) as show, ThreadPoolExecutor(THREADS) as pool:
            show(finished)
            for number, rows in missing.items():
                shard, start = staged.load(number) or staged.new_shard(number), staged.manifest.rows(number).start
                # Batches are prefetched only within a shard, so that a build that is killed repeats at most one shard.
                for batch in self._mask_batches(rows + start, pool):
                    self._put(shard, start, batch)
                    finished += len(batch.rows)
                    show(finished)
                    if signals.orphaned():
                        raise KeyboardInterrupt
                staged.write(number, shard)
                self.written.append(len(rows))

    def _mask_batches(self, rows: Int[np.ndarray, "N"], pool: Executor) -> Iterator[_MaskBatch]:
        """Yield the masks of rows, in order."""
        size = int(getattr(self.source, "batch_size", BATCH))
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        segmented = (self._segment(*batch) for batch in ahead(pool, self._read, batches))
        return ahead(pool, self._refine, segmented)

    def _read(self, rows: Int[np.ndarray, "B"]) -> tuple[Int[np.ndarray, "B"], ImageSet, dict[int, str], list[int]]:
        """Return the rows, their images, the reason why an image cannot be read, by index in the batch, and the content numbers."""
        batch = self.data.rows(rows)
        known = batch.files
        content = [] if known is None else [content_number(known.root / path) for path in known.paths]
        if not isinstance(batch.images, Pictures) or not getattr(self.source, "needs_images", True):
            return rows, batch, {}, content
        pictures, errors = batch.images.read()
        broken = {place: str(error).replace(f"{pictures.home}{os.sep}", "") for place, error in errors.items()}
        return rows, replace(batch, images=pictures), broken, content

    def _segment(
        self, rows: Int[np.ndarray, "B"], batch: ImageSet, broken: dict[int, str], content: list[int]
    ) -> _MaskBatch:
        shape = self.staged.manifest.shape
        result = self.source(batch, np.arange(len(rows)))
        for place in np.flatnonzero(~result.object.flatten(1).isfinite().all(1).numpy()).tolist():
            broken.setdefault(place, result.problems.get(place, "the output of the source is not finite"))
        classes = None if self.staged.manifest.classes is None else resize_class_maps(result, shape)
        masks, score = resize_masks(result.mask(), shape).numpy(), confidence(result).numpy()
        return _MaskBatch(rows, masks, score, classes, broken, content)

    def _refine(self, batch: _MaskBatch) -> _MaskBatch:
        masks = refine(batch.masks, self.refinement)
        masks[list(batch.broken)] = False  # an image that could not be read has no object, whatever the source returned
        return replace(batch, masks=masks)

    def _put(self, shard: Shard, start: int, batch: _MaskBatch) -> None:
        """Copy masks into a shard whose first row is `start`."""
        reasons = {
            place: problem_of(self.data.stem(int(batch.rows[place])), why) for place, why in batch.broken.items()
        }
        if self.strict and reasons:
            raise MaskError(
                f"{self.data.name}: {reasons[min(reasons)]}; repair the image or its mask, or omit --strict"
            )
        places, flat = batch.rows - start, batch.masks.reshape(len(batch.masks), -1)
        shard.packed[places] = pack(batch.masks)
        shard.stats["coverage"][places] = flat.mean(1)
        shard.stats["score"][places] = batch.score
        shard.stats["flags"][places] = np.where(flat.any(1), 0, Flag.EMPTY)
        if self.staged.manifest.data.has_paths:
            shard.stats["content"][places] = batch.content
        if shard.classes is not None and batch.classes is not None:
            shard.classes[places] = batch.classes
        for place, reason in reasons.items():
            for name, value in (("coverage", 0), ("score", 0), ("flags", Flag.BROKEN | Flag.EMPTY)):
                shard.stats[name][places[place]] = value
            shard.broken[int(batch.rows[place])] = reason


THREADS = min(8, (os.cpu_count() or 1) + 1)
"""Number of threads that decode and refine, and maximum number of batches that each of these steps prefetches."""


def ahead(pool: Executor, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, while a pool computes up to `THREADS` of the next ones."""
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > THREADS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def resize_masks(masks: Bool[Tensor, "B *s"], size: Sequence[int]) -> Bool[Tensor, "B *S"]:
    """Resize masks to a spatial size by area: a pixel belongs to the object if at least half of its area does."""
    if tuple(masks.shape[1:]) == tuple(size):
        return masks
    return F.interpolate(masks[:, None].float(), tuple(size), mode="area")[:, 0] >= 0.5


def resize_class_maps(result: Segmentation, size: Sequence[int]) -> UInt8[np.ndarray, "B *S"]:
    """Resize class maps to a spatial size by nearest-neighbour interpolation. If the source has no classes, the object has class 1."""
    classes = result.mask().to(torch.uint8) if result.classes is None else result.classes
    return F.interpolate(classes[:, None].float(), tuple(size), mode="nearest-exact")[:, 0].to(torch.uint8).numpy()


def confidence(result: Segmentation) -> Float[Tensor, "B"]:
    """Return the score of the source or, without one, the mean probability over the pixels of the object; 0 if there is no object."""
    if result.score is not None:
        return result.score
    mask = result.mask()
    inside = torch.where(mask, result.object, 0.0).flatten(1).sum(1)
    return (inside / mask.flatten(1).sum(1).clamp(min=1)).nan_to_num()
