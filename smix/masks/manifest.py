"""manifest.json of a mask store: what it is of, how it was made, and the sha256 of every file, its own among them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smix.errors import MaskError

FORMAT = 1
BUILDING = "building"
"""The folder of finished shards that are not yet part of the store."""


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
    classes: tuple[str, ...] | None = None
    """Names of the numbers from 1 in the class maps; None: no class maps."""
    shards: tuple[dict[str, Any], ...] = ()
    """file and sha256 of each shard, and of its class maps; none: not built yet."""
    stats: str = ""
    """sha256 of stats.npy."""
    broken: str = ""
    """sha256 of broken.json; empty: no mask is broken."""
    format: int = FORMAT

    @property
    def count(self) -> int:
        """How many masks there are, built or not."""
        return int(self.data["count"])

    def rows(self, number: int) -> range:
        """The rows of a shard."""
        start = number * self.rows_per_shard
        return range(start, min(start + self.rows_per_shard, self.count))

    def settings(self) -> dict[str, Any]:
        """What made the masks: two builds with equal settings can share a folder, whatever the data set was called."""
        data = {key: value for key, value in self.data.items() if key != "name"}
        classes = None if self.classes is None else list(self.classes)
        return {
            "data": data,
            "shape": list(self.shape),
            "source": self.source,
            "refine": self.refine,
            "classes": classes,
        }

    def to_bytes(self) -> bytes:
        """As JSON, with a sha256 of itself: nothing else vouches for the manifest."""
        values = {
            "format": self.format,
            **self.settings(),
            "data": self.data,
            "rows_per_shard": self.rows_per_shard,
            "shards": list(self.shards),
            "stats": self.stats,
            "broken": self.broken,
        }
        return signed(values)


def read_manifest(path: Path) -> Manifest:
    """The manifest of the store in a folder, or of one that is being built there (`path / BUILDING`).

    Raises:
        MaskError: none, or one that is not what was written.
    """
    file = path / "manifest.json"
    if not file.is_file():
        begun = (path / BUILDING / "manifest.json").is_file()
        raise MaskError(
            f"{path}: expected a mask store with manifest.json, got {'one that is not finished' if begun else 'none'}; "
            f"{'finish' if begun else 'build'} it with {'the same ' if begun else ''}smix masks build"
        )
    values = read_signed(file)
    try:
        if values["format"] != FORMAT:
            raise MaskError(f"{path}: expected format {FORMAT}, got {values['format']}; update smix or build it again")
        classes = values.get("classes")
        return Manifest(
            **{
                **values,
                "shape": tuple(values["shape"]),
                "shards": tuple(values["shards"]),
                "classes": None if classes is None else tuple(classes),
            }
        )
    except (KeyError, TypeError) as error:
        raise _no_manifest(file, error) from None


def signed(values: dict[str, Any]) -> bytes:
    """JSON with a sha256 of itself, as it will be read: with texts as keys."""
    values = json.loads(json.dumps(values))
    return (json.dumps({**values, "sha256": _checksum(values)}, indent=1, allow_nan=False) + "\n").encode()


def read_signed(file: Path) -> dict[str, Any]:
    """What `signed` wrote. Raises MaskError if it was changed since."""
    try:
        values = json.loads(file.read_text())
        if values.get("format", FORMAT) == FORMAT and values.pop("sha256") != _checksum(values):
            raise ValueError("changed since it was written")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_manifest(file, error) from None
    values.pop("sha256", None)
    return dict(values)


def _no_manifest(file: Path, error: Exception) -> MaskError:
    return MaskError(
        f"{file.parent}: expected a whole {file.name}, got {type(error).__name__}; remove {file.name} and build again"
    )


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
