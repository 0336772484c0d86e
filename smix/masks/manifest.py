"""manifest.json of a mask store: which images the masks are of, how they were made, and the sha256 of every file."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from smix.errors import MaskError
from smix.untrusted import OtherVersionError, UnreadableError, convert, read_signed, signed, typed

FORMAT: Literal[2] = 2
BUILDING = "building"
"""The folder of finished shards that are not yet part of the store."""

MOST_PIXELS = 1 << 31
Count = Annotated[int, Meta(ge=1, le=1 << 40)]
Name = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Sha256OrEmpty = Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")]


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
        """Sha256 of each file of the store but manifest.json itself, by name. No name comes from the manifest."""
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
        """Return what determines the masks: builds with equal settings can share a folder, whatever the data set was called."""
        values = json.loads(json.dumps(asdict(self)))
        del values["data"]["name"]
        return {name: values[name] for name in ("data", "shape", "source", "refine", "classes")}

    @property
    def identity(self) -> str:
        """Sha256 of the settings and the number of rows in a shard: finished shards name the build that they belong to."""
        settings = {**self.settings(), "rows_per_shard": self.rows_per_shard}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the content of manifest.json, with a sha256 of itself."""
        return signed(asdict(self))


def shard_name(number: int) -> str:
    return f"shard-{number:05d}.npy"


def class_shard_name(number: int) -> str:
    return f"classes-{number:05d}.npy"


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of the finished store in a folder.

    Raises:
        MaskError: There is none, or it is damaged.
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
        raise _damaged(file, f"{len(manifest.shards)} shards instead of {count}")
    return manifest


def read_begun(path: Path) -> Manifest:
    """Return the manifest of the store that is being built in `path / BUILDING`. Raises MaskError: it is damaged."""
    return _read(path / BUILDING / "manifest.json")


def _read(file: Path) -> Manifest:
    try:
        manifest = convert(read_signed(file, FORMAT), Manifest)
        if math.prod(manifest.shape) > MOST_PIXELS:
            raise UnreadableError(f"a shape of more than {MOST_PIXELS:,} pixels")
        for part, values in (("source", manifest.source), ("refine", manifest.refine)):
            typed(values.get("name"), Name, f"{part}.name")
    except OtherVersionError as error:
        raise MaskError(
            f"{file.parent}: expected masks of this version, got {error}; build them in a new folder"
        ) from None
    except UnreadableError as error:
        raise _damaged(file, str(error)) from None
    return manifest


def _damaged(file: Path, reason: str) -> MaskError:
    return MaskError(
        f"{file.parent}: expected a whole {file.name}, got {reason}; remove {file.name} and build again with the same command"
    )
