"""COCO annotations: instances as run-length codes and polygons, and the segments of panoptic pictures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from jaxtyping import Bool, UInt8
from msgspec import Meta
from numpy.typing import NDArray

from smix.data.optional import import_optional
from smix.errors import MaskError
from smix.masks.sources.run_lengths import MAX_PIXELS, decoded, inside
from smix.untrusted import UnreadableError, first_twice, one_line, read_bytes, read_json, typed

MAX_CATEGORIES = 254
"""More classes do not fit into a class map."""
MAX_BYTES = 1 << 31
"""Maximum size of an annotation file: four times that of the COCO training set."""

Side = Annotated[int, Meta(ge=1, le=MAX_PIXELS)]
Id = Annotated[int, Meta(ge=-(1 << 62), le=1 << 62)] | str
"""Larger numbers could be chosen so that a dictionary takes for ever."""


class Image(msgspec.Struct, frozen=True):
    """An entry of "images". Keys that are not listed are ignored, here and below."""

    id: Id
    file_name: str
    height: Side
    width: Side


class Code(msgspec.Struct, frozen=True):
    """A run-length code."""

    size: tuple[int, int]
    counts: str | list[int]


class Instance(msgspec.Struct, frozen=True):
    """An entry of "annotations" in an instance file. Crowds are treated like any other instance."""

    image_id: Id
    category_id: Id
    segmentation: Code | list[list[float]]
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


class Content(msgspec.Struct, frozen=True):
    """A file of annotations."""

    images: list[Image]
    annotations: list[dict[str, object]]
    categories: list[Category]


@dataclass(frozen=True, eq=False)
class Annotations:
    """The annotations in a file."""

    file: Path
    style: Literal["coco", "panoptic"]
    images: Sequence[Image]
    categories: Sequence[Category]
    annotations: Sequence[dict[str, object]] = ()
    """Instances, each parsed when its image is read, so that a damaged annotation affects only one image."""
    pictures: Sequence[Panoptic] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, from 1."""
        return tuple(category.name for category in self.categories)

    @property
    def things(self) -> tuple[bool, ...]:
        """True for classes that are things, False for stuff."""
        return tuple(bool(category.isthing) for category in self.categories)

    @property
    def sizes(self) -> set[tuple[int, ...]]:
        """Heights and widths of the listed images."""
        return {(image.height, image.width) for image in self.images}

    def has(self, names: Iterable[str]) -> bool:
        """Return whether an image with one of these names, without suffix, is listed."""
        return any(name in self._by_name for name in names)

    def instances(self, names: Iterable[str], lookup: UInt8[NDArray, "256"]) -> UInt8[NDArray, "H W"]:
        """Return the class map of the first listed image with one of these names. Later instances cover earlier ones.

        Args:
            names: Names without suffix.
            lookup: For each class, its number in the result; 0 if it is no object.

        Raises:
            MaskError: No image has one of the names, or its annotations cannot be read.
        """
        image = next((self._by_name[name] for name in names if name in self._by_name), None)
        if image is None:
            raise MaskError("no mask")
        size = (image.height, image.width)
        classes = np.zeros(size, np.uint8)
        for values in self._by_image.get(image.id, ()):
            try:
                instance: Instance = typed(values, Instance)
                if instance.category_id not in self._numbers:
                    raise UnreadableError(f"an unknown category_id, {instance.category_id}")
                if number := lookup[self._numbers[instance.category_id]]:
                    classes[_inside(instance.segmentation, size)] = number
            except (ValueError, LookupError, MemoryError) as error:
                raise MaskError(
                    f"annotation {values.get('id')}: expected a class and a mask of {size[0]}x{size[1]}, got {one_line(error)}"
                ) from None
        return classes

    def panoptic(
        self, path: Path, pixels: UInt8[NDArray, "H W *C"], lookup: UInt8[NDArray, "256"]
    ) -> UInt8[NDArray, "H W"]:
        """Return the class map of a panoptic picture, whose colours are the numbers of segments.

        Args:
            path: Path of the picture.
            pixels: Content of the picture.
            lookup: For each class, its number in the result; 0 if it is no object.

        Raises:
            MaskError: The picture is grey or not listed, or a segment has an unknown category.
        """
        if pixels.ndim != 3:
            raise MaskError(f"{path.name}: expected a panoptic picture in colours, got one channel")
        segments = pixels.astype(np.int32) @ np.array([1, 256, 256**2], np.int32)
        classes = np.zeros(segments.shape, np.uint8)
        names = ("/".join(path.parts[start:]) for start in range(len(path.parts)))
        listed = next((self._by_picture[name] for name in names if name in self._by_picture), None)
        if listed is None:
            raise MaskError(f"{path.name}: expected its segments in {self.file.name}, got none")
        for segment in listed.segments_info:
            if segment.category_id not in self._numbers:
                raise MaskError(
                    f"{path.name}: expected segment {segment.id} to have a listed category, got category_id {segment.category_id}"
                )
            classes[segments == segment.id] = lookup[self._numbers[segment.category_id]]
        return classes

    @cached_property
    def _numbers(self) -> dict[Id, int]:
        return {category.id: number for number, category in enumerate(self.categories, 1)}

    @cached_property
    def _by_name(self) -> dict[str, Image]:
        return {_stem(image.file_name): image for image in self.images}

    @cached_property
    def _by_picture(self) -> dict[str, Panoptic]:
        return {picture.file_name: picture for picture in self.pictures}

    @cached_property
    def _by_image(self) -> dict[object, list[dict[str, object]]]:
        groups: dict[object, list[dict[str, object]]] = {}
        for annotation in self.annotations:
            groups.setdefault(annotation["image_id"], []).append(annotation)
        return groups


def _stem(name: str) -> str:
    """Return a file name without its suffix, with its folders."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.rpartition('.')[0] or last}"


def _inside(segmentation: Code | list[list[float]], size: tuple[int, int]) -> Bool[NDArray, "H W"]:
    if isinstance(segmentation, list):
        return inside(segmentation, size)
    if segmentation.size != size:
        raise UnreadableError(f"a mask of {segmentation.size[0]}x{segmentation.size[1]}")
    return decoded(segmentation.counts, size)


def find_annotations(folder: Path) -> Annotations | None:
    """Read the COCO annotations in a folder: annotations.json, or the only JSON file of this kind, or FOLDER.json next to the
    folder for panoptic pictures.

    Returns:
        The annotations. None: there are none.

    Raises:
        MaskError: The file is damaged, several files hold annotations, or pycocotools is not installed.
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
    return all(f'"{key}"'.encode() in content for key in Content.__struct_fields__)


def _read(file: Path) -> Annotations:
    try:
        content: Content = typed(read_json(file, MAX_BYTES), Content)
        images, categories = content.images, content.categories
        panoptic = bool(content.annotations) and "segments_info" in content.annotations[0]
        pictures: list[Panoptic] = typed(content.annotations, list[Panoptic], "annotations") if panoptic else []
        unique: dict[str, list[Id]] = {
            "image id": [image.id for image in images],
            # Masks are looked up by name without suffix, so cat.jpg and cat.png would be the same image.
            "image name": [_stem(image.file_name) for image in images],
            "category id": [category.id for category in categories],
            "panoptic file name": [picture.file_name for picture in pictures],
        }
        for kind, values in unique.items():
            if (twice := first_twice(values)) is not None:
                raise UnreadableError(f"the duplicate {kind} {twice}")
        if any(image.height * image.width > MAX_PIXELS for image in images):
            raise UnreadableError(f"an image of more than {MAX_PIXELS:,} pixels")
        for annotation in () if panoptic else content.annotations:
            typed(annotation.get("image_id"), Id, "annotations[...].image_id")
    except UnreadableError as error:
        raise MaskError(f"{file}: expected COCO annotations, got {error}; repair the file") from None
    if len(categories) > MAX_CATEGORIES:
        raise MaskError(f"{file}: expected at most {MAX_CATEGORIES} categories, got {len(categories)}; drop some")
    if panoptic:
        return Annotations(file, "panoptic", images, categories, pictures=pictures)
    import_optional("pycocotools", "coco", MaskError)
    return Annotations(file, "coco", images, categories, content.annotations)
