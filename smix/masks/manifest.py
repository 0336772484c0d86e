"""Read and write manifest.json of a mask store: the data set, the settings of the build, and the sha256 of every file."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from smix.errors import MaskError
from smix.masks.keys import IMAGES
from smix.untrusted import OtherVersionError, UnreadableError, read_checked, to_record, typed, with_checksum

FORMAT: Literal[4] = 4
BUILDING = "building"
"""Folder of shards that are finished but not yet part of the store."""
STATS, BROKEN = "stats.npy", "broken.json"

MAX_PIXELS = 1 << 31
Count = Annotated[int, Meta(ge=1, le=1 << 40)]
Name = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


@dataclass(frozen=True)
class SplitId:
    """One split of a data set."""

    name: Name
    split: Literal["train", "val", "test", "all"]
    fingerprint: str
    """Sha256 of the images and labels, or of the names and sizes of image files."""
    count: Count
    """Number of images."""
    has_paths: bool = False
    """True if images.tsv has the path and size of the file of each image."""


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json."""

    data: SplitId
    shape: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=3)]
    """Spatial size of the masks."""
    source: dict[str, Any]
    """Name, sha256 of the weights, input size and other settings of the source."""
    refine: dict[str, Any]
    """Name and parameters of the refinement."""
    rows_per_shard: Count
    classes: Annotated[tuple[Name, ...], Meta(max_length=254)] | None = None
    """Names of the classes 1, 2, ... in the class maps. None: the store has no class maps."""
    files: dict[str, Sha256] = field(default_factory=dict)
    """Sha256 of each file except manifest.json, by file name; empty while the store is being built."""
    format: Literal[4] = FORMAT

    @property
    def count(self) -> int:
        """Number of masks, built or not."""
        return self.data.count

    @property
    def shard_count(self) -> int:
        """Number of shards of the finished store."""
        return -(-self.count // self.rows_per_shard)

    @property
    def file_names(self) -> list[str]:
        """Names of the files that a finished store must have; broken.json is optional."""
        images = [IMAGES] if self.data.has_paths else []
        return [*(name for number in range(self.shard_count) for name in self.shard_files(number)), STATS, *images]

    def shard_files(self, number: int) -> list[str]:
        """Return the names of the files of a shard: its masks and, if the store has them, its class maps."""
        kinds = ("shard",) if self.classes is None else ("shard", "classes")
        return [f"{kind}-{number:05d}.npy" for kind in kinds]

    def shard_shapes(self, number: int) -> list[tuple[int, ...]]:
        """Return the shapes of the uint8 arrays in the files of a shard."""
        rows = len(self.rows(number))
        return [(rows, packed_bytes(self.shape)), (rows, *self.shape)][: 1 if self.classes is None else 2]

    def rows(self, number: int) -> range:
        """Return the rows of a shard."""
        start = number * self.rows_per_shard
        return range(start, min(start + self.rows_per_shard, self.count))

    def settings(self) -> dict[str, Any]:
        """Return the settings that determine the masks, without the name of the data set. Builds with equal settings can share a store."""
        values = json.loads(json.dumps(asdict(self)))
        del values["data"]["name"]
        return {name: values[name] for name in ("data", "shape", "source", "refine", "classes")}

    @property
    def identity(self) -> str:
        """Sha256 of the settings and the rows per shard, by which a finished shard refers to its build."""
        settings = {**self.settings(), "rows_per_shard": self.rows_per_shard}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the content of manifest.json, with a sha256 of itself."""
        return with_checksum(asdict(self))


def packed_bytes(shape: tuple[int, ...]) -> int:
    """Return the number of bytes of a mask that is stored with one bit per pixel."""
    return -(-math.prod(shape) // 8)


def check_manifest(manifest: Manifest) -> None:
    """Check before a build that its manifest can be read.

    Raises:
        MaskError: A name or a size in it is not allowed.
    """
    try:
        _checked(json.loads(manifest.to_bytes()))
    except UnreadableError as error:
        raise MaskError(
            f"masks: a mask store cannot hold these names and sizes ({error}); rename or resize them"
        ) from None


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of the finished store in a folder.

    Raises:
        MaskError: The manifest is missing or damaged.
    """
    file = path / "manifest.json"
    if not file.is_file() and not file.is_symlink():
        if (path / BUILDING / "manifest.json").is_file():
            raise MaskError(f"{path}: the mask store is not finished; finish it with the same smix masks build")
        raise MaskError(
            f"{path}: expected a mask store, but there is no manifest.json; build one with smix masks build"
        )
    manifest = _read(file)
    required = manifest.file_names
    if missing := [name for name in required if name not in manifest.files]:
        raise _damaged(file, f"no sha256 of {missing[0]}")
    if unknown := sorted(set(manifest.files) - {*required, BROKEN}):
        raise _damaged(file, f"a sha256 of {unknown[0]}, a file that the store does not have")
    return manifest


def read_begun(path: Path) -> Manifest:
    """Return the manifest of the store that is being built in `path / BUILDING`.

    Raises:
        MaskError: The manifest is missing or damaged.
    """
    return _read(path / BUILDING / "manifest.json")


def _read(file: Path) -> Manifest:
    try:
        return _checked(read_checked(file, FORMAT))
    except OtherVersionError as error:
        raise MaskError(
            f"{file.parent}: the mask store was written by another version of smix ({error}); build it again in a new folder"
        ) from None
    except UnreadableError as error:
        raise _damaged(file, str(error)) from None


def _checked(values: dict[str, Any]) -> Manifest:
    """Convert JSON values to a manifest. Raises UnreadableError if they are not a valid manifest."""
    values.pop("sha256", None)
    manifest = to_record(values, Manifest)
    if math.prod(manifest.shape) > MAX_PIXELS:
        raise UnreadableError(f"a shape of more than {MAX_PIXELS:,} pixels")
    for part, settings in (("source", manifest.source), ("refine", manifest.refine)):
        typed(settings.get("name"), Name, f"{part}.name")
    return manifest


def _damaged(file: Path, reason: str) -> MaskError:
    return MaskError(
        f"{file.parent}: {file.name} is damaged ({reason}); remove it and run the same smix masks build again"
    )
