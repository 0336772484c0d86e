"""COCO's annotations: instances as run-length codes and polygons, and the segments of its panoptic pictures."""

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from smix.errors import MaskError

MOST = 254
"""More classes do not fit into a class map."""


@dataclass(frozen=True, eq=False)
class Annotations:
    """The content of a JSON file of COCO's."""

    file: Path
    style: Literal["coco", "panoptic"]
    images: tuple[dict[str, Any], ...]
    annotations: tuple[dict[str, Any], ...]
    categories: tuple[dict[str, Any], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, from 1."""
        return tuple(str(one["name"]) for one in self.categories)

    @property
    def things(self) -> tuple[bool, ...]:
        """Which classes are things and no stuff."""
        return tuple(bool(one.get("isthing", 1)) for one in self.categories)

    def instances(self, stem: str) -> NDArray[np.int64]:
        """The class of each pixel of an image, 0 for none; of two instances on a pixel, the later one's."""
        from pycocotools import mask as codes

        image = self._by_stem.get(stem) or self._by_stem.get(stem.rpartition("/")[2])
        if image is None:
            raise MaskError("no mask")
        height, width = int(image["height"]), int(image["width"])
        numbers = np.zeros((height, width), np.int64)
        for one in self._by_image.get(image["id"], ()):
            code = one["segmentation"]
            try:
                if isinstance(code, list):  # polygons
                    code = codes.merge(codes.frPyObjects(code, height, width))
                elif isinstance(code["counts"], list):
                    code = codes.frPyObjects(code, height, width)
                inside = codes.decode(code).astype(bool)
                numbers[inside] = self._numbers[one["category_id"]]
            except (TypeError, ValueError, KeyError, IndexError) as error:
                raise MaskError(
                    f"annotation {one.get('id')}: expected a class and a mask of {height}x{width}, got {type(error).__name__}: {error}"
                ) from None
        return numbers

    def panoptic(self, path: Path, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The class of each pixel of a panoptic picture: its colour is the number of a segment."""
        if pixels.ndim != 3:
            raise MaskError(f"{path.name}: expected a panoptic picture in colours, got one channel")
        segments = pixels.astype(np.int64) @ np.array([1, 256, 256**2])
        numbers = np.zeros(segments.shape, np.int64)
        listed = self._by_file.get(path.name)
        if listed is None:
            raise MaskError(f"{path.name}: expected its segments in {self.file.name}, got none")
        try:
            for one in listed["segments_info"]:
                numbers[segments == one["id"]] = self._numbers[one["category_id"]]
        except (KeyError, TypeError) as error:
            raise MaskError(
                f"{path.name}: expected segments with id and category_id in {self.file.name}, got {type(error).__name__}: {error}"
            ) from None
        return numbers

    @cached_property
    def _numbers(self) -> dict[Any, int]:
        return {one["id"]: number for number, one in enumerate(self.categories, 1)}

    @cached_property
    def _by_stem(self) -> dict[str, dict[str, Any]]:
        """Images by their path without the suffix."""
        return {str(one["file_name"]).rpartition(".")[0]: one for one in self.images}

    @cached_property
    def _by_file(self) -> dict[str, dict[str, Any]]:
        return {str(one["file_name"]).rpartition("/")[2]: one for one in self.annotations if "file_name" in one}

    @cached_property
    def _by_image(self) -> dict[Any, list[dict[str, Any]]]:
        found: dict[Any, list[dict[str, Any]]] = {}
        for one in self.annotations:
            found.setdefault(one["image_id"], []).append(one)
        return found


def find_annotations(folder: Path) -> Path | None:
    """The JSON of COCO's in a folder, or the one that is named as the folder and lies beside it."""
    beside = folder.resolve().with_suffix(".json")
    candidates = [folder / "annotations.json", *sorted(folder.glob("*.json")), beside]
    for file in candidates:
        if file.is_file() and _looks_like_coco(file):
            return file
    return None


def _looks_like_coco(file: Path) -> bool:
    with file.open("rb") as opened:
        begin = opened.read(1)
    if begin.strip() not in (b"{", b""):
        return False
    try:
        values = json.loads(file.read_text())
    except ValueError:
        return False
    return isinstance(values, dict) and {"images", "annotations", "categories"} <= set(values)


@lru_cache(maxsize=2)
def read_annotations(file: Path) -> Annotations:
    """Read a JSON of COCO's.

    Raises:
        MaskError: pycocotools is missing, or it is none.
    """
    values = json.loads(file.read_text())
    annotations = values["annotations"]
    style: Literal["coco", "panoptic"] = "panoptic" if annotations and "segments_info" in annotations[0] else "coco"
    if style == "coco":
        try:
            import pycocotools  # noqa: F401
        except ImportError:
            raise MaskError("masks: expected the package pycocotools, got none; install smix[coco]") from None
    if len(values["categories"]) > MOST:
        raise MaskError(f"{file}: expected at most {MOST} categories, got {len(values['categories'])}; drop some")
    return Annotations(file, style, *(tuple(values[part]) for part in ("images", "annotations", "categories")))
