"""A mask store: a folder with the object masks of one split of a data set, one bit per pixel.

    manifest.json     the data set, the settings of the build, and the sha256 of every other file; written last
    shard-00000.npy   uint8 (rows, ceil(pixels / 8)): masks flattened in C order, packbits(bitorder="big"), memory-mapped
    stats.npy         structured (N,): coverage f4, score f4 (mean confidence on the object), flags u1; for images in files
                      also content u8, the first 64 bits of the sha256 of the file, 0 if it is unknown
    classes-00000.npy uint8 (rows, *S): the class of each pixel, 0 for none; only with --save-classes
    images.tsv        size in bytes and path of the file of each image, from the root of the data set; only for images in files
    broken.json       the reason why a mask is broken, by row; only if a mask is broken
    cost.jsonl        one line per build: number of masks, seconds; not covered by the manifest

A mask covers the whole uncropped image. Row i belongs to image i of the whole split, whichever rows were built.
"""

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from numpy.typing import NDArray

from smix import files
from smix.arrays import map_npy
from smix.data.dataset_paths import paths_of
from smix.data.imageset import ImageSet
from smix.errors import MaskError
from smix.masks.keys import IMAGES, ImageKeys
from smix.masks.manifest import BROKEN, STATS, Manifest, read_manifest
from smix.reprs import describe
from smix.untrusted import UnreadableError, one_line, open_file, parse_json, read_bytes, read_text, typed

Rows = NDArray[Any] | Sequence[int] | slice | int
"""Row numbers, negative ones from the end, or a bool for each row."""
STATS_DTYPE = np.dtype([("coverage", "<f4"), ("score", "<f4"), ("flags", "u1")])
STATS_OF_FILES = np.dtype([*STATS_DTYPE.descr, ("content", "<u8")])
"""Type of stats.npy in a store of images in files."""
COST = "cost.jsonl"


class Flag(IntFlag):
    """Reasons why a mask cannot be used."""

    BROKEN = 1
    """The image could not be read, or the output of the source was not finite."""
    EMPTY = 2
    """The mask contains no object."""
    NOT_BUILT = 4
    """The mask has not been built."""


@dataclass(frozen=True, eq=False)
class _Mapped:
    """A memory-mapped file of the store."""

    array: NDArray[Any]
    path: str
    status: os.stat_result
    """Status of the file when its sha256 was compared."""

    def changed(self) -> bool:
        """Return True if the file was modified in place since then. If it was replaced, the old content stays mapped."""
        try:
            now = os.stat(self.path)  # noqa: PTH116 - for each shard of a batch: pathlib takes four times as long
        except FileNotFoundError:
            return False
        same_file = (now.st_dev, now.st_ino) == (self.status.st_dev, self.status.st_ino)
        return same_file and (now.st_size, now.st_mtime_ns) != (self.status.st_size, self.status.st_mtime_ns)


class MaskStore:
    """Read the masks in a folder: `store[index]` is a bool array (n, *S).

    The sha256 of a shard is checked when it is first read, and again after the size or modification time of its file has changed. A store
    may be extended while it is open.

    A store can be pickled: only its path is sent, and all processes of a machine share the memory-mapped files.

    Args:
        path: Folder of the store.

    Raises:
        MaskError: The store is missing or damaged, or rows are read that were not built.

    >>> import tempfile
    >>> from smix import build_masks, load_data
    >>> from smix.masks import load_source
    >>> data = load_data("digits-on-photos")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = build_masks(data, load_source("carried"), folder, limit=20)
    ...     store = MaskStore(folder)
    ...     rows = store.built.nonzero()[0]
    ...     masks = store[rows[:3]]
    >>> len(store), len(rows), masks.shape, masks.dtype
    (1297, 20, (3, 32, 32), dtype('bool'))
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.manifest = read_manifest(self.path)
        self._mapped: dict[str, _Mapped] = {}
        # A copy (9 or 17 bytes per row), so that later changes of the file are not seen.
        self.stats: NDArray[Any] = self._file(STATS, stats_dtype(self.manifest), self.manifest.count).copy()

    def __reduce__(self) -> tuple[type["MaskStore"], tuple[str]]:
        return MaskStore, (str(self.path.resolve()),)

    def __len__(self) -> int:
        return self.manifest.count

    def __repr__(self) -> str:
        split, built = self.manifest.data, int(self.built.sum())
        values = {
            "path": str(self.path),
            "masks": f"{built:,} of {len(self):,} built, {int(self.usable.sum()):,} usable",
            "shape": str(self.shape),
            "data": f"{split.name}, {split.split}",
            "source": str(self.manifest.source.get("name")),
        }
        return describe(self, values, "store[rows], store.coverage, smix.TrainConfig(masks=...), smix masks check")

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial size S of the masks."""
        return self.manifest.shape

    @property
    def coverage(self) -> Float32[np.ndarray, "N"]:
        """Fraction of each mask's pixels that belong to the object, in [0, 1]."""
        return self.stats["coverage"]

    @property
    def scores(self) -> Float32[np.ndarray, "N"]:
        """Mean confidence of the source over the pixels of each object, in [0, 1]."""
        return self.stats["score"]

    @property
    def built(self) -> Bool[np.ndarray, "N"]:
        """True for masks that are built."""
        built: NDArray[np.bool_] = (self.stats["flags"] & Flag.NOT_BUILT) == 0
        return built

    @property
    def usable(self) -> Bool[np.ndarray, "N"]:
        """True for masks that are built, not broken and not empty."""
        valid: NDArray[np.bool_] = self.stats["flags"] == 0
        return valid

    @property
    def seconds(self) -> float:
        """Seconds that the masks took to build, summed over all builds and processes; NaN if they were not recorded."""
        try:
            lines = read_text(self.path / COST, follow_links=False).splitlines()
            return (
                math.fsum(typed(parse_json(line), dict[str, float])["seconds"] for line in lines) if lines else math.nan
            )
        except (UnreadableError, KeyError):
            return math.nan

    @property
    def problems(self) -> dict[int, str]:
        """Reason why a mask is broken, by row."""
        if BROKEN not in self.manifest.files:
            return {}
        try:
            content = read_bytes(self.path / BROKEN, follow_links=False)
        except UnreadableError as error:
            raise self._damaged(f"{BROKEN} cannot be read: {error}") from None
        self._check_sha256(BROKEN, hashlib.sha256(content).hexdigest())
        return parse_problems(content, self.manifest.count)

    def __getitem__(self, index: Rows) -> Bool[np.ndarray, "n *S"]:
        return unpack(self._gather(index, 0), self.shape)

    def classes(self, index: Rows) -> UInt8[np.ndarray, "n *S"]:
        """Return class maps of the selected rows: 0 for no object, k for the k-th name in `manifest.classes`.

        Args:
            index: Row numbers, a slice, or a bool for each row.

        Raises:
            MaskError: The store has no class maps, or rows are not built.
        """
        if self.manifest.classes is None:
            raise MaskError(f"{self.path}: the store has no class maps; build one with --save-classes")
        return self._gather(index, 1)

    def _gather(self, index: Rows, kind: int) -> UInt8[np.ndarray, "n *shape"]:
        """Copy rows out of the packed masks (kind 0) or the class maps (1)."""
        rows = self._rows(index)
        content = np.empty((len(rows), *self.manifest.shard_shapes(0)[kind][1:]), np.uint8)
        numbers, places = np.divmod(rows, self.manifest.rows_per_shard)
        # Row by row: in a random batch, nearly every row comes from another shard.
        arrays = {number: self._shard(number, kind) for number in np.unique(numbers).tolist()}
        for place, (number, row) in enumerate(zip(numbers.tolist(), places.tolist(), strict=True)):
            content[place] = arrays[number][row]
        return content

    def _rows(self, index: Rows) -> Int[np.ndarray, "n"]:
        """Convert an index to row numbers. Raises MaskError unless all of these masks are built."""
        rows = np.atleast_1d(np.arange(len(self))[index])
        if rows.ndim != 1:
            raise IndexError(f"{self.path}: the index must have one dimension, got shape {rows.shape}")
        if missing := int((self.stats["flags"][rows] & Flag.NOT_BUILT != 0).sum()):
            raise MaskError(
                f"{self.path}: {missing} of the requested masks are not built; "
                "build them with the same smix masks build and a larger --limit"
            )
        return rows

    @property
    def has_paths(self) -> bool:
        """True if the store knows the file of each image: rows are then found by path, in any order."""
        return self.manifest.data.has_paths

    def lookup(self, paths: Sequence[str | os.PathLike[str]]) -> Int[np.ndarray, "n"]:
        """Return the row of each image by its path.

        A path may be absolute or relative. It matches a path of the store (from the root of the data set) if the absolute path of the
        file ends with that; without such a file, if one of the two is the end of the other, in whole components. If several
        rows match, the common folder of all paths must resolve the ambiguity. The sizes of all files and the content of 64 of
        them must be those of the build.

        Args:
            paths: Path of the file of each image.

        Raises:
            MaskError: The store has no paths; or an image has no row, an ambiguous row, the row of another path, or a file
                whose size or content differs from that of the build.

        >>> import tempfile
        >>> from PIL import Image
        >>> from smix import build_masks, load_data
        >>> from smix.masks import load_source
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("train/cat/1", "train/dog/1", "test/cat/2"):
        ...         Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
        ...         Image.new("RGB", (8, 8)).save(Path(folder, f"{name}.jpg"))
        ...         Image.new("L", (8, 8), 255).save(Path(folder, f"{name}.png"))
        ...     data = load_data(f"folder:{folder}", split="all")
        ...     store = build_masks(data, load_source(f"masks:{folder}"), Path(folder, "store"))
        ...     store.lookup([Path(folder, "test/cat/2.jpg"), Path(folder, "train/cat/1.jpg")]).tolist()
        [2, 0]
        """
        one = isinstance(paths, str | bytes) or not isinstance(paths, Sequence | np.ndarray)
        kinds = {type(path).__name__ for path in ([] if one else paths) if not isinstance(path, str | os.PathLike)}
        if one or kinds:
            got = type(paths).__name__ if one else f"items of type {', '.join(sorted(kinds))}"
            raise MaskError(f"{self.path}: expected a sequence of paths, got {got}; pass [path] for one image")
        return self._find(paths)

    def align(self, dataset: Any) -> Int[np.ndarray, "N"]:
        """Return the row of each image of a data set.

        Args:
            dataset: A data set with `samples` or `imgs` (torchvision's ImageFolder), `paths`, or timm's `filenames`; a `Subset` of one; a
                sequence of paths; or an `ImageSet`. The rows of data sets that do not list their paths cannot be looked up:
                such images must be in the order of the store, as in `load_data`.

        Raises:
            MaskError: The data set has no paths, or `lookup` fails; or the store was built for another split or data set.
            DataError: The data set lists more or fewer paths than it has images.
        """
        if isinstance(dataset, ImageSet):
            if self.has_paths and dataset.files is not None:
                root = dataset.files.root.absolute().as_posix()
                paths = [f"{root}/{path}" for path in dataset.files.paths]
                return self._find(paths, dataset.files.sizes.tolist(), root)
            self._check_same_split(dataset)
            return dataset.index
        if (listed := paths_of(dataset)) is None:
            raise MaskError(
                f"{type(dataset).__name__}: the data set does not list the paths of its images (samples, imgs or paths), so that their "
                f"masks cannot be found in {self.path}; use its rows in the order of smix.load_data, or pass paths to lookup"
            )
        return self._find(_files(dataset, listed) if self.has_paths else listed)

    def check_built(self, rows: Int[np.ndarray, "n"], name: str = "") -> None:
        """Check that masks are built.

        Args:
            rows: Rows of the masks.
            name: Name of the data set in the message.

        Raises:
            MaskError: Some of the masks are not built.
        """
        if missing := int((~self.built[rows]).sum()):
            raise MaskError(
                f"{self.path}: only {len(rows) - missing} of {len(rows)} images{f' of {name}' if name else ''} have masks "
                f"({self.built.sum()} are built); build the rest with the same smix masks build and a larger --limit"
            )

    def _find(
        self, paths: Sequence[str | os.PathLike[str]], sizes: Sequence[int] | None = None, root: str | None = None
    ) -> Int[np.ndarray, "n"]:
        if not self.has_paths:
            raise MaskError(
                f"{self.path}: the store was built for images in memory ({self.manifest.data.name}), which have no paths; use the rows "
                "in the order of smix.load_data, or build masks of the image files with --data folder:DIR"
            )
        try:
            rows = self._keys.rows(paths, sizes, root)
            self._keys.check_content(paths, rows, self.stats["content"])
        except MaskError as error:
            raise MaskError(f"{self.path}: {error}") from None
        return rows

    @cached_property
    def _keys(self) -> ImageKeys:
        try:
            content = read_bytes(self.path / IMAGES, follow_links=False)
        except UnreadableError as error:
            raise self._damaged(f"{IMAGES} cannot be read: {error}") from None
        self._check_sha256(IMAGES, hashlib.sha256(content).hexdigest())
        return ImageKeys.parse(content, len(self))

    def _check_same_split(self, data: ImageSet) -> None:
        """Raise MaskError unless the rows of the store are those of the split that `data` belongs to."""
        own = self.manifest.data
        kind = "split" if own.split != data.split else "data set" if own.fingerprint != data.fingerprint else None
        if kind is not None:
            raise MaskError(
                f"{self.path}: expected masks of {data.name} {data.split} ({data.fingerprint[:8]}), got masks of another {kind} "
                f"({own.name} {own.split}, {own.fingerprint[:8]}); build masks of {data.name} {data.split} with smix masks build"
            )

    def check_belongs(self, data: ImageSet) -> None:
        """Check that the mask of every image of `data` is built.

        Raises:
            MaskError: The store was built for other images, or too few of its masks are built.
        """
        self.check_built(self.align(data), f"{data.name} {data.split}")

    def damaged(self) -> list[str]:
        """Read every file, and return the names of those that are missing or differ from their sha256."""
        names = []
        for name, expected in self.manifest.files.items():
            try:
                intact = files.sha256(self.path / name, follow_links=False) == expected
            except UnreadableError:
                intact = False
            if not intact:
                names.append(name)
        return names

    def verify(self) -> None:
        """Read every file and compare it with its sha256.

        Raises:
            MaskError: Files are damaged; the message names them.
        """
        if damaged := self.damaged():
            raise self._damaged(f"damaged files: {', '.join(damaged[:5])}{', ...' if len(damaged) > 5 else ''}")
        for number in range(self.manifest.shard_count):
            for kind in range(len(self.manifest.shard_files(number))):
                self._shard(number, kind)
        _ = self.problems
        if self.has_paths:
            _ = self._keys

    def _shard(self, number: int, kind: int) -> UInt8[np.ndarray, "n *shape"]:
        name, shape = self.manifest.shard_files(number)[kind], self.manifest.shard_shapes(number)[kind]
        return self._file(name, np.uint8, *shape)

    def _file(self, name: str, dtype: Any, *shape: int) -> NDArray[Any]:
        """Return the array in a file of the store. Its sha256 is checked on first use and after the file has changed."""
        mapped = self._mapped.get(name)
        try:
            if mapped is not None and not mapped.changed():
                return mapped.array
            with open_file(self.path / name, follow_links=False) as file:
                status = os.fstat(file.fileno())
                self._check_sha256(name, hashlib.file_digest(file, "sha256").hexdigest())
                array = map_npy(file)
        except (OSError, UnreadableError) as error:
            reason = getattr(error, "strerror", None) or one_line(error)
            raise self._damaged(f"{name} cannot be read: {reason}") from None
        if array.dtype != dtype or array.shape != shape:
            raise self._damaged(
                f"{name} contains {array.dtype} of shape {array.shape} instead of {np.dtype(dtype)} of shape {shape}"
            )
        self._mapped[name] = _Mapped(array, str(self.path / name), status)
        return array

    def _check_sha256(self, name: str, checksum: str) -> None:
        if checksum == self.manifest.files[name]:
            return
        extended = read_manifest(self.path)  # a build may have extended the store since it was opened
        if extended.identity == self.manifest.identity and checksum == extended.files.get(name):
            self.manifest = extended
            return
        raise self._damaged(f"{name} has sha256 {checksum[:8]} instead of {self.manifest.files[name][:8]}")

    def _damaged(self, problem: str) -> MaskError:
        return MaskError(f"{self.path}: {problem}; repair the store with the same smix masks build")


def _files(dataset: Any, listed: Sequence[str]) -> list[str]:
    """Return paths that a data set lists as paths of existing files, relative ones from its `root` if they are there.

    Raises:
        MaskError: A path leads to no file, or to two: which images the data set reads would be a guess.
    """
    root = getattr(dataset, "root", None)
    existing: list[str] = []
    for path in listed:
        places = {os.path.abspath(path)} if os.path.isfile(path) else set()  # noqa: PTH100, PTH113
        if isinstance(root, str | os.PathLike) and os.path.isfile(inside := os.path.join(root, path)):  # noqa: PTH113, PTH118
            places.add(os.path.abspath(inside))  # noqa: PTH100
        if len(places) != 1:
            got = " and ".join(sorted(places)) if places else "no such file"
            raise MaskError(
                f"{type(dataset).__name__}: expected paths of existing files, got {path} ({got}); list full paths, or pass "
                "rows=store.lookup(paths)"
            )
        existing += places
    return existing


def stats_dtype(manifest: Manifest) -> np.dtype[Any]:
    """Return the type of stats.npy."""
    return STATS_OF_FILES if manifest.data.has_paths else STATS_DTYPE


def parse_problems(content: bytes, count: int) -> dict[int, str]:
    """Return the content of broken.json: the reason why a mask is broken, by row below `count`.

    Raises:
        MaskError: `content` is not a valid broken.json.
    """
    try:
        problems = {int(row): reason for row, reason in typed(parse_json(content), dict[str, str]).items()}
    except ValueError:
        problems = {-1: ""}
    if not all(0 <= row < count for row in problems):
        raise MaskError(
            "broken.json: the file does not list a reason for each broken row; run the same smix masks build again"
        )
    return problems


def verify(paths: Sequence[Path]) -> tuple[list[Path], list[MaskError]]:
    """Read every file of several stores and compare it with its sha256.

    Args:
        paths: Folders of the stores.

    Returns:
        The folders of the intact stores, and the errors of the others.
    """
    intact, errors = [], []
    for path in paths:
        try:
            MaskStore(path).verify()
            intact.append(path)
        except MaskError as error:
            errors.append(error)
    return intact, errors


def pack(masks: Bool[np.ndarray, "n *S"]) -> UInt8[np.ndarray, "n bytes"]:
    """Pack each mask into a row of bytes, with the first pixel in the highest bit."""
    return np.packbits(masks.reshape(len(masks), math.prod(masks.shape[1:])), axis=1, bitorder="big")


def unpack(packed: UInt8[np.ndarray, "n bytes"], shape: tuple[int, ...]) -> Bool[np.ndarray, "n *S"]:
    """Unpack rows of bytes into masks of the given spatial size: the inverse of `pack`."""
    bits = np.unpackbits(packed, axis=1, count=math.prod(shape), bitorder="big")
    return bits.view(bool).reshape(len(packed), *shape)
