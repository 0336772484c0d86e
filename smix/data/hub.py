"""Data sets of the Hugging Face hub, or saved to disk with the package `datasets`."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from smix.data.imageset import ImageSet, Split, check_set
from smix.data.optional import import_optional
from smix.data.orientation import Frame
from smix.data.pictures import SIZES_READ, Pictures, decode, frame_of, size_of
from smix.errors import DataError
from smix.untrusted import one_line

SPLITS = {"train": ("train",), "test": ("test", "validation", "valid", "val")}
"""Names of a split on the hub, in order of preference."""


@dataclass(frozen=True, eq=False)
class TablePictures(Pictures):
    """Images in the rows of a table, decoded on access. Their names are row numbers, such as "000017"."""

    _: KW_ONLY
    table: Any
    """A `datasets.Dataset` with one column of images that are not decoded."""
    column: str

    def frame(self, name: str) -> Frame | None:
        """Return the upright size and the orientation in the header of the image in a row. None: it cannot be read."""
        image = self.table[int(name)][self.column]
        return None if image is None else frame_of(_content(image))

    def decode(self, name: str) -> UInt8[np.ndarray, "H W 3"]:
        """Return the image in a row as RGB. Raises DataError if it cannot be read."""
        image = self.table[int(name)][self.column]
        if image is None:
            raise DataError(f"{self.home / name}: the row contains no image; remove the row")
        if image["bytes"] is None:
            return decode(Path(image["path"]))
        return decode(self.home / name, image["bytes"])


def load_hub(name: str, place: str, split: Split) -> ImageSet:
    """Load a data set with one image column and one class label column.

    Args:
        name: Name of the data set.
        place: Folder of a data set that was saved to disk, another folder that `datasets` can load, or the name of a data set on the
            hub, which is downloaded.
        split: "train" or "test". The test split is "test" or, if there is none, "validation".

    Returns:
        The split. As for `folder:`, its fingerprint covers the labels and the lengths of the encoded images.

    Raises:
        DataError: datasets is not installed, or there is no such data set, split or column.
    """
    datasets = import_optional("datasets", "hf", DataError)
    path = Path(place)
    saved = any((path / file).is_file() for file in ("dataset_dict.json", "state.json"))
    try:
        splits = datasets.load_from_disk(place) if saved else datasets.load_dataset(place)
    except Exception as error:  # errors of files and connections have no common class
        raise DataError(
            f"{name}: this is neither the folder of a data set nor its name on the hub ({one_line(error)}); "
            "check the name and the connection"
        ) from None
    names = list(splits) if isinstance(splits, Mapping) else []
    chosen = next((candidate for candidate in SPLITS[split] if candidate in names), None)
    if chosen is None:
        raise DataError(
            f"{name}: expected a split {' or '.join(SPLITS[split])}, got {', '.join(names) or 'a data set without splits'}; "
            "save a DatasetDict with train and test"
        )
    data = splits[chosen]
    column = _column(name, data.features, datasets.Image, "images (Image)")
    label = _column(name, data.features, datasets.ClassLabel, "class labels (ClassLabel)")
    table = data.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    labels = data.select_columns([label]).with_format("arrow")[:].column(0).to_numpy()
    classes = tuple(data.features[label].names)
    rows = np.arange(len(data))
    labels, _ = check_set(f"{name} {split}", rows.tolist(), labels, classes, None)
    stems = np.array([f"{row:06d}" for row in rows], object)
    pictures = TablePictures(path / chosen, stems, size_of(_sample(table, column)), table=table, column=column)
    fingerprint = _fingerprint(table, labels)
    return ImageSet(pictures, labels, classes, index=rows, name=name, split=split, fingerprint=fingerprint)


def _column(name: str, features: Mapping[str, Any], kind: type, description: str) -> str:
    """Return the name of the only column of this type."""
    columns = [column for column, feature in features.items() if isinstance(feature, kind)]
    if len(columns) != 1:
        got = f"several: {', '.join(columns)}" if columns else f"none among {', '.join(features)}"
        raise DataError(
            f"{name}: expected one column of {description}, got {got}; select or cast columns with datasets and save the data set to disk"
        )
    return columns[0]


def _sample(table: Any, column: str) -> list[Path | io.BytesIO]:
    """Return at most `SIZES_READ` of the images, evenly spaced and not decoded."""
    images = (table[row][column] for row in range(0, len(table), -(-len(table) // SIZES_READ)))
    return [_content(image) for image in images if image]


def _content(image: Mapping[str, Any]) -> Path | io.BytesIO:
    """Return the file of an image that is not decoded, or its content."""
    return Path(image["path"]) if image["bytes"] is None else io.BytesIO(image["bytes"])


def _fingerprint(table: Any, labels: NDArray[Any]) -> str:
    import pyarrow.compute as pc

    digest = hashlib.sha256(np.ascontiguousarray(labels).tobytes())
    for batch in table.with_format("arrow").iter(10_000):
        images = batch.column(0)
        # Only the offsets are read, not the images.
        lengths = pc.binary_length(pc.struct_field(images, "bytes")).to_pylist()
        paths = pc.struct_field(images, "path").to_pylist()
        for length, path in zip(lengths, paths, strict=True):
            if length is None and path is not None:
                length = Path(path).stat().st_size
            digest.update(f"{Path(path or '').name}\0{length}\n".encode())
    return digest.hexdigest()
