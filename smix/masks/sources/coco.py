"""COCO annotations: instances as run-length codes and polygons, and the segments of panoptic pictures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from jaxtyping import Bool, UInt8
from msgspec import Meta

from smix.data.optional import import_optional
from smix.errors import MaskError
from smix.masks.names import NO_MASK
from smix.masks.sources.run_lengths import MAX_PIXELS, decode_rle, polygon_mask
from smix.untrusted import UnreadableError, first_duplicate, one_line, read_bytes, read_json, typed

MAX_CATEGORIES = 254
"""Maximum number of categories, since a class map has 8 bits."""
MAX_BYTES = 1 << 31
"""Maximum size of an annotation file: four times that of the COCO training set."""

Side = Annotated[int, Meta(ge=1, le=MAX_PIXELS)]
Id = Annotated[int, Meta(ge=-(1 << 62), le=1 << 62)] | str
"""Larger integers are rejected: a file could contain many with the same hash, for which a dictionary is very slow."""


class Image(msgspec.Struct, frozen=True):
    """An entry of "images". Keys that are not listed are ignored, here and below."""

    id: Id
    file_name: str
    height: Side
    width: Side


class RunLengths(msgspec.Struct, frozen=True):
    """A run-length encoding."""

    size: tuple[int, int]
    counts: str | list[int]


class Instance(msgspec.Struct, frozen=True):
    """An entry of "annotations" in an instance file. Crowds are treated like any other instance."""

    image_id: Id
    category_id: Id
    segmentation: RunLengths | list[list[float]]
    id: Id | None = None


class Segment(msgspec.Struct, frozen=True):
    """A segment of a panoptic picture: its pixels have the colour id = R + 256 G + 65536 B."""

    id: Annotated[int, Meta(ge=0, lt=1 << 24)]
    category_id: Id


class Panoptic(msgspec.Struct, frozen=True):
    """An entry of "annotations" in a panoptic file."""

    file_name: str
    segments_info: list[Segment]


class Category(msgspec.Struct, frozen=True):
    """An entry of "categories"."""

    id: Id
    name: str
    isthing: int | bool = 1


class CocoFile(msgspec.Struct, frozen=True):
    """The content of an annotation file."""

    images: list[Image]
    annotations: list[dict[str, object]]
    categories: list[Category]


@dataclass(frozen=True, eq=False)
class Annotations:
    """The annotations in a file."""

    file: Path
    style: Literal["coco", "panoptic"]
    categories: Sequence[Category]
    """The classes 1, 2, ..."""
    images: Mapping[str, Image]
    """Images by file name without suffix."""
    instances_of: Mapping[object, Sequence[dict[str, object]]]
    """Instances by image id, each parsed when its image is read, so that a damaged annotation affects only its image."""
    pictures: Mapping[str, Panoptic]
    """Panoptic pictures by file name."""

    @cached_property
    def numbers(self) -> dict[Id, int]:
        """Numbers of the classes by category id."""
        return {category.id: number for number, category in enumerate(self.categories, 1)}

    def has(self, names: Iterable[str]) -> bool:
        """Return whether an image with one of these names, without suffix, is listed."""
        return self.size(names) is not None

    def size(self, names: Iterable[str]) -> tuple[int, int] | None:
        """Return the height and width of the first listed image with one of these names, without suffix. None: none is listed."""
        image = next((self.images[name] for name in names if name in self.images), None)
        return None if image is None else (image.height, image.width)

    def class_map(self, names: Iterable[str], lookup: UInt8[np.ndarray, "256"]) -> UInt8[np.ndarray, "H W"]:
        """Return the class map of the first listed image that has one of these names. Later instances cover earlier ones.

        Args:
            names: Names without suffix.
            lookup: For each class, its number in the result; 0 if it is not an object.

        Raises:
            MaskError: No image has one of the names, or its annotations cannot be read.
        """
        image = next((self.images[name] for name in names if name in self.images), None)
        if image is None:
            raise MaskError(NO_MASK)
        size = (image.height, image.width)
        classes = np.zeros(size, np.uint8)
        for values in self.instances_of.get(image.id, ()):
            try:
                instance: Instance = typed(values, Instance)
                if instance.category_id not in self.numbers:
                    raise UnreadableError(f"an unknown category_id, {instance.category_id}")
                if number := lookup[self.numbers[instance.category_id]]:
                    classes[_decode(instance.segmentation, size)] = number
            except (ValueError, LookupError, MemoryError) as error:
                raise MaskError(
                    f"annotation {values.get('id')}: expected a known category and a mask of {size[0]}x{size[1]} pixels, "
                    f"got {one_line(error)}"
                ) from None
        return classes

    def panoptic_class_map(
        self, path: Path, pixels: UInt8[np.ndarray, "H W *C"], lookup: UInt8[np.ndarray, "256"]
    ) -> UInt8[np.ndarray, "H W"]:
        """Return the class map of a panoptic picture, whose colours are the numbers of segments.

        Args:
            path: Path of the picture.
            pixels: Pixel values of the picture.
            lookup: For each class, its number in the result; 0 if it is not an object.

        Raises:
            MaskError: The picture is grey or not listed, or a segment has an unknown category.
        """
        if pixels.ndim != 3:
            raise MaskError(f"{path.name}: a panoptic picture needs colours, but this has one channel")
        segments = pixels.astype(np.int32) @ np.array([1, 256, 256**2], np.int32)
        classes = np.zeros(segments.shape, np.uint8)
        names = ("/".join(path.parts[start:]) for start in range(len(path.parts)))
        panoptic = next((self.pictures[name] for name in names if name in self.pictures), None)
        if panoptic is None:
            raise MaskError(f"{path.name}: the picture is not listed in {self.file.name}")
        for segment in panoptic.segments_info:
            if segment.category_id not in self.numbers:
                raise MaskError(f"{path.name}: segment {segment.id} has the unknown category_id {segment.category_id}")
            classes[segments == segment.id] = lookup[self.numbers[segment.category_id]]
        return classes


def _stem(name: str) -> str:
    """Return a file name with its folders, without its suffix."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.rpartition('.')[0] or last}"


def _decode(segmentation: RunLengths | list[list[float]], size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    if isinstance(segmentation, list):
        return polygon_mask(segmentation, size)
    if segmentation.size != size:
        raise UnreadableError(f"a mask of {segmentation.size[0]}x{segmentation.size[1]} pixels")
    return decode_rle(segmentation.counts, size)


def find_annotations(folder: Path) -> Annotations | None:
    """Read the COCO annotations of the masks in a folder.

    They are in annotations.json, in the only JSON file of this kind in the folder or, for panoptic pictures, in FOLDER.json next to it.

    Returns:
        The annotations, or None if there are none.

    Raises:
        MaskError: The file is damaged, several files contain annotations, or pycocotools is not installed.
    """
    if (file := folder / "annotations.json").is_file():
        return _read(file)
    files = [file for file in sorted(folder.glob("*.json")) if _looks_like_coco(file)]
    if len(files) > 1:
        raise MaskError(
            f"{folder}: expected one JSON file of COCO annotations, got {', '.join(file.name for file in files[:4])}; "
            "name the right one annotations.json"
        )
    if files:
        return _read(files[0])
    sibling = folder.resolve().parent / f"{folder.resolve().name}.json"
    if sibling.is_file() and _looks_like_coco(sibling):
        annotations = _read(sibling)
        return annotations if annotations.style == "panoptic" else None
    return None


def _looks_like_coco(file: Path) -> bool:
    try:
        content = read_bytes(file, MAX_BYTES)
    except UnreadableError:
        return False
    return all(f'"{key}"'.encode() in content for key in CocoFile.__struct_fields__)


def _read(file: Path) -> Annotations:
    try:
        content: CocoFile = typed(read_json(file, MAX_BYTES), CocoFile)
        images, categories = content.images, content.categories
        panoptic = bool(content.annotations) and "segments_info" in content.annotations[0]
        pictures: list[Panoptic] = typed(content.annotations, list[Panoptic], "annotations") if panoptic else []
        unique: dict[str, list[Any]] = {
            "image id": [image.id for image in images],
            # Masks are looked up by name without suffix, so cat.jpg and cat.png would be the same image.
            "image name": [_stem(image.file_name) for image in images],
            "category id": [category.id for category in categories],
            "panoptic file name": [picture.file_name for picture in pictures],
        }
        for kind, values in unique.items():
            if (duplicate := first_duplicate(values)) is not None:
                raise UnreadableError(f"the duplicate {kind} {duplicate}")
        if any(image.height * image.width > MAX_PIXELS for image in images):
            raise UnreadableError(f"an image of more than {MAX_PIXELS:,} pixels")
        instances_of: dict[object, list[dict[str, object]]] = {}
        for annotation in () if panoptic else content.annotations:
            image_id = typed(annotation.get("image_id"), Id, "annotations[...].image_id")
            instances_of.setdefault(image_id, []).append(annotation)
    except UnreadableError as error:
        raise MaskError(f"{file}: expected COCO annotations, got {error}; repair the file") from None
    if len(categories) > MAX_CATEGORIES:
        raise MaskError(f"{file}: expected at most {MAX_CATEGORIES} categories, got {len(categories)}; remove some")
    if not panoptic:
        import_optional("pycocotools", "coco", MaskError)
    by_name = dict(zip(unique["image name"], images, strict=True))
    by_picture = {picture.file_name: picture for picture in pictures}
    return Annotations(file, "panoptic" if panoptic else "coco", categories, by_name, instances_of, by_picture)
