"""Use shapes drawn with labelme as masks: DIR/cat/001.json contains those of the image cat/001.jpg."""

import base64
import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from jaxtyping import Bool
from msgspec import Meta
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from smix.data.pictures import UNREADABLE
from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.sources.choice import ObjectClasses, class_index, class_names_in, classes_of_label
from smix.masks.sources.places import SIZE_OF_FOLDERS, Places, digest_files, places_of, segmentation_from_maps
from smix.masks.sources.reading import Segmentation
from smix.masks.sources.run_lengths import MAX_PIXELS
from smix.untrusted import UnreadableError, one_line, read_json, typed

MIN_POINTS = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}
"""Minimum number of points of each kind of shape that has an area; lines and points are ignored."""
MAX_BYTES = 1 << 28
"""Maximum size of a file in bytes; labelme can embed the image in it."""
MAX_COORDINATE = 1 << 14
"""Distance in pixels beyond which Pillow's coordinates overflow."""

Side = Annotated[int, Meta(ge=1)]


class Shape(msgspec.Struct, frozen=True):
    """A shape. Keys that are not listed are ignored, here and below."""

    label: str
    points: list[tuple[float, float]]
    """x and y in pixels."""
    shape_type: str | None = None
    """Kind of the shape. None: a polygon, in files of old versions."""
    mask: str | None = None
    """Mask in the bounding box of a shape of type "mask", as a PNG in base64."""


class LabelmeFile(msgspec.Struct, frozen=True, rename="camel"):
    """The content of a labelme file."""

    image_height: Side
    image_width: Side
    shapes: list[Shape]


@dataclass(eq=False)
class LabelmeSource:
    """A source that reads the labelme files in a folder. The object is the union of the shapes.

    Raises:
        MaskError: The folder does not exist.
    """

    folder: Path
    keep: tuple[str, ...] = ()
    """Labels of the shapes that are objects. Empty: all shapes."""
    object_classes: ObjectClasses | None = None
    """Labels of the shapes that are objects in the images of each class of the data set."""
    places: Places | None = None
    """Names of the files, set by `describe`, which sees the whole split."""
    classes = ()
    needs_images = False

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise MaskError(f"labelme: there is no folder {self.folder}; check the path")

    def describe(self, data: ImageSet) -> dict[str, Any]:
        """Return the sha256 of all files that belong to the images of a whole split, for the manifest of a store.

        Raises:
            MaskError: No file belongs to an image of `data`.
            OptionError: No shape has a label in `keep` or `object_classes`.
        """
        self.places = places_of(self.folder, data)
        digest = hashlib.sha256()
        paths = digest_files(digest, data, lambda image: self._file(data, image))
        if not paths:
            raise MaskError(
                f"{self.folder}: no image of {data.name} has a file here, such as {data.stem(0)}.json; check the folder"
            )
        if names := class_names_in(self.keep, self.object_classes):
            labels = sorted({label for path in paths for label in _labels(path)})
            for name in names:
                class_index(name, labels)
        return {
            "name": f"labelme:{self.folder.name}",
            "sha256": digest.hexdigest(),
            "objects": list(self.keep) or "all",
            "object_classes": self.object_classes,
        }

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        """Return the masks of the images of `data` at `index`, and the reasons why some have none."""
        labels = {label: self._labels_of(data, label) for label in np.unique(data.labels[index]).tolist()}

        def read(image: int) -> NDArray[np.uint8]:
            if (path := self._file(data, image)) is None:
                raise MaskError("no mask")
            return read_shapes(path, labels[int(data.labels[image])]).astype(np.uint8)

        return segmentation_from_maps(read, index, data.size or SIZE_OF_FOLDERS)

    def _file(self, data: ImageSet, image: int) -> Path | None:
        if self.places is None:
            self.places = places_of(self.folder, data)
        paths = (self.folder / f"{name}.json" for name in self.places.names(data.stem(image)))
        return next((path for path in paths if path.is_file()), None)

    def _labels_of(self, data: ImageSet, label: int) -> set[str] | None:
        """Return the labels of the shapes that are objects in the images of a class. None: all shapes."""
        keep = set(self.keep) or None
        chosen = None if self.object_classes is None else classes_of_label(self.object_classes, data, label)
        if chosen is None:
            return keep
        return set(chosen) if keep is None else keep & set(chosen)


def read_shapes(path: Path, labels: set[str] | None) -> Bool[np.ndarray, "H W"]:
    """Return the mask of the shapes in a labelme file, True inside any of them.

    Args:
        path: The JSON file.
        labels: Labels of the shapes to use. None: all shapes.

    Raises:
        MaskError: The file cannot be read, or a shape in it has too few points.
    """
    try:
        drawing = _read(path)
        if drawing.image_height * drawing.image_width > MAX_PIXELS:
            raise UnreadableError(f"an image of size {drawing.image_height}x{drawing.image_width}")
        picture = Image.new("L", (drawing.image_width, drawing.image_height))
        for shape in drawing.shapes:
            if labels is None or shape.label in labels:
                _fill(picture, shape)
    except MaskError:
        raise
    except (*UNREADABLE, MemoryError) as error:
        raise MaskError(f"{path.name}: expected a labelme file, got {one_line(error)}; repair it") from None
    inside: NDArray[np.bool_] = np.array(picture) != 0
    return inside


def _read(path: Path) -> LabelmeFile:
    drawing: LabelmeFile = typed(read_json(path, MAX_BYTES), LabelmeFile)
    return drawing


def _labels(path: Path) -> set[str]:
    """Return the labels of the shapes in a file. Empty if it is damaged, which is reported when its mask is read."""
    try:
        return {shape.label for shape in _read(path).shapes}
    except UnreadableError:
        return set()


def _fill(picture: Image.Image, shape: Shape) -> None:
    """Draw a shape as labelme.utils.shape_to_mask does: outline and interior."""
    kind, points = shape.shape_type or "polygon", shape.points
    if kind not in MIN_POINTS:
        return
    if len(points) < MIN_POINTS[kind]:
        raise MaskError(f"{shape.label}: a {kind} needs {MIN_POINTS[kind]} points or more, got {len(points)}")
    draw = ImageDraw.Draw(picture)
    (left, *_, right), (top, *_, bottom) = (sorted(numbers) for numbers in zip(*points, strict=True))
    if kind == "circle":
        (x, y), radius = points[0], math.dist(*points[:2])
        if max(abs(x), abs(y)) + radius <= MAX_COORDINATE:
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=1, outline=1)
        else:  # Pillow's coordinates would overflow
            rows, columns = np.ogrid[: picture.height, : picture.width]
            picture.paste(1, mask=Image.fromarray((np.hypot(rows - y, columns - x) <= radius).astype(np.uint8) * 255))
    elif kind == "rectangle":
        # Clipped to the image, since Pillow draws nothing if a corner is far outside.
        left, right = np.clip((left, right), -1, picture.width)
        top, bottom = np.clip((top, bottom), -1, picture.height)
        draw.rectangle([left, top, right, bottom], fill=1, outline=1)
    elif max(-left, -top, right, bottom) > MAX_COORDINATE + max(picture.size):
        raise UnreadableError(f"a {kind} far outside the image")
    elif kind == "polygon":
        draw.polygon(points, fill=1, outline=1)
    else:
        content = base64.b64decode("".join((shape.mask or "").split()), validate=True)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as mask:
            if mask.width * mask.height > MAX_PIXELS:
                raise UnreadableError(f"a mask of {mask.width}x{mask.height} pixels")
            inside = Image.fromarray(np.where(np.asarray(mask) != 0, np.uint8(255), np.uint8(0)))
        picture.paste(1, (int(left), int(top)), inside)
