"""Read and write manifest.json of a mask store: the data set, the settings of the build, and the sha256 of every file."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from smix.errors import MaskError
from smix.untrusted import OtherVersionError, UnreadableError, convert, read_checked, typed, with_checksum

FORMAT: Literal[2] = 2
BUILDING = "building"
"""The folder of finished shards that are not yet part of the store."""

MOST_PIXELS = 1 << 31
Count = Annotated[int, Meta(ge=1, le=1 << 40)]
Name = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Sha256OrEmpty = Annotated[str, Meta(pattern=r"\A([0-9a-f]{64})?\Z")]


@dataclass(frozen=True)
class SplitId:
    """One split of a data set."""

    name: Name
    split: Literal["train", "test"]
    fingerprint: str
    """Sha256 of the images and labels, or of the names and sizes of image files."""
    count: Count
    """Number of images."""


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json."""

    data: SplitId
    shape: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=3)]
    """Spatial size of the masks."""
    source: dict[str, Any]
    """Name, sha256 of the weights, input size and other settings of the source."""
    refine: dict[str, Any]
    """Name and numbers of the refinement."""
    rows_per_shard: Count
    classes: Annotated[tuple[Name, ...], Meta(max_length=254)] | None = None
    """Names of the numbers from 1 in the class maps. None: no class maps."""
    shards: tuple[Sha256, ...] = ()
    """Sha256 of shard-00000.npy and so on; empty while the store is being built."""
    class_shards: tuple[Sha256, ...] = ()
    """Sha256 of classes-00000.npy and so on; empty without class maps."""
    stats: Sha256OrEmpty = ""
    """Sha256 of stats.npy."""
    broken: Sha256OrEmpty = ""
    """Sha256 of broken.json; empty if no mask is broken."""
    format: Literal[2] = FORMAT

    @property
    def count(self) -> int:
        """Number of masks, built or not."""
        return self.data.count

    @property
    def shard_count(self) -> int:
        """Number of shards of the finished store."""
        return -(-self.count // self.rows_per_shard)

    @property
    def files(self) -> dict[str, str]:
        """Sha256 of each file of the store except manifest.json, by file name. File names are never read from the manifest."""
        found = {shard_name(number): sha256 for number, sha256 in enumerate(self.shards)}
        found |= {class_shard_name(number): sha256 for number, sha256 in enumerate(self.class_shards)}
        return found | {
            name: sha256 for name, sha256 in (("stats.npy", self.stats), ("broken.json", self.broken)) if sha256
        }

    def rows(self, number: int) -> range:
        """Return the rows of a shard."""
        start = number * self.rows_per_shard
        return range(start, min(start + self.rows_per_shard, self.count))

    def settings(self) -> dict[str, Any]:
        """Return the settings that determine the masks. Builds that agree in them can share a folder, whatever the data set is called."""
        values = json.loads(json.dumps(asdict(self)))
        del values["data"]["name"]
        return {name: values[name] for name in ("data", "shape", "source", "refine", "classes")}

    @property
    def identity(self) -> str:
        """Sha256 of the settings and the rows per shard. A finished shard records it to name its build."""
        settings = {**self.settings(), "rows_per_shard": self.rows_per_shard}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the content of manifest.json, with a sha256 of itself."""
        return with_checksum(asdict(self))


def check_manifest(manifest: Manifest) -> None:
    """Raise MaskError unless `read_manifest` will accept the manifest: before the masks of hours are built for it."""
    try:
        _checked(json.loads(manifest.to_bytes()))
    except UnreadableError as error:
        raise MaskError(
            f"masks: expected names and sizes that a mask store can hold, got {error}; rename or resize them"
        ) from None


def shard_name(number: int) -> str:
    return f"shard-{number:05d}.npy"


def class_shard_name(number: int) -> str:
    return f"classes-{number:05d}.npy"


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of the finished store in a folder.

    Raises:
        MaskError: The manifest is missing or damaged.
    """
    file = path / "manifest.json"
    if not file.is_file() and not file.is_symlink():
        begun = (path / BUILDING / "manifest.json").is_file()
        raise MaskError(
            f"{path}: expected a mask store with manifest.json, got {'one that is not finished' if begun else 'none'}; "
            f"{'finish' if begun else 'build'} it with {'the same ' if begun else ''}smix masks build"
        )
    manifest = _read(file)
    count = manifest.shard_count
    if (len(manifest.shards), len(manifest.class_shards), bool(manifest.stats)) != (
        count,
        0 if manifest.classes is None else count,
        True,
    ):
        raise _damaged(
            file,
            f"{len(manifest.shards)} shards instead of {count}, {len(manifest.class_shards)} shards of class maps, "
            f"and {'a' if manifest.stats else 'no'} sha256 of stats.npy",
        )
    return manifest


def read_begun(path: Path) -> Manifest:
    """Return the manifest of the store that is being built in `path / BUILDING`. Raises MaskError: it is damaged."""
    return _read(path / BUILDING / "manifest.json")


def _read(file: Path) -> Manifest:
    try:
        return _checked(read_checked(file, FORMAT))
    except OtherVersionError as error:
        raise MaskError(
            f"{file.parent}: expected a mask store written by this version of smix, got {error}; build it again in a new folder"
        ) from None
    except UnreadableError as error:
        raise _damaged(file, str(error)) from None


def _checked(values: dict[str, Any]) -> Manifest:
    """Return the manifest of JSON values. Raises UnreadableError: They are none."""
    values.pop("sha256", None)
    manifest = convert(values, Manifest)
    if math.prod(manifest.shape) > MOST_PIXELS:
        raise UnreadableError(f"a shape of more than {MOST_PIXELS:,} pixels")
    for part, described in (("source", manifest.source), ("refine", manifest.refine)):
        typed(described.get("name"), Name, f"{part}.name")
    return manifest


def _damaged(file: Path, reason: str) -> MaskError:
    return MaskError(
        f"{file.parent}: expected an intact {file.name}, got {reason}; remove {file.name} and run the same smix masks build again"
    )
