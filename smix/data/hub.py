"""Data sets of the Hugging Face hub, or saved by its package `datasets`."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smix.data.imageset import ImageSet, Split, checked
from smix.data.pictures import SIZES_READ, Pictures, decode, size_of
from smix.errors import DataError
from smix.untrusted import one_line

SPLITS = {"train": ("train",), "test": ("test", "validation", "valid", "val")}
"""Names of a split on the hub; the first existing one is used."""


@dataclass(frozen=True, eq=False)
class Rows(Pictures):
    """Images in the rows of a table, decoded when they are asked for: a name is the number of a row, "000017"."""

    _: KW_ONLY
    table: Any
    """A `datasets.Dataset` of one column, whose images are not decoded."""
    column: str

    def decode(self, name: str) -> NDArray[np.uint8]:
        """The image in this row as RGB, (H, W, 3). Raises DataError if it cannot be read."""
        image = self.table[int(name)][self.column]
        if image is None:
            raise DataError(f"{self.home / name}: expected a readable image, got none; leave that row out")
        if image["bytes"] is None:
            return decode(Path(image["path"]))
        return decode(self.home / name, image["bytes"])


def hub(name: str, place: str, split: Split) -> ImageSet:
    """A data set with one column of images and one of class labels: saved on disk, a folder that `datasets` reads, or a name
    of the hub, from which it is downloaded.

    The test split is "test" or, where there is none, "validation". The fingerprint is of the labels and of the lengths of
    the encoded images, as that of `folder:` is.

    Raises:
        DataError: no such data set or split, or other columns than that.
    """
    try:
        import datasets
    except ImportError:
        raise DataError(f"{name}: expected the package datasets, got none; install smix[hf]") from None
    path = Path(place)
    saved = any((path / file).is_file() for file in ("dataset_dict.json", "state.json"))
    try:
        found = datasets.load_from_disk(place) if saved else datasets.load_dataset(place)
    except Exception as error:  # whatever goes wrong with a file or a connection, it is none of our classes
        raise DataError(
            f"{name}: expected a data set that is saved in that folder or has that name on the hub, got {one_line(error)[:200]}; "
            "check the name and the connection"
        ) from None
    there = list(found) if isinstance(found, Mapping) else []
    chosen = next((one for one in SPLITS[split] if one in there), None)
    if chosen is None:
        raise DataError(
            f"{name}: expected a split {' or '.join(SPLITS[split])}, got {', '.join(there) or 'a data set without splits'}; "
            "save a DatasetDict with train and test"
        )
    data = found[chosen]
    image = _column(name, data.features, datasets.Image, "images (Image)")
    label = _column(name, data.features, datasets.ClassLabel, "class labels (ClassLabel)")
    table = data.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    labels = data.select_columns([label]).with_format("arrow")[:].column(0).to_numpy()
    classes = data.features[label].names
    labels, _ = checked(f"{name} {split}", range(len(data)), labels, classes, None)
    names = np.array([f"{row:06d}" for row in range(len(data))], object)
    rows = Rows(path / chosen, names, size_of(_some(table, image)), table=table, column=image)
    whole = np.arange(len(data))
    return ImageSet(
        *(rows, labels, tuple(classes)), index=whole, name=name, split=split, fingerprint=_fingerprint(table, labels)
    )


def _column(name: str, features: Mapping[str, Any], kind: type, words: str) -> str:
    """The only column of this type."""
    found = [column for column, feature in features.items() if isinstance(feature, kind)]
    if len(found) != 1:
        got = f"several: {', '.join(found)}" if found else f"none among {', '.join(features)}"
        raise DataError(
            f"{name}: expected one column of {words}, got {got}; choose or cast columns with datasets and save the set to disk"
        )
    return found[0]


def _some(table: Any, column: str) -> list[Path | io.BytesIO]:
    """The images by which their common size is told."""
    images = (table[row][column] for row in range(0, len(table), -(-len(table) // SIZES_READ)))
    return [Path(image["path"]) if image["bytes"] is None else io.BytesIO(image["bytes"]) for image in images if image]


def _fingerprint(table: Any, labels: NDArray[Any]) -> str:
    import pyarrow.compute as pc

    digest = hashlib.sha256(np.ascontiguousarray(labels).tobytes())
    for batch in table.with_format("arrow").iter(10_000):
        images = batch.column(0)
        # Of the offsets alone: the images themselves are not read.
        lengths = pc.binary_length(pc.struct_field(images, "bytes")).to_pylist()
        paths = pc.struct_field(images, "path").to_pylist()
        for length, path in zip(lengths, paths, strict=True):
            if length is None and path is not None:
                length = Path(path).stat().st_size
            digest.update(f"{Path(path or '').name}\0{length}\n".encode())
    return digest.hexdigest()
