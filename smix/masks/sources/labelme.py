"""Polygons, rectangles, circles and masks drawn with labelme: `cat/001.json` in the folder is of the image `cat/001.jpg`."""

import base64
import hashlib
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.sources.choice import ClassMap
from smix.masks.sources.files import SIZE_OF_FOLDERS, fitted
from smix.masks.sources.reading import Segmentation

AREAS = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}
"""Kinds of shapes that have an area, and how many points each needs; lines and points are left out."""


@dataclass(frozen=True, eq=False)
class LabelmeSource:
    """The union of the shapes in a file is the object."""

    folder: Path
    keep: tuple[str, ...] = ()
    """Labels of shapes that are objects; empty: all."""
    class_map: ClassMap | None = None
    """The labels of shapes that are objects in the images of each label of the data set."""
    needs_images = False

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise MaskError(f"labelme: expected a folder {self.folder}, got none; check the path")

    def describe(self, data: ImageSet) -> dict[str, Any]:
        """A sha256 of every file that belongs to `data`."""
        digest, count = hashlib.sha256(), 0
        for place in range(len(data)):
            if (path := self._file(data, place)) is not None:
                digest.update(f"{data.stem(place)}\n".encode() + path.read_bytes())
                count += 1
        if not count:
            raise MaskError(
                f"{self.folder}: expected files such as {data.stem(0)}.json, got none of any image of {data.name}; check the folder"
            )
        return {
            "name": f"labelme:{self.folder.name}",
            "sha256": digest.hexdigest(),
            "objects": list(self.keep) or "all",
            "class_map": self.class_map,
        }

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        """The masks of the images at these places, and why some have none."""
        size = data.size or SIZE_OF_FOLDERS
        objects, problems = torch.full((len(index), *size), torch.nan), {}
        for place, image in enumerate(index.tolist()):
            path = self._file(data, image)
            try:
                if path is None:
                    raise MaskError("no mask")
                objects[place] = fitted(read_shapes(path, self._wanted(data, image)).astype(np.uint8), size).float()
            except MaskError as error:
                problems[place] = str(error)
        return Segmentation(objects, None, problems)

    def _file(self, data: ImageSet, place: int) -> Path | None:
        stem = data.stem(place)
        for path in (self.folder / f"{stem}.json", self.folder / f"{stem.rpartition('/')[2]}.json"):
            if path.is_file():
                return path
        return None

    def _wanted(self, data: ImageSet, place: int) -> set[str] | None:
        """Labels of the shapes that are objects in this image; None: all."""
        keep = set(self.keep) or None
        if self.class_map is None:
            return keep
        name = data.classes[data.labels[place]]
        if name not in self.class_map:
            raise MaskError(f"class-map: expected an entry for each class of {data.name}, got none for {name}")
        chosen = self.class_map[name]
        if chosen is None:
            return keep
        return set(chosen) if keep is None else keep & set(chosen)


def read_shapes(path: Path, wanted: set[str] | None) -> NDArray[np.bool_]:
    """The union of the shapes of these labels (None: all) in a file of labelme's, (imageHeight, imageWidth).

    Raises:
        MaskError: the file cannot be read, or a shape in it has too few points.
    """
    try:
        values = json.loads(path.read_text())
        mask = np.zeros((int(values["imageHeight"]), int(values["imageWidth"])), bool)
        for shape in values["shapes"]:
            if shape["shape_type"] in AREAS and (wanted is None or shape["label"] in wanted):
                mask |= _filled(shape, mask.shape)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, MaskError):
            raise
        raise MaskError(f"{path.name}: expected a file of labelme's, got {type(error).__name__}: {error}") from None
    return mask


def _filled(shape: dict[str, Any], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """As labelme.utils.shape_to_mask fills it: outline and interior."""
    from PIL import Image, ImageDraw

    kind, points = shape["shape_type"], [(float(x), float(y)) for x, y in shape["points"]]
    if len(points) < AREAS[kind]:
        raise MaskError(f"{shape['label']}: expected a {kind} of at least {AREAS[kind]} points, got {len(points)}")
    picture = Image.new("1", (size[1], size[0]))
    draw = ImageDraw.Draw(picture)
    if kind == "polygon":
        draw.polygon(points, fill=1, outline=1)
    elif kind == "circle":
        (x, y), rim = points[:2]
        radius = math.dist((x, y), rim)
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=1, outline=1)
    else:
        (left, right), (top, bottom) = (sorted(pair) for pair in zip(*points[:2], strict=True))
        if kind == "rectangle":
            draw.rectangle([left, top, right, bottom], fill=1, outline=1)
        else:
            with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as part:
                picture.paste(part.convert("1"), (round(left), round(top)))
    return np.array(picture)
