"""Polygons, rectangles, circles and masks drawn with labelme: `cat/001.json` in the folder is of the image `cat/001.jpg`."""

import base64
import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from smix.data.pictures import UNREADABLE
from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.sources.choice import ObjectClasses, entry, number_of
from smix.masks.sources.places import SIZE_OF_FOLDERS, Places, fitted, places_of
from smix.masks.sources.reading import Segmentation
from smix.masks.sources.run_lengths import MOST_PIXELS
from smix.untrusted import UnreadableError, one_line, parse_json, read_bytes

AREAS = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}
"""Kinds of shapes that have an area, and how many points each needs; lines and points are left out."""
LARGEST = 1 << 28
"""Largest file, in bytes: labelme may keep the image in it."""
FAR = 1 << 14
"""Distance from which on Pillow's coordinates overflow, in pixels."""
NO_SHAPES = (*UNREADABLE, KeyError, TypeError, AttributeError, ArithmeticError, MemoryError, RecursionError)


@dataclass(eq=False)
class LabelmeSource:
    """The union of the shapes in a file is the object."""

    folder: Path
    keep: tuple[str, ...] = ()
    """Labels of shapes that are objects; empty: all."""
    object_classes: ObjectClasses | None = None
    """The labels of shapes that are objects in the images of each label of the data set."""
    places: Places | None = None
    """Names of the files; found out from the whole split by `describe`."""
    classes = ()
    needs_images = False

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise MaskError(f"labelme: expected a folder {self.folder}, got none; check the path")

    def describe(self, data: ImageSet) -> dict[str, Any]:
        """A sha256 of every file that belongs to `data`.

        Raises:
            MaskError: none does.
            OptionError: a label that no shape in them has.
        """
        self.places = places = places_of(self.folder, data)
        chosen = {*self.keep, *(name for names in (self.object_classes or {}).values() for name in names or ())}
        digest, count, labels = hashlib.sha256(), 0, set()
        for place in range(len(data)):
            if (path := _file(places, data, place)) is not None:
                content = _content(path)
                digest.update(f"{data.stem(place)}\n".encode() + content)
                count += 1
                labels |= _labels(content) if chosen else set()
        if not count:
            raise MaskError(
                f"{self.folder}: expected files such as {data.stem(0)}.json, got none of any image of {data.name}; check the folder"
            )
        for name in sorted(chosen):
            number_of(name, sorted(labels))
        return {
            "name": f"labelme:{self.folder.name}",
            "sha256": digest.hexdigest(),
            "objects": list(self.keep) or "all",
            "object_classes": self.object_classes,
        }

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        """The masks of the images at these places, and why some have none."""
        if self.places is None:
            self.places = places_of(self.folder, data)
        size = data.size or SIZE_OF_FOLDERS
        objects, problems = torch.full((len(index), *size), torch.nan), {}
        for place, image in enumerate(index.tolist()):
            wanted = self._wanted(data, int(data.labels[image]))
            try:
                if (path := _file(self.places, data, image)) is None:
                    raise MaskError("no mask")
                objects[place] = fitted(read_shapes(path, wanted).astype(np.uint8), size).float()
            except MaskError as error:
                problems[place] = str(error)
        return Segmentation(objects, None, problems)

    def _wanted(self, data: ImageSet, label: int) -> set[str] | None:
        """Labels of the shapes that are objects in the images of a label; None: all."""
        keep = set(self.keep) or None
        chosen = None if self.object_classes is None else entry(self.object_classes, data, label)
        if chosen is None:
            return keep
        return set(chosen) if keep is None else keep & set(chosen)


def read_shapes(path: Path, wanted: set[str] | None) -> NDArray[np.bool_]:
    """Return the union of the shapes of these labels (None: all) in a file of labelme's, (imageHeight, imageWidth).

    Raises:
        MaskError: The file cannot be read, or a shape in it has too few points.
    """
    try:
        values = parse_json(_content(path))
        height, width = values["imageHeight"], values["imageWidth"]
        if not all(isinstance(side, int) and side >= 1 for side in (height, width)) or height * width > MOST_PIXELS:
            raise UnreadableError(f"an image of size {height!r:.20}x{width!r:.20}")
        picture = Image.new("L", (width, height))
        for shape in values["shapes"]:
            if wanted is None or shape["label"] in wanted:
                _fill(picture, shape)
    except NO_SHAPES as error:
        if isinstance(error, MaskError):
            raise
        reason = f"no {error}" if isinstance(error, KeyError) else one_line(error)
        raise MaskError(f"{path.name}: expected a labelme file, got {reason}; repair it") from None
    return np.array(picture) != 0


def _content(path: Path) -> bytes:
    """Raises MaskError: The file cannot be read."""
    try:
        return read_bytes(path, LARGEST)
    except UnreadableError as error:
        raise MaskError(f"{path.name}: expected a labelme file, got {error}; repair it") from None


def _file(places: Places, data: ImageSet, place: int) -> Path | None:
    paths = (places.folder / f"{name}.json" for name in places.names(data.stem(place)))
    return next((path for path in paths if path.is_file()), None)


def _labels(content: bytes) -> set[str]:
    """Return the labels of the shapes in a file; none if it is damaged, which is reported when it is read."""
    try:
        return {str(shape["label"]) for shape in parse_json(content)["shapes"]}
    except NO_SHAPES:
        return set()


def _fill(picture: Image.Image, shape: dict[str, Any]) -> None:
    """Draw a shape as labelme.utils.shape_to_mask does: outline and interior."""
    kind, points = shape.get("shape_type") or "polygon", [(float(x), float(y)) for x, y in shape["points"]]
    if kind not in AREAS:
        return
    if not np.isfinite(points).all():
        raise ValueError(f"points {points}")
    if len(points) < AREAS[kind]:
        raise MaskError(f"{shape['label']}: expected a {kind} of at least {AREAS[kind]} points, got {len(points)}")
    draw = ImageDraw.Draw(picture)
    if kind == "circle":
        _draw_circle(draw, points[0], math.dist(*points[:2]), picture.size)
        return
    (left, *_, right), (top, *_, bottom) = (sorted(numbers) for numbers in zip(*points, strict=True))
    if kind == "rectangle":
        # What lies outside of the image is not drawn anyway, and far outside Pillow draws nothing.
        left, right = np.clip((left, right), -1, picture.width)
        top, bottom = np.clip((top, bottom), -1, picture.height)
        draw.rectangle([left, top, right, bottom], fill=1, outline=1)
    elif max(-left, -top, right, bottom) > FAR + max(picture.size):
        raise UnreadableError(f"a {kind} far outside the image")
    elif kind == "polygon":
        draw.polygon(points, fill=1, outline=1)
    else:
        content = base64.b64decode("".join(shape["mask"].split()), validate=True)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as part:
            if part.width * part.height > MOST_PIXELS:
                raise UnreadableError(f"a mask of {part.width}x{part.height}")
            inside = Image.fromarray((np.asarray(part) != 0).astype(np.uint8))
        picture.paste(1, (int(left), int(top)), inside.point([0] + [255] * 255))


def _draw_circle(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, size: tuple[int, int]) -> None:
    x, y = centre
    if max(abs(x), abs(y)) + radius <= FAR:
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=1, outline=1)
        return
    for row in range(size[1]):  # Pillow's coordinates would overflow
        if (distance := abs(row - y)) <= radius:
            half = math.sqrt((radius - distance) * (radius + distance))
            first, last = math.ceil(max(0.0, x - half)), math.floor(min(size[0] - 1.0, x + half))
            if first <= last:
                draw.line([first, row, last, row], fill=1)
