"""Use existing segmentations as masks: pictures next to the images or in another folder, or COCO annotations.

The mask of the image cat/001.jpg is DIR/cat/001.png, DIR/cat/001_mask.png or DIR/001.png. The mask of row 17 of an array is
DIR/000017.png. The mask of an image x_leftImg8bit.png of Cityscapes is x_gtFine_labelIds.png.
"""

import hashlib
import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

from smix.data.orientation import Frame
from smix.data.pictures import Pictures, frame_of, orientation
from smix.data.sets import ImageSet
from smix.errors import MaskError, unknown
from smix.masks.names import NO_MASK
from smix.masks.sources.choice import ObjectClasses, class_index, class_names_in, object_table
from smix.masks.sources.coco import Annotations, find_annotations
from smix.masks.sources.frames import MaskFrame, check_frames, in_upright_frame, upright_size
from smix.masks.sources.places import SIZE_OF_FOLDERS, Places, digest_files, places_of, segmentation_from_maps
from smix.masks.sources.reading import Segmentation
from smix.masks.sources.styles import Style, class_names, numbers_in, read_mask_picture, style_of
from smix.untrusted import read_bytes

__all__ = ["FilesSource", "Style", "files_source"]

ENDINGS = (".png", "_mask.png", "-mask.png", ".PNG", "_mask.PNG", "-mask.PNG")
SAMPLE = 20
"""Number of mask images from which the style, the classes and the size are determined."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Names, style and size of the mask files of a split."""

    places: Places
    style: Style
    names: tuple[str, ...]
    """Names of classes 0, 1, 2, ..."""
    objects: Bool[np.ndarray, "K"]
    """True for classes that are objects by default."""
    size: tuple[int, ...]
    """Height and width that masks are resized to."""
    annotations: Annotations | None


@dataclass(eq=False)
class FilesSource:
    """A source that reads a mask for each image from the files in a folder."""

    folder: Path
    style: Style | None
    """Style of the mask images. None: determined from some of them."""
    keep: tuple[str, ...] = ()
    """Classes that are objects. Empty: all classes that are objects by default."""
    object_classes: ObjectClasses | None = None
    """Classes that are objects in the images of each label."""
    mask_frame: MaskFrame | None = None
    """Frame of the masks of rotated photographs. None: determined from their sizes."""
    listed: bool = False
    """Read the files that the data set lists for its images (`ImageFiles.masks`)."""
    layout: Layout | None = None
    """Set by `describe`, which sees the whole split."""
    needs_images = False

    @property
    def batch_size(self) -> int:
        """Number of masks that are read at once (fewer if they are large)."""
        return max(1, min(16, (1 << 26) // math.prod(self.layout.size))) if self.layout else 16

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes 1, 2, ... in `Segmentation.classes`; empty before `describe`."""
        return () if self.layout is None else self.layout.names[1:]

    def describe(self, data: ImageSet) -> dict[str, Any]:
        """Return the style and the sha256 of all files that belong to the images of a whole split, for the manifest of a store.

        Raises:
            MaskError: No file belongs to an image of `data`, or its style or its frame cannot be determined.
            OptionError: A class in `keep` or `object_classes` does not occur in the files.
        """
        self.layout = layout = self._layout(data)
        self._check_frames(layout, data)
        digest = hashlib.sha256("\n".join(layout.names).encode())
        if layout.annotations is not None:
            digest.update(read_bytes(layout.annotations.file))
        if layout.style != "coco":
            digest_files(digest, data, lambda image: self._picture(layout.places, data, image))
        return {
            "name": f"masks:{self.folder.name}",
            "style": layout.style,
            "sha256": digest.hexdigest(),
            "size": list(layout.size),
            "objects": list(self.keep) or "all",
            "object_classes": self.object_classes,
            "mask_frame": self.mask_frame,
        }

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        """Return the masks of the images of `data` at `index`, and the reasons why some have none."""
        if self.layout is None:
            self.layout = self._layout(data)
        layout = self.layout
        labels, label_of_row = np.unique(data.labels, return_inverse=True)
        table = object_table(layout.names, layout.objects, self.keep, self.object_classes, data, labels)
        lookup = np.zeros((len(labels), 256), np.uint8)
        lookup[:, : len(layout.names)] = np.where(table, np.arange(len(layout.names)), 0)
        return segmentation_from_maps(
            lambda image: self._classes(layout, data, image, lookup[label_of_row[image]]), index, layout.size
        )

    def _classes(
        self, layout: Layout, data: ImageSet, image: int, lookup: UInt8[np.ndarray, "256"]
    ) -> UInt8[np.ndarray, "H W"]:
        """Return the upright class map of an image; `lookup` maps each class to itself, or to 0 for no object."""
        annotations, own = layout.annotations, self.mask_frame
        if annotations is not None and layout.style == "coco":
            classes, name = annotations.class_map(layout.places.names(data.stem(image)), lookup), annotations.file.name
        else:
            if (path := self._picture(layout.places, data, image)) is None:
                raise MaskError(NO_MASK)
            if annotations is not None:
                classes = annotations.panoptic_class_map(path, read_mask_picture(path).numbers, lookup)
            else:
                classes = lookup.take(numbers_in(path, layout.style, len(layout.names)))
            name = path.name if self.listed else path.relative_to(self.folder).as_posix()
            if orientation(path) != 1:  # the mask is upright by its own EXIF data
                own = "upright"
        if classes.shape == layout.places.exported_size:
            return classes
        return in_upright_frame(classes, data, image, own, name)

    def _check_frames(self, layout: Layout, data: ImageSet) -> None:
        """Raise MaskError if neither the size of a mask nor `mask_frame` says in which frame it is."""

        def size(image: int) -> tuple[int, int] | None:
            found = self._mask_frame(layout.places, layout.annotations, data, image)
            known = found is None or found.orientation != 1 or found.upright == layout.places.exported_size
            return None if found is None or known else found.upright

        check_frames(str(self.folder), data, size, self.mask_frame)

    def _mask_frame(self, places: Places, annotations: Annotations | None, data: ImageSet, image: int) -> Frame | None:
        """Return the frame of the mask of an image. None: it has none, or its mask cannot be read."""
        if annotations is not None and annotations.style == "coco":
            size = annotations.size(places.names(data.stem(image)))
            return None if size is None else Frame(*size)
        path = self._picture(places, data, image)
        return None if path is None else frame_of(path)

    def _upright_size(
        self, places: Places, annotations: Annotations | None, data: ImageSet, image: int
    ) -> tuple[int, int] | None:
        """Return the size of the mask of an image in the upright frame. None: it cannot be read or does not fit."""
        found = self._mask_frame(places, annotations, data, image)
        return None if found is None else upright_size(found, data, image, self.mask_frame, places.exported_size)

    def _layout(self, data: ImageSet) -> Layout:
        places = Places((), flat=False) if self.listed else places_of(self.folder, data)
        annotations = (
            None if self.listed or self.style not in (None, "coco", "panoptic") else find_annotations(self.folder)
        )
        style = self.style or (None if annotations is None else annotations.style)
        if style in ("coco", "panoptic") and (annotations is None or annotations.style != style):
            raise MaskError(
                f"{self.folder}: style {style} needs a JSON file of COCO annotations; save it in this folder as annotations.json"
            )
        # Sampled at random to get images of all classes, since files are sorted by class.
        order = np.random.default_rng(0).permutation(len(data)).tolist()
        of_coco = annotations if annotations is not None and annotations.style == "coco" else None

        def has_mask(image: int) -> bool:
            if of_coco is not None:
                return of_coco.has(places.names(data.stem(image)))
            return self._picture(places, data, image) is not None

        sample = list(islice(filter(has_mask, order), SAMPLE))
        if not sample:
            raise MaskError(
                f"{self.folder}: no image of {data.name} has a mask here, such as {data.stem(0)}.png; check the folder"
            )
        sizes = {self._upright_size(places, annotations, data, image) for image in sample} - {None}
        paths = (
            [] if of_coco else [path for image in sample if (path := self._picture(places, data, image)) is not None]
        )
        style = style or style_of(self.folder, paths)
        if annotations is not None:
            categories = annotations.categories
            names = ("background", *(category.name for category in categories))
            objects = np.array([False, *(bool(category.isthing) for category in categories)])
        elif style == "cityscapes":
            from torchvision.datasets import Cityscapes

            classes = [kind for kind in Cityscapes.classes if kind.id >= 0]
            names, objects = tuple(kind.name for kind in classes), np.array([kind.has_instances for kind in classes])
        else:
            names = class_names(self.folder, paths) if style == "classes" else ("background", "object")
            objects = np.arange(len(names)) > 0
        for name in class_names_in(self.keep, self.object_classes):
            class_index(name, names)
        size = (sizes.pop() if len(sizes) == 1 else data.size) or SIZE_OF_FOLDERS
        return Layout(places, style, names, objects, size, annotations)

    def _picture(self, places: Places, data: ImageSet, image: int) -> Path | None:
        """Return the path of the mask of an image (never of the image itself). None: there is no mask."""
        if self.listed:
            assert data.files is not None
            assert data.files.masks is not None
            return Path(data.files.masks[image]) if data.files.masks[image] else None
        image_file = None
        if isinstance(data.images, Pictures) and data.images.names[image].lower().endswith(".png"):
            image_file = data.images.home / data.images.names[image]
        for name in places.names(data.stem(image)):
            for ending in ENDINGS:
                if (end := ending[:-4]) and f"{name}{end}" in places.image_names:
                    continue  # 001_mask.png is the mask of the image 001_mask, not of 001
                path = self.folder / f"{name}{ending}"
                if path.is_file() and not (image_file is not None and path.samefile(image_file)):
                    return path
            if name.endswith("_leftImg8bit"):
                path = self.folder / f"{name.removesuffix('_leftImg8bit')}_gtFine_labelIds.png"
                if path.is_file():
                    return path
        return None


def files_source(
    folder: Path,
    style: Style | None,
    keep: tuple[str, ...],
    object_classes: ObjectClasses | None,
    mask_frame: MaskFrame | None = None,
) -> FilesSource:
    """Return a source of the masks in a folder.

    Args:
        folder: Folder of the masks.
        style: Style of the mask images. None: determined from some of them.
        keep: Classes that are objects. Empty: all classes that are objects by default.
        object_classes: Classes that are objects in the images of each label. None: the same for all labels.

    Raises:
        MaskError: The folder does not exist.
        OptionError: The style is unknown.
    """
    if not folder.is_dir():
        raise MaskError(f"masks: there is no folder {folder}; check the path")
    if style is not None and style not in get_args(Style):
        raise unknown("style", style, get_args(Style))
    return FilesSource(folder, style, keep, object_classes, mask_frame)
