"""COCO's annotations: instances as run-length codes and polygons, and the segments of its panoptic pictures."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from smix.errors import MaskError

MOST = 254
"""More classes do not fit into a class map."""
PARTS = ("images", "annotations", "categories")


@dataclass(frozen=True, eq=False)
class Annotations:
    """The content of a JSON file of COCO's. Crowds count as any other instance or segment."""

    file: Path
    style: Literal["coco", "panoptic"]
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, from 1."""
        return tuple(str(one["name"]) for one in self.categories)

    @property
    def things(self) -> tuple[bool, ...]:
        """Which classes are things and no stuff."""
        return tuple(bool(one.get("isthing", 1)) for one in self.categories)

    @property
    def sizes(self) -> set[tuple[int, ...]]:
        """Of the images, where they are listed."""
        return {(int(one["height"]), int(one["width"])) for one in self.images}

    def has(self, names: Iterable[str]) -> bool:
        """Is there an image of one of these names, without suffix?"""
        return any(name in self._by_name for name in names)

    def instances(self, names: Iterable[str], kept: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The class of each pixel of the first image of these names; of two instances on a pixel, the later one's.

        Args:
            kept: (256,) the number by which a class appears, 0 if it is no object.

        Raises:
            MaskError: no such image, or its annotations cannot be read.
        """
        image = next((self._by_name[name] for name in names if name in self._by_name), None)
        if image is None:
            raise MaskError("no mask")
        numbers = np.zeros((int(image["height"]), int(image["width"])), np.uint8)
        for one in self._by_image.get(image["id"], ()):
            try:
                if number := kept[self._numbers[one["category_id"]]]:
                    numbers[_inside(one["segmentation"], numbers.shape)] = number
            except (TypeError, ValueError, LookupError, AttributeError) as error:
                height, width = numbers.shape
                raise MaskError(
                    f"annotation {one.get('id')}: expected a class and a mask of {height}x{width}, got {type(error).__name__}: {error}"
                ) from None
        return numbers

    def panoptic(self, path: Path, pixels: NDArray[np.uint8], kept: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The class of each pixel of a panoptic picture, whose colours are the numbers of segments; `kept` as above."""
        if pixels.ndim != 3:
            raise MaskError(f"{path.name}: expected a panoptic picture in colours, got one channel")
        segments = pixels.astype(np.int32) @ np.array([1, 256, 256**2], np.int32)
        numbers = np.zeros(segments.shape, np.uint8)
        names = ("/".join(path.parts[first:]) for first in range(len(path.parts)))
        listed = next((self._by_picture[name] for name in names if name in self._by_picture), None)
        if listed is None:
            raise MaskError(f"{path.name}: expected its segments in {self.file.name}, got none")
        try:
            for one in listed["segments_info"]:
                numbers[segments == one["id"]] = kept[self._numbers[one["category_id"]]]
        except (TypeError, LookupError) as error:
            raise MaskError(
                f"{path.name}: expected segments with id and category_id in {self.file.name}, got {type(error).__name__}: {error}"
            ) from None
        return numbers

    @cached_property
    def _numbers(self) -> dict[Any, int]:
        return {one["id"]: number for number, one in enumerate(self.categories, 1)}

    @cached_property
    def _by_name(self) -> dict[str, dict[str, Any]]:
        return {str(one["file_name"]).rpartition(".")[0]: one for one in self.images}

    @cached_property
    def _by_picture(self) -> dict[str, dict[str, Any]]:
        return {str(one["file_name"]): one for one in self.annotations}

    @cached_property
    def _by_image(self) -> dict[Any, list[dict[str, Any]]]:
        found: dict[Any, list[dict[str, Any]]] = {}
        for one in self.annotations:
            found.setdefault(one["image_id"], []).append(one)
        return found


def _inside(code: Any, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """The pixels of a segmentation: polygons, or a run-length code, compressed or not."""
    from pycocotools import mask as codes

    if isinstance(code, list):
        # Of fewer numbers pycocotools makes an empty mask, or errors of all kinds.
        if any(len(points) < 6 or len(points) % 2 for points in code):
            raise ValueError("a polygon of less than 3 points")
        code = codes.merge(codes.frPyObjects(code, *size))
    else:
        if tuple(code["size"]) != size:
            raise ValueError(f"size {code['size']}")
        if isinstance(code["counts"], list):
            if min(code["counts"], default=0) < 0 or sum(code["counts"]) != size[0] * size[1]:
                raise ValueError(f"counts of {sum(code['counts'])} pixels")
            code = codes.frPyObjects(code, *size)
    return np.asarray(codes.decode(code)).astype(bool)


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
    content = file.read_bytes()
    return all(f'"{part}"'.encode() in content for part in PARTS)


def _read(file: Path) -> Annotations:
    try:
        values = json.loads(file.read_bytes())
        annotations = values["annotations"]
        panoptic = bool(annotations) and "segments_info" in annotations[0]
        for part, keys in (
            ("images", ("id", "file_name", "height", "width")),
            (
                "annotations",
                ("file_name", "segments_info") if panoptic else ("image_id", "category_id", "segmentation"),
            ),
            ("categories", ("id", "name")),
        ):
            for one in values[part]:
                if missing := [key for key in keys if key not in one]:
                    raise ValueError(f"{part} without {missing[0]}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise MaskError(f"{file}: expected COCO annotations, got {reason}; repair it") from None
    if len(values["categories"]) > MOST:
        raise MaskError(f"{file}: expected at most {MOST} categories, got {len(values['categories'])}; drop some")
    if not panoptic:
        try:
            import pycocotools  # noqa: F401
        except ImportError:
            raise MaskError("masks: expected the package pycocotools, got none; install smix[coco]") from None
    return Annotations(file, "panoptic" if panoptic else "coco", *(values[part] for part in PARTS))
