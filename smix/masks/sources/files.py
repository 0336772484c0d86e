"""Segmentations that exist, as pictures beside the images or in a folder of their own, or as COCO annotations.

Of `cat/001.jpg` the mask is DIR/cat/001.png, DIR/cat/001_mask.png or DIR/001.png, that of row 17 of an array DIR/000017.png, and that of
Cityscapes' x_leftImg8bit.png is x_gtFine_labelIds.png.
"""

import hashlib
import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from smix.data.pictures import Pictures
from smix.data.sets import ImageSet
from smix.errors import MaskError, unknown
from smix.masks.sources.choice import ObjectClasses, kept, number_of
from smix.masks.sources.coco import Annotations, find_annotations
from smix.masks.sources.places import SIZE_OF_FOLDERS, Places, fitted, places_of
from smix.masks.sources.reading import Segmentation
from smix.masks.sources.styles import (
    CITYSCAPES,
    FIRST_WITH_INSTANCES,
    Style,
    class_names,
    numbers_in,
    read_picture,
    size_of,
    style_of,
)
from smix.untrusted import UnreadableError, read_bytes

__all__ = ["FilesSource", "Style", "files_source"]

ENDINGS = (".png", "_mask.png", "-mask.png")
LOOKED_AT = 20
"""Pictures from which their style, their classes and their size are found out."""


@dataclass(frozen=True, eq=False)
class Reading:
    """Layout and style of the mask files of a split."""

    places: Places
    style: Style
    names: tuple[str, ...]
    """Names of the class numbers, from 0."""
    objects: NDArray[np.bool_]
    """True for classes that are objects by default."""
    size: tuple[int, ...]
    """Size that masks are resized to."""
    annotations: Annotations | None

    def picture(self, data: ImageSet, place: int) -> Path | None:
        return _picture(self.places, data, place)

    def numbers(self, data: ImageSet, place: int, kept: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The class of each pixel as `kept` (256,) says, 0 for none. Raises MaskError: there is no mask."""
        if self.annotations is not None and self.style == "coco":
            return self.annotations.instances(self.places.names(data.stem(place)), kept)
        if (path := self.picture(data, place)) is None:
            raise MaskError("no mask")
        if self.annotations is not None:
            return self.annotations.panoptic(path, read_picture(path).numbers, kept)
        return kept[numbers_in(path, self.style, len(self.names))]


@dataclass(eq=False)
class FilesSource:
    """A mask for each image, from files."""

    folder: Path
    style: Style | None
    """None: found out."""
    keep: tuple[str, ...] = ()
    object_classes: ObjectClasses | None = None
    reading: Reading | None = None
    """Found out from the whole split by `describe`."""
    needs_images = False

    @property
    def batch_size(self) -> int:
        """Number of masks that are read at once: fewer where they are large."""
        return max(1, min(16, (1 << 26) // math.prod(self.reading.size))) if self.reading else 16

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the numbers in `Segmentation.classes`, from 1; none before `describe`."""
        return () if self.reading is None else self.reading.names[1:]

    def describe(self, data: ImageSet) -> dict[str, Any]:
        """The style, and a sha256 of every file that belongs to `data`: one corrected mask makes another store.

        Raises:
            MaskError: none belongs to it, or it cannot be told how they are to be read.
            OptionError: a class that they do not know.
        """
        self.reading = reading = self._read(data)
        digest = hashlib.sha256("\n".join(reading.names).encode())
        if reading.annotations is not None:
            digest.update(read_bytes(reading.annotations.file))
        if reading.style != "coco":
            for place in range(len(data)):
                if (path := reading.picture(data, place)) is not None:
                    digest.update(f"{data.stem(place)}\n".encode() + _content(path))
        return {
            "name": f"masks:{self.folder.name}",
            "style": reading.style,
            "sha256": digest.hexdigest(),
            "size": list(reading.size),
            "objects": list(self.keep) or "all",
            "object_classes": self.object_classes,
        }

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        """The masks of the images at these places, and why some have none."""
        if self.reading is None:
            self.reading = self._read(data)
        reading = self.reading
        chosen = kept(reading.names, reading.objects, self.keep, self.object_classes, data, data.labels[index])
        objects = torch.full((len(index), *reading.size), torch.nan)
        classes = torch.zeros((len(index), *reading.size), dtype=torch.uint8)
        problems = {}
        for place, (image, row) in enumerate(zip(index.tolist(), chosen, strict=True)):
            numbers = np.zeros(256, np.uint8)
            numbers[: len(row)] = np.where(row, np.arange(len(row)), 0)
            try:
                classes[place] = fitted(reading.numbers(data, image, numbers), reading.size)
            except MaskError as error:
                problems[place] = str(error)
            else:
                objects[place] = (classes[place] != 0).float()
        return Segmentation(objects, classes, problems)

    def _read(self, data: ImageSet) -> Reading:
        places = places_of(self.folder, data)
        annotations = find_annotations(self.folder) if self.style in (None, "coco", "panoptic") else None
        style = self.style or (None if annotations is None else annotations.style)
        if style in ("coco", "panoptic") and (annotations is None or annotations.style != style):
            raise MaskError(
                f"{self.folder}: expected a JSON of COCO annotations for style {style}, got none; put it there as annotations.json"
            )
        # Images of all classes, since files are sorted by class.
        order = np.random.default_rng(0).permutation(len(data)).tolist()
        if annotations is not None and annotations.style == "coco":
            paths, found = [], any(annotations.has(places.names(data.stem(place))) for place in order)
            sizes: set[tuple[int, ...] | None] = {*annotations.sizes}
        else:
            paths = list(islice((path for place in order if (path := _picture(places, data, place))), LOOKED_AT))
            found, sizes = bool(paths), {size_of(path) for path in paths} - {None}
        if not found:
            raise MaskError(
                f"{self.folder}: expected masks such as {data.stem(0)}.png, got none of any image of {data.name}; check the folder"
            )
        style = style or style_of(self.folder, paths)
        names, objects = _classes(self.folder, style, paths, annotations)
        for name in (*self.keep, *(name for chosen in (self.object_classes or {}).values() for name in chosen or ())):
            number_of(name, names)
        size = (sizes.pop() if len(sizes) == 1 else data.size) or SIZE_OF_FOLDERS
        return Reading(places, style, names, objects, size, annotations)


def files_source(
    folder: Path, style: Style | None, keep: tuple[str, ...], object_classes: ObjectClasses | None
) -> FilesSource:
    """The masks in a folder.

    Raises:
        MaskError: no such folder.
        OptionError: no such style.
    """
    if not folder.is_dir():
        raise MaskError(f"masks: expected a folder {folder}, got none; check the path")
    if style is not None and style not in get_args(Style):
        raise unknown("style", style, get_args(Style))
    return FilesSource(folder, style, keep, object_classes)


def _picture(places: Places, data: ImageSet, place: int) -> Path | None:
    """The mask of an image, which is never the image itself."""
    stem, own = data.stem(place), None
    if isinstance(data.images, Pictures) and data.images.names[place].endswith(".png"):
        own = data.images.home / data.images.names[place]
    for name in places.names(stem):
        for ending in ENDINGS:
            if f"{name}{ending.removesuffix('.png')}" in places.others and ending != ".png":
                continue  # 001_mask.png is of the image 001_mask, not of 001
            path = places.folder / f"{name}{ending}"
            if path.is_file() and not (own is not None and path.samefile(own)):
                return path
        if name.endswith("_leftImg8bit"):
            path = places.folder / f"{name.removesuffix('_leftImg8bit')}_gtFine_labelIds.png"
            if path.is_file():
                return path
    return None


def _content(path: Path) -> bytes:
    """Return what a sha256 is taken of: why a file cannot be read is told when its turn comes."""
    try:
        return read_bytes(path)
    except UnreadableError as error:
        return str(error).encode()


def _classes(
    folder: Path, style: Style, paths: list[Path], annotations: Annotations | None
) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Names of the class numbers from 0, and which are objects by themselves."""
    if annotations is not None:
        return ("background", *annotations.names), np.array([False, *annotations.things])
    if style == "cityscapes":
        return CITYSCAPES, np.arange(len(CITYSCAPES)) >= FIRST_WITH_INSTANCES
    names = class_names(folder, paths) if style == "classes" else ("background", "object")
    return names, np.arange(len(names)) > 0
