"""COCO's annotations: instances as run-length codes and polygons, and the segments of its panoptic pictures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from smix.errors import MaskError
from smix.masks.sources.run_lengths import MOST_PIXELS, decoded, inside
from smix.untrusted import UnreadableError, first_duplicate, one_line, read_bytes, read_json, typed

MOST = 254
"""More classes do not fit into a class map."""
LARGEST = 1 << 31
"""Maximum size of an annotation file in bytes: four times that of the COCO training set."""
PARTS = ("images", "annotations", "categories")

Side = Annotated[int, Meta(ge=1, le=MOST_PIXELS)]
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


@dataclass(frozen=True, eq=False)
class Annotations:
    """The content of a JSON file of COCO's."""

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
        return tuple(one.name for one in self.categories)

    @property
    def things(self) -> tuple[bool, ...]:
        """True for classes that are things, False for stuff."""
        return tuple(bool(one.isthing) for one in self.categories)

    @property
    def sizes(self) -> set[tuple[int, ...]]:
        """Heights and widths of the listed images."""
        return {(one.height, one.width) for one in self.images}

    def has(self, names: Iterable[str]) -> bool:
        """Return whether there is an image of one of these names, without suffix."""
        return any(name in self._by_name for name in names)

    def instances(self, names: Iterable[str], kept: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the class of each pixel of the first image of these names; of two instances on a pixel, the later one's.

        Args:
            kept: (256,) the number by which a class appears, 0 if it is no object.

        Raises:
            MaskError: There is no such image, or its annotations cannot be read.
        """
        image = next((self._by_name[name] for name in names if name in self._by_name), None)
        if image is None:
            raise MaskError("no mask")
        size = (image.height, image.width)
        numbers = np.zeros(size, np.uint8)
        for values in self._by_image.get(image.id, ()):
            try:
                one: Instance = typed(values, Instance)
                if one.category_id not in self._numbers:
                    raise UnreadableError(f"an unknown category_id, {one.category_id}")
                if number := kept[self._numbers[one.category_id]]:
                    numbers[_inside(one.segmentation, size)] = number
            except (ValueError, LookupError, MemoryError) as error:
                raise MaskError(
                    f"annotation {values.get('id')}: expected a class and a mask of {size[0]}x{size[1]}, got {one_line(error)}"
                ) from None
        return numbers

    def panoptic(self, path: Path, pixels: NDArray[np.uint8], kept: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the class of each pixel of a panoptic picture, whose colours are the numbers of segments; `kept` as above."""
        if pixels.ndim != 3:
            raise MaskError(f"{path.name}: expected a panoptic picture in colours, got one channel")
        segments = pixels.astype(np.int32) @ np.array([1, 256, 256**2], np.int32)
        numbers = np.zeros(segments.shape, np.uint8)
        names = ("/".join(path.parts[first:]) for first in range(len(path.parts)))
        listed = next((self._by_picture[name] for name in names if name in self._by_picture), None)
        if listed is None:
            raise MaskError(f"{path.name}: expected its segments in {self.file.name}, got none")
        for one in listed.segments_info:
            if one.category_id not in self._numbers:
                raise MaskError(
                    f"{path.name}: expected segment {one.id} to have a listed category, got category_id {one.category_id}"
                )
            numbers[segments == one.id] = kept[self._numbers[one.category_id]]
        return numbers

    @cached_property
    def _numbers(self) -> dict[Id, int]:
        return {one.id: number for number, one in enumerate(self.categories, 1)}

    @cached_property
    def _by_name(self) -> dict[str, Image]:
        return {_stem(one.file_name): one for one in self.images}

    @cached_property
    def _by_picture(self) -> dict[str, Panoptic]:
        return {one.file_name: one for one in self.pictures}

    @cached_property
    def _by_image(self) -> dict[object, list[dict[str, object]]]:
        found: dict[object, list[dict[str, object]]] = {}
        for one in self.annotations:
            found.setdefault(one["image_id"], []).append(one)
        return found


def _stem(name: str) -> str:
    """Return a file name without its suffix, with its folders."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.rpartition('.')[0] or last}"


def _inside(segmentation: Code | list[list[float]], size: tuple[int, int]) -> NDArray[np.bool_]:
    if isinstance(segmentation, list):
        return inside(segmentation, size)
    if segmentation.size != size:
        raise UnreadableError(f"a mask of {segmentation.size[0]}x{segmentation.size[1]}")
    return decoded(segmentation.counts, size)


def find_annotations(folder: Path) -> Annotations | None:
    """The JSON of COCO's in a folder: annotations.json, or the only one; for panoptic pictures also the one beside it.

    Raises:
        MaskError: it is damaged, there are several, or pycocotools is missing.
    """
    if (file := folder / "annotations.json").is_file():
        return _read(file)
    here = [file for file in sorted(folder.glob("*.json")) if _looks_like_coco(file)]
    if len(here) > 1:
        raise MaskError(
            f"{folder}: expected one JSON of COCO annotations, got {', '.join(file.name for file in here[:4])}; "
            "name the right one annotations.json"
        )
    if here:
        return _read(here[0])
    beside = folder.resolve().parent / f"{folder.resolve().name}.json"
    if beside.is_file() and _looks_like_coco(beside):
        found = _read(beside)
        return found if found.style == "panoptic" else None
    return None


def _looks_like_coco(file: Path) -> bool:
    try:
        content = read_bytes(file, LARGEST)
    except UnreadableError:
        return False
    return all(f'"{part}"'.encode() in content for part in PARTS)


def _read(file: Path) -> Annotations:
    try:
        values = read_json(file, LARGEST)
        images: list[Image] = typed(values["images"], list[Image], "images")
        categories: list[Category] = typed(values["categories"], list[Category], "categories")
        annotations: list[dict[str, object]] = typed(values["annotations"], list[dict[str, object]], "annotations")
        panoptic = bool(annotations) and "segments_info" in annotations[0]
        pictures: list[Panoptic] = typed(annotations, list[Panoptic], "annotations") if panoptic else []
        named: dict[str, list[Id]] = {
            "image id": [one.id for one in images],
            # Masks are looked up by name without suffix, so cat.jpg and cat.png would be the same image.
            "image name": [_stem(one.file_name) for one in images],
            "category id": [one.id for one in categories],
            "panoptic file name": [one.file_name for one in pictures],
        }
        for what, keys in named.items():
            if (twice := first_duplicate(keys)) is not None:
                raise UnreadableError(f"the duplicate {what} {twice}")
        if any(one.height * one.width > MOST_PIXELS for one in images):
            raise UnreadableError(f"an image of more than {MOST_PIXELS:,} pixels")
        for one in () if panoptic else annotations:
            typed(one.get("image_id"), Id, "annotations[...].image_id")
    except (UnreadableError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else one_line(error)
        raise MaskError(f"{file}: expected COCO annotations, got {reason}; repair it") from None
    if len(categories) > MOST:
        raise MaskError(f"{file}: expected at most {MOST} categories, got {len(categories)}; drop some")
    if panoptic:
        return Annotations(file, "panoptic", images, categories, pictures=pictures)
    try:
        import pycocotools  # noqa: F401
    except ImportError:
        raise MaskError("masks: expected the package pycocotools, got none; install smix[coco]") from None
    return Annotations(file, "coco", images, categories, annotations)
