"""Find the files that other programs wrote for an image, and read and resize the masks in them."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from smix.data.layout import SPLIT_FOLDERS
from smix.data.pictures import MASK_ENDINGS, Pictures
from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.sources.reading import Segmentation
from smix.untrusted import UnreadableError, first_duplicate, read_bytes, read_json, typed

EXPORTED = "exported.json"
"""File that `smix masks export` writes next to masks to record which images they belong to."""
SIZE_OF_FOLDERS = (512, 512)
"""Height and width of masks if neither the masks nor the images have a common size."""


class Exported(msgspec.Struct, frozen=True):
    """The content of exported.json: the split of a data set whose masks were exported."""

    name: str
    split: str
    fingerprint: str
    size: tuple[int, int] | None = None
    """Height and width of the masks, which cover the whole upright image, whatever its aspect ratio."""


@dataclass(frozen=True)
class Places:
    """Possible file names for an image in a folder, without suffix."""

    splits: tuple[str, ...]
    """Possible names of the folder of this split."""
    flat: bool
    """True if the file of cat/001 may be called 001, because no two images are called 001."""
    image_names: frozenset[str] = field(default=frozenset(), repr=False)
    """Names of images that end like those of mask files, such as 001_mask."""
    exported_size: tuple[int, int] | None = None
    """Height and width of masks that were exported from a store; they are always upright."""

    without_split: frozenset[str] = field(default=frozenset(), repr=False)
    """Stems such as train/cat/001 that may be shortened to cat/001, because no other split has a cat/001."""

    def names(self, stem: str) -> Iterator[str]:
        """Yield the possible names for cat/001: cat/001, train/cat/001 and, if it is the only 001, 001 and train/001."""
        split, _, inner = stem.partition("/")
        last = stem.rpartition("/")[2]
        names = [stem, inner] if stem in self.without_split else [stem]
        if self.flat:
            names += [last, f"{split}/{last}"] if stem in self.without_split else [last]
        for name in dict.fromkeys(names):
            yield name
            for split in self.splits:
                yield f"{split}/{name}"


def places_of(folder: Path, data: ImageSet) -> Places:
    """Return the names of files in a folder that belong to the images of a whole split.

    Raises:
        MaskError: The images do not have 2 spatial dimensions, two of them share a name, or the masks were exported for other images.
    """
    exported_size = check_exported(folder, data)
    if data.size is not None and len(data.size) != 2:
        raise MaskError(
            f"{folder}: expected images with 2 spatial dimensions, but those of {data.name} have size {data.size}; use another source"
        )
    if not isinstance(data.images, Pictures):
        return Places((data.split,), flat=False, exported_size=exported_size)
    stems = [data.stem(place) for place in range(len(data))]
    if (duplicate := first_duplicate(stems)) is not None:
        raise MaskError(f"{data.name}: two images are called {duplicate} (without suffix); rename one")
    flat = len({stem.rpartition("/")[2] for stem in stems}) == len(stems)
    splits = dict.fromkeys((data.split, data.images.home.name))  # the folder of the test split may be called "val"
    like_masks = [stem for stem in stems if stem.endswith(MASK_ENDINGS)]
    last_parts = [stem.rpartition("/")[2] for stem in like_masks] if flat else []
    without_split: frozenset[str] = frozenset()
    if data.split == "all" and all(stem.partition("/")[0].lower() in SPLIT_FOLDERS for stem in stems):
        count = Counter(stem.partition("/")[2] for stem in stems)
        without_split = frozenset(stem for stem in stems if count[stem.partition("/")[2]] == 1)
        last_parts += [stem.partition("/")[2] for stem in like_masks if stem in without_split]
    return Places(tuple(splits), flat, frozenset(like_masks + last_parts), exported_size, without_split)


def check_exported(folder: Path, data: ImageSet) -> tuple[int, int] | None:
    """Check that the masks in a folder were not exported for images that differ from `data`.

    Returns:
        Height and width of exported masks. None: the masks were not exported.

    Raises:
        MaskError: exported.json in the folder names other images, or is damaged.
    """
    if not (folder / EXPORTED).is_file():
        return None
    try:
        exported: Exported = typed(read_json(folder / EXPORTED), Exported)
    except UnreadableError as error:
        raise MaskError(f"{folder / EXPORTED}: the file is damaged ({error}); remove this file") from None
    if exported.fingerprint != data.fingerprint:
        raise MaskError(
            f"{folder}: expected masks of {data.name} {data.split} ({data.fingerprint[:8]}), got masks exported for "
            f"{exported.name} {exported.split} ({exported.fingerprint[:8]}); choose another folder or, if they belong to these "
            f"images, remove {EXPORTED}"
        )
    return exported.size


def digest_files(digest: Any, data: ImageSet, find: Callable[[int], Path | None]) -> list[Path]:
    """Update a hash with the content of the files of all images.

    Args:
        digest: A hashlib object.
        data: The data set that names the images.
        find: Function that returns the path of the file of an image, or None if there is none.

    Returns:
        The paths of the files.
    """
    paths = []
    for image in range(len(data)):
        if (path := find(image)) is not None:
            paths.append(path)
            try:
                content = read_bytes(path)
            except UnreadableError as error:  # reported when the mask is read
                content = str(error).encode()
            digest.update(f"{data.stem(image)}\n".encode() + content)
    return paths


def segmentation_from_maps(
    read: Callable[[int], NDArray[np.uint8]], index: NDArray[np.int64], size: tuple[int, ...]
) -> Segmentation:
    """Read the class maps of images, resized to one size.

    Args:
        read: Function that returns the class map (h, w) of an image, 0 for no object, or raises MaskError.
        index: The images.
        size: Height and width of the result.

    Returns:
        Class maps, objects with probabilities 0 and 1, and the error messages.
    """
    objects = torch.full((len(index), *size), torch.nan)
    classes = torch.zeros((len(index), *size), dtype=torch.uint8)
    problems = {}
    for place, image in enumerate(index.tolist()):
        try:
            classes[place] = resize_class_map(read(image), size)
        except MaskError as error:
            problems[place] = str(error)
        else:
            objects[place] = (classes[place] != 0).float()
    return Segmentation(objects, classes, problems)


def resize_class_map(numbers: UInt8[np.ndarray, "h w"], size: tuple[int, ...]) -> UInt8[Tensor, "H W"]:
    """Resize a class map: enlarge it to the nearest pixel, or shrink it by area, where an object must cover half of a pixel."""
    classes = torch.from_numpy(numbers)
    if tuple(classes.shape) == size:
        return classes
    values = classes[None, None].float()
    nearest = F.interpolate(values, size, mode="nearest-exact")[0, 0].to(torch.uint8)
    if any(new > old for new, old in zip(size, classes.shape, strict=True)):
        return nearest
    object_area = F.interpolate((values != 0).float(), size, mode="area")[0, 0]
    # Where the nearest pixel is background, use the largest class among the pixels that are merged.
    largest = F.adaptive_max_pool2d(values, size)[0, 0].to(torch.uint8)
    return torch.where(object_area >= 0.5, torch.where(nearest != 0, nearest, largest), 0).to(torch.uint8)
