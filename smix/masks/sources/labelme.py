"""Use shapes drawn with labelme as masks: DIR/cat/001.json contains those of the image cat/001.jpg."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from jaxtyping import Bool
from msgspec import Meta
from numpy.typing import NDArray

from smix.data.pictures import UNREADABLE, Pictures
from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.names import NO_MASK
from smix.masks.sources.choice import ObjectClasses, class_index, class_names_in, classes_of_label
from smix.masks.sources.frames import MaskFrame, check_frames, in_upright_frame
from smix.masks.sources.places import SIZE_OF_FOLDERS, Places, digest_files, places_of, segmentation_from_maps
from smix.masks.sources.reading import Segmentation
from smix.masks.sources.run_lengths import MAX_PIXELS
from smix.masks.sources.shapes import NO_OBJECT, Shape, draw_shapes
from smix.untrusted import UnreadableError, is_plain_name, one_line, read_json, typed

MAX_BYTES = 1 << 28
"""Maximum size of a file in bytes; labelme can embed the image in it."""

Side = Annotated[int, Meta(ge=1)]


class LabelmeFile(msgspec.Struct, frozen=True, rename="camel"):
    """The content of a labelme file."""

    image_height: Side
    image_width: Side
    shapes: list[Shape]
    image_path: str | None = None
    """Path of the picture that was drawn on, from the folder of the file."""


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
    mask_frame: MaskFrame | None = None
    """Frame of the drawings on rotated photographs. None: determined from the declared sizes."""
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
            MaskError: No file belongs to an image of `data`, or the frame of a drawing is not known.
            OptionError: No shape has a label in `keep` or `object_classes`.
        """
        self.places = places_of(self.folder, data)
        check_frames(str(self.folder), data, lambda image: self._size(data, image), self.mask_frame)
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
            "mask_frame": self.mask_frame,
        }

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        """Return the masks of the images of `data` at `index`, and the reasons why some have none."""
        labels = {label: self._labels_of(data, label) for label in np.unique(data.labels[index]).tolist()}

        def read(image: int) -> NDArray[np.uint8]:
            if (path := self._file(data, image)) is None:
                raise MaskError(NO_MASK)
            inside, drawn_on = _draw(path, labels[int(data.labels[image])])
            _check_picture(path, drawn_on, data, image)
            return in_upright_frame(
                inside.astype(np.uint8), data, image, self.mask_frame, path.relative_to(self.folder).as_posix()
            )

        return segmentation_from_maps(read, index, data.size or SIZE_OF_FOLDERS)

    def _file(self, data: ImageSet, image: int) -> Path | None:
        if self.places is None:
            self.places = places_of(self.folder, data)
        paths = (self.folder / f"{name}.json" for name in self.places.names(data.stem(image)))
        return next((path for path in paths if path.is_file()), None)

    def _size(self, data: ImageSet, image: int) -> tuple[int, int] | None:
        """Return the height and width that the file of an image declares. None: there is no such file, or it is damaged."""
        if (path := self._file(data, image)) is None:
            return None
        try:
            drawing = _read(path)
        except UnreadableError:  # reported when it is read
            return None
        return drawing.image_height, drawing.image_width

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
        labels: Labels of the shapes that are objects. None: all but `__ignore__` and `_background_`.

    Raises:
        MaskError: The file cannot be read, or a shape in it cannot be drawn.
    """
    return _draw(path, labels)[0]


def _draw(path: Path, labels: set[str] | None) -> tuple[Bool[np.ndarray, "H W"], str]:
    """Return the mask of the shapes in a file, as `read_shapes` does, and the name of the picture that was drawn on; empty if unknown."""
    try:
        drawing = _read(path)
        if drawing.image_height * drawing.image_width > MAX_PIXELS:
            raise UnreadableError(f"an image of size {drawing.image_height}x{drawing.image_width}")
        mask = draw_shapes(drawing.shapes, (drawing.image_height, drawing.image_width), labels)
        # labelme on Windows writes backslashes.
        return mask, (drawing.image_path or "").replace("\\", "/").rpartition("/")[2]
    except MaskError as error:
        raise MaskError(f"{path.name}: {error}") from None
    except (*UNREADABLE, MemoryError) as error:
        raise MaskError(f"{path.name}: expected a labelme file, got {one_line(error)}; repair it") from None


def _check_picture(path: Path, drawn_on: str, data: ImageSet, image: int) -> None:
    """Raise MaskError if a file was drawn on another picture that lies next to its image.

    A picture that is not there was renamed together with its file.
    """
    if not isinstance(data.images, Pictures):
        return
    own = data.images.home / data.images.names[image]
    if drawn_on and Path(drawn_on).stem != own.stem and is_plain_name(drawn_on) and (own.parent / drawn_on).is_file():
        raise MaskError(
            f"{path.name}: drawn on {drawn_on} (imagePath), which is another picture than {own.name}; rename the file, or correct its "
            "imagePath"
        )


def _read(path: Path) -> LabelmeFile:
    drawing: LabelmeFile = typed(read_json(path, MAX_BYTES), LabelmeFile)
    return drawing


def _labels(path: Path) -> set[str]:
    """Return the labels of objects in a file. Empty if it is damaged, which is reported when its mask is read."""
    try:
        return {shape.label for shape in _read(path).shapes} - set(NO_OBJECT)
    except UnreadableError:
        return set()
