"""Segmentations that exist, as pictures beside the images or in a folder of their own, or as COCO annotations.

Of `cat/001.jpg` the mask is DIR/cat/001.png, DIR/cat/001_mask.png or DIR/001.png, that of row 17 of an array DIR/000017.png, and that of
Cityscapes' x_leftImg8bit.png is x_gtFine_labelIds.png.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from smix.data.pictures import Pictures
from smix.data.sets import ImageSet
from smix.errors import MaskError, unknown
from smix.masks.sources.choice import ClassMap, kept, number_of
from smix.masks.sources.coco import Annotations, find_annotations, read_annotations
from smix.masks.sources.reading import Segmentation

Style = Literal["binary", "classes", "panoptic", "cityscapes", "trimap", "coco"]
UNKNOWN = 255
"""The class of pixels that nobody decided on, in VOC's pictures."""
ENDINGS = (".png", "_mask.png", "-mask.png")
SIZE_OF_FOLDERS = (512, 512)
"""What masks are brought to where the images have different sizes."""
LOOKED_AT = 20
"""Pictures from which their style is found out."""
VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
CITYSCAPES = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road"),
    *("sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole"),
    *("polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck"),
    *("bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
)
FIRST_WITH_INSTANCES = CITYSCAPES.index("person")


@dataclass(frozen=True, eq=False)
class FilesSource:
    """A mask for each image, from files."""

    folder: Path
    style: Style | None
    names: tuple[str, ...] = ()
    """Of the class numbers in the pictures, from 0."""
    objects: NDArray[np.bool_] | None = None
    """Which of them are objects by themselves."""
    keep: tuple[str, ...] = ()
    class_map: ClassMap | None = None
    annotations: Annotations | None = None
    needs_images = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the numbers in `Segmentation.classes`, from 1."""
        return self.names[1:]

    def describe(self, data: ImageSet) -> dict[str, Any]:
        """The style, and a sha256 of every file that belongs to `data`: one corrected mask makes another store."""
        found = self._settled(data)
        digest = hashlib.sha256(b"" if found.annotations is None else found.annotations.file.read_bytes())
        if found.style != "coco":
            for place in range(len(data)):
                path = self._picture(data, place)
                digest.update(f"{data.stem(place)}\n".encode() + (b"" if path is None else path.read_bytes()))
        return {
            "name": f"masks:{self.folder.name}",
            "style": found.style,
            "sha256": digest.hexdigest(),
            "objects": list(self.keep) or "all",
            "class_map": self.class_map,
        }

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        """The masks of the images at these places, and why some have none."""
        source = self._settled(data)
        assert source.objects is not None
        chosen = kept(source.names, source.objects, self.keep, self.class_map, data, data.labels[index])
        size = data.size or SIZE_OF_FOLDERS
        objects = torch.full((len(index), *size), torch.nan)
        classes = torch.zeros((len(index), *size), dtype=torch.uint8)
        problems = {}
        for place, (image, keep) in enumerate(zip(index.tolist(), chosen, strict=True)):
            try:
                numbers = source._numbers(data, image)
            except MaskError as error:
                problems[place] = str(error)
                continue
            inside = np.append(keep, False)[np.minimum(numbers, len(keep))]
            classes[place] = fitted(np.where(inside, numbers, 0).astype(np.uint8), size)
            objects[place] = (classes[place] != 0).float()
        return Segmentation(objects, classes, problems)

    def _settled(self, data: ImageSet) -> "FilesSource":
        """With a style, names and objects: found out from the files if need be. Kept, since it is asked for each batch."""
        if self.objects is not None:
            return self
        settled = _settle(self, data)
        for field in ("style", "names", "objects", "annotations"):
            object.__setattr__(self, field, getattr(settled, field))
        return self

    def _picture(self, data: ImageSet, place: int) -> Path | None:
        stem = data.stem(place)
        own = data.images.home / data.images.names[place] if isinstance(data.images, Pictures) else None
        stems = [stem, stem.rpartition("/")[2], stem.replace("_leftImg8bit", "_gtFine_labelIds")]
        for home in (self.folder, self.folder / data.split):
            for one in stems:
                for ending in ENDINGS:
                    path = home / f"{one}{ending}"
                    if path != own and path.is_file():
                        return path
        return None

    def _numbers(self, data: ImageSet, place: int) -> NDArray[np.int64]:
        """The class of each pixel, 0 for none; a number that has no name is no object. Raises MaskError: there is no mask."""
        if self.style == "coco":
            assert self.annotations is not None
            return self.annotations.instances(data.stem(place))
        path = self._picture(data, place)
        if path is None:
            raise MaskError("no mask")
        pixels = read_picture(path)
        if self.style == "panoptic":
            assert self.annotations is not None
            return self.annotations.panoptic(path, pixels)
        if pixels.ndim != 2:
            raise MaskError(f"{path.name}: expected one channel, got {pixels.shape[2]}")
        if self.style == "binary":
            return (pixels > 0).astype(np.int64)
        if self.style == "trimap":
            return (pixels == 1).astype(np.int64)
        return np.where(pixels == UNKNOWN, 0, pixels).astype(np.int64)


def files_source(folder: Path, style: Style | None, keep: tuple[str, ...], class_map: ClassMap | None) -> FilesSource:
    """The masks in a folder.

    Raises:
        MaskError: no such folder.
        OptionError: no such style.
    """
    if not folder.is_dir():
        raise MaskError(f"masks: expected a folder {folder}, got none; check the path")
    if style is not None and style not in get_args(Style):
        raise unknown("style", style, get_args(Style))
    return FilesSource(folder, style, keep=keep, class_map=class_map)


def _settle(source: FilesSource, data: ImageSet) -> FilesSource:
    found = (source._picture(data, place) for place in range(len(data)))
    paths = [path for path, _ in zip((path for path in found if path), range(LOOKED_AT), strict=False)]
    file = find_annotations(source.folder)
    style = source.style or _style_of(source.folder, paths, file)
    if style in ("coco", "panoptic"):
        if file is None:
            raise MaskError(
                f"{source.folder}: expected a JSON of COCO annotations for style {style}, got none; put it there"
            )
        annotations = read_annotations(file)
        names, objects = ("background", *annotations.names), np.array([False, *annotations.things])
        settled = replace(source, style=style, names=names, objects=objects, annotations=annotations)
    else:
        if not paths:
            raise MaskError(
                f"{source.folder}: expected masks such as {data.stem(0)}.png, got none of any image of {data.name}; check the folder"
            )
        names = {
            "binary": lambda: ("background", "object"),
            "trimap": lambda: ("background", "object"),
            "cityscapes": lambda: CITYSCAPES,
            "classes": lambda: _class_names(source.folder, paths),
        }[style]()
        objects = np.arange(len(names)) >= (FIRST_WITH_INSTANCES if style == "cityscapes" else 1)
        settled = replace(source, style=style, names=names, objects=objects)
    for name in (*source.keep, *(name for chosen in (source.class_map or {}).values() for name in chosen or ())):
        number_of(name, settled.names)
    return settled


def _style_of(folder: Path, paths: list[Path], annotations: Path | None) -> Style:
    if annotations is not None:
        return read_annotations(annotations).style
    if any(path.stem.endswith("_labelIds") for path in paths):
        return "cityscapes"
    pictures = [read_picture(path) for path in paths]
    values = set().union(*(np.unique(pixels).tolist() for pixels in pictures if pixels.ndim == 2))
    if values <= {0, 1} or values <= {0, UNKNOWN}:
        return "binary"
    if values <= {0, 1, UNKNOWN} or all(_has_palette(path) for path in paths) or (folder / "classes.txt").is_file():
        return "classes"
    shown = ", ".join(map(str, sorted(values)[:6]))
    raise MaskError(
        f"{folder}: expected masks whose style can be told from them, got values {shown}; give --style classes, "
        "trimap, cityscapes or binary"
    )


def _class_names(folder: Path, paths: list[Path]) -> tuple[str, ...]:
    if (file := folder / "classes.txt").is_file():
        return tuple(line.strip() for line in file.read_text().splitlines() if line.strip())
    values = {int(value) for path in paths for value in np.unique(read_picture(path))} - {UNKNOWN}
    if max(values, default=0) < len(VOC) and all(_has_palette(path) for path in paths):
        return VOC
    return ("background", *map(str, range(1, UNKNOWN)))


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The numbers in a picture, (H, W) or (H, W, 3); those of a palette, not its colours. Raises MaskError."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return np.asarray(picture).astype(np.uint8) if picture.mode in ("1", "L", "P", "RGB") else _odd(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise MaskError(f"{path.name}: expected a readable picture, got {reason}") from None


def _odd(picture: Any) -> NDArray[np.uint8]:
    values = np.asarray(picture)
    if values.ndim == 2 and np.issubdtype(values.dtype, np.integer) and values.min() >= 0 and values.max() <= UNKNOWN:
        return values.astype(np.uint8)  # 16-bit pictures of small numbers
    if picture.mode in ("RGBA", "LA"):
        return np.asarray(picture.convert("RGB" if picture.mode == "RGBA" else "L"))
    raise ValueError(f"mode {picture.mode} with values up to {values.max()}")


def _has_palette(path: Path) -> bool:
    from PIL import Image

    with Image.open(path) as picture:
        return picture.mode == "P"


def fitted(numbers: NDArray[np.uint8], size: tuple[int, ...]) -> torch.Tensor:
    """A class map at another size: larger by the nearest pixel, smaller by area, of which the object must have half."""
    given = torch.from_numpy(numbers)
    if tuple(given.shape) == size:
        return given
    near = F.interpolate(given[None, None].float(), size, mode="nearest-exact")[0, 0].to(torch.uint8)
    if any(new > old for new, old in zip(size, given.shape, strict=True)):
        return near
    share = F.interpolate((given != 0)[None, None].float(), size, mode="area")[0, 0]
    # Where the nearest pixel is none of the object's, the largest number near it stands for its class.
    most = F.adaptive_max_pool2d(given[None, None].float(), size)[0, 0].to(torch.uint8)
    return torch.where(share >= 0.5, torch.where(near != 0, near, most), torch.zeros_like(near))
