"""Data sets for your own training loop that return image, label and mask, moved together by a torchvision v2 pipeline."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Int
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from smix.data.dataset_paths import path_at, paths_of
from smix.data.folders import folders_in
from smix.data.listing import Skipped, list_images
from smix.data.orientation import upright
from smix.data.pictures import OBJECT_ABOVE, decode, frame_of
from smix.errors import DataError, MaskError, OptionError

Transform = Callable[[tv_tensors.Image, tv_tensors.Mask], tuple[Tensor, Tensor]]
"""A `torchvision.transforms.v2` pipeline, or a function like it: it moves image and mask alike."""
KEPT_MODES = ("L", "RGB")
"""Pillow modes that become tensors as they are; others are converted to RGB."""
MOST_COLOURS = 4
"""Channels of a picture, with transparency: a tensor with more of them first, and so few last, is (H, W, C)."""


@runtime_checkable
class Store(Protocol):
    """The part of `smix.MaskStore` that a data set with masks needs."""

    @property
    def has_paths(self) -> bool:
        """True if the store knows the file of each image."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Bool[np.ndarray, "n *S"]: ...

    def align(self, dataset: Any) -> Int[np.ndarray, "N"]:
        """Return the row of each image of a data set that lists the paths of its images."""
        ...

    def check_built(self, rows: Int[np.ndarray, "n"]) -> None:
        """Raise MaskError unless the masks in these rows are built."""
        ...


class MaskedDataset(Dataset[tuple[Tensor, Any, Tensor]]):
    """A data set of images with their object masks: each item is (image, label, mask).

    The image is a `tv_tensors.Image` (C, H, W), uint8 unless `transform` converts it; the mask is a `tv_tensors.Mask` (H, W) of bool.
    The default `collate_fn` of a `DataLoader` stacks both, in worker processes of any start method.

    Masks belong to upright images. The EXIF orientation of a PIL image is applied; a tensor or an array of a rotated image is
    rejected if its file shows that it is rotated.

    A geometric transform inside the data set would move images and not masks. It is rejected if it is an attribute of the data set
    (`transform`, `transforms`, or the format of Hugging Face); one that is hidden in the code of `__getitem__` cannot be detected.

    torchvision v2 resizes masks by nearest-neighbour interpolation, which shifts their edges by up to half a pixel. `smix train`
    resizes them as images, by area.

    Args:
        dataset: Map-style data set that returns (image, label), or a dictionary with the keys "image" and "label" (Hugging Face),
            without a transform of its own. An image is a PIL image, a tensor (C, H, W), or an array (H, W) or (H, W, C).
        store: Masks of the images, which are matched by path if the data set lists its paths (`samples`, `imgs`, `paths`, or
            timm's `filenames`).
        transform: Pipeline of `torchvision.transforms.v2` that is called with image and mask. None: images are returned as they are.
        rows: Row of the store for each image, required for data sets without paths. `range(len(dataset))` is right only for the
            very split that the store was built from, in its original order.

    Raises:
        MaskError: An image has no mask in the store, or its mask is ambiguous; or `rows` is missing or not a valid row for each
            image. On access: the data set lists another path than before.
        OptionError: The data set has its own transform, which would move images and not masks; or `transform` is from
            torchvision.transforms (v1), which cannot move both.

    >>> import tempfile
    >>> from smix import build_masks, load_data
    >>> from smix.masks import load_source
    >>> data = load_data("digits-on-photos")
    >>> pairs = list(zip(data.array, data.labels.tolist()))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = build_masks(data, load_source("carried"), folder)
    ...     masked = MaskedDataset(pairs, store, rows=range(len(pairs)))
    ...     image, label, mask = masked[5]
    >>> image.shape, label, mask.shape, mask.dtype
    (torch.Size([3, 32, 32]), 5, torch.Size([32, 32]), torch.bool)
    """

    def __init__(
        self,
        dataset: Any,
        store: Store,
        transform: Transform | None = None,
        *,
        rows: Sequence[int] | Int[np.ndarray, "N"] | None = None,
    ) -> None:
        if not isinstance(store, Store):
            got = (
                f"a path; pass smix.MaskStore({str(store)!r})"
                if isinstance(store, str | os.PathLike)
                else type(store).__name__
            )
            raise MaskError(f"store: expected a smix.MaskStore, got {got}")
        self.paths = paths_of(dataset)
        _check_no_transform(dataset)
        _check_transform(transform)
        self.dataset, self.store, self.transform = dataset, store, transform
        self.rows = _rows(dataset, store, self.paths) if rows is None else _checked(rows, len(dataset), len(store))
        store.check_built(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Any, Tensor]:
        picture, label = _image_and_label(self.dataset[index])
        path = None if self.paths is None else self.paths[index]
        if path is not None:
            _check_same_path(path, path_at(self.dataset, index))
        return self.with_mask(index, _image_tensor(picture, path), label)

    def with_mask(self, index: int, image: tv_tensors.Image, label: Any) -> tuple[Tensor, Any, Tensor]:
        """Return an item from its image and label: look up the mask, and transform both."""
        mask = tv_tensors.Mask(_resized(self.store[int(self.rows[index])][0], image.shape[-2:]))
        if self.transform is None:
            return image, label, tv_tensors.Mask(mask != 0)
        moved, mask = self.transform(image, mask)
        if moved.shape[-2:] != mask.shape[-2:]:
            raise DataError(
                f"transform: expected an image and a mask of equal size, got {tuple(moved.shape[-2:])} and {tuple(mask.shape[-2:])}; use "
                "a torchvision v2 pipeline, which moves both"
            )
        return moved, label, tv_tensors.Mask(mask != 0)


class MaskedFolder(MaskedDataset):
    """A folder of images, ROOT/CLASS/image, with their object masks: `MaskedDataset` in one call.

    Images are in the order of `torchvision.datasets.ImageFolder`, without hidden files and masks next to images, and are read
    upright and as RGB.

    Args:
        root: Folder of the class folders, such as birds/train for masks that were built with --data folder:birds.
        store: Masks of the images, which are matched by path.
        transform: Pipeline of `torchvision.transforms.v2` that is called with image and mask. None: images are returned as
            they are.
        classes: Class names in the order of the labels, such as `train.classes` for a test folder in which a class has no
            images. None: the sorted folders.

    Raises:
        DataError: There are no images, a class folder is empty, or a folder is not in `classes`.
        MaskError: An image has no mask in the store, or its mask is ambiguous.
        OptionError: `transform` cannot move image and mask.

    >>> import tempfile
    >>> from smix import build_masks, load_data
    >>> from smix.masks import load_source
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cats = Path(folder, "pets", "cat")
    ...     cats.mkdir(parents=True)
    ...     for number in range(3):
    ...         Image.new("RGB", (20, 10), "white").save(cats / f"{number}.jpg")
    ...         Image.new("L", (20, 10), 255).save(cats / f"{number}.png")
    ...     data = load_data(f"folder:{folder}/pets", split="all")
    ...     store = build_masks(data, load_source(f"masks:{folder}/pets"), Path(folder, "store"))
    ...     masked = MaskedFolder(f"{folder}/pets", store)
    ...     image, label, mask = masked[0]
    >>> len(masked), masked.classes, image.shape, mask.shape, bool(mask.all())
    (3, ['cat'], torch.Size([3, 10, 20]), torch.Size([10, 20]), True)
    """

    def __init__(
        self,
        root: Path | str,
        store: Store,
        transform: Transform | None = None,
        *,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.root = Path(root)
        listings = {name: list_images(self.root / name) for name in folders_in(self.root)}
        self.classes = list(listings) if classes is None else list(classes)
        """Class names in the order of the labels."""
        if unknown := sorted(listings.keys() - set(self.classes)):
            raise DataError(
                f"{self.root}: the class folders {', '.join(unknown)} are not in classes; add them, or remove them"
            )
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        self.samples = [
            (f"{self.root.as_posix()}/{folder}/{name}", label)
            for folder, label in self.class_to_idx.items()
            if folder in listings
            for name in listings[folder].names
        ]
        """Path and label of each image."""
        self.skipped = sum((listing.skipped.inside(name) for name, listing in listings.items()), Skipped())
        """Files that are not images of the data set."""
        if not self.samples:
            raise DataError(
                f"{self.root}: expected images in class folders, {self.root}/CLASS/image, got none; check the path"
            )
        if classes is None and (empty := [name for name, listing in listings.items() if not listing.names]):
            # Without the folder, the classes after it would have other numbers than in a split where it has images.
            raise DataError(
                f"{self.root}: expected images in each class folder, got none in {', '.join(empty)}; add images, or pass "
                "classes=train.classes"
            )
        super().__init__(self.samples, store, transform)

    def __getitem__(self, index: int) -> tuple[Tensor, Any, Tensor]:
        path, label = self.samples[index]
        if self.paths is not None:
            _check_same_path(self.paths[index], path)
        image = torch.from_numpy(decode(Path(path))).movedim(-1, 0).contiguous()
        return self.with_mask(index, tv_tensors.Image(image), label)


def _rows(dataset: Any, store: Store, paths: Sequence[str] | None) -> Int[np.ndarray, "N"]:
    """Return the row of each image by its path. Raises MaskError if the data set lists none: its order would be a guess."""
    if paths is not None:
        return store.align(dataset)
    if store.has_paths:
        raise MaskError(
            f"{type(dataset).__name__}: expected a data set that lists the paths of its images, since the store is in the order of "
            "smix and not of the data set; give it `samples`, or pass rows=store.lookup(paths)"
        )
    raise MaskError(
        f"{type(dataset).__name__}: expected rows= with the row of each image, since the data set lists no paths; pass "
        "rows=range(len(dataset)) only if it is the very split that the store was built from, not shuffled, sorted or filtered"
    )


def _checked(rows: Sequence[int] | Int[np.ndarray, "N"], images: int, count: int) -> Int[np.ndarray, "N"]:
    """Return row numbers as an array. Raises MaskError unless there is a row from 0 to `count` - 1 for each image."""
    numbers = np.asarray(rows)
    if numbers.shape != (images,):
        raise MaskError(f"rows: expected one row for each of {images} images, got shape {numbers.shape}")
    if numbers.size and numbers.dtype.kind not in "iu":
        raise MaskError(f"rows: expected integers, got {numbers.dtype}; pass the row of each image")
    if outside := numbers[(numbers < 0) | (numbers >= count)].tolist():
        raise MaskError(f"rows: expected rows from 0 to {count - 1}, got {outside[0]}; pass rows of this store")
    return numbers.astype(np.int64)


def _check_same_path(aligned: str, now: str | None) -> None:
    """Raise MaskError if the data set now lists another path; None: it cannot tell."""
    if now is not None and now != aligned:
        raise MaskError(
            f"data set: expected the image {aligned}, whose mask was looked up, got {now}; make the MaskedDataset after the last "
            "change of the data set"
        )


def _check_no_transform(dataset: Any) -> None:
    """Raise OptionError if the data set, or one inside it, moves images before their masks are known."""
    both = getattr(dataset, "transforms", None)
    moves = getattr(both, "transform", both)  # torchvision's StandardTransform may have one of the labels alone
    hub = getattr(dataset, "format", None)  # a data set of Hugging Face after set_transform
    custom = isinstance(hub, dict) and hub.get("type") == "custom"
    if custom or callable(moves) or callable(getattr(dataset, "transform", None)):
        raise OptionError(
            "transform: expected a data set without its own transform, which would move images and not masks, got one; pass it to "
            "MaskedDataset(transform=...)"
        )
    inner = [getattr(dataset, "dataset", None), *(getattr(dataset, "datasets", None) or ())]
    for each in inner:
        if each is not None:
            _check_no_transform(each)


def _check_transform(transform: Transform | None) -> None:
    if transform is not None and type(transform).__module__.startswith("torchvision.transforms.transforms"):
        raise OptionError(
            "transform: expected a pipeline of torchvision.transforms.v2, which moves image and mask together, got one of "
            "torchvision.transforms; import v2"
        )


def _image_and_label(item: Any) -> tuple[Any, Any]:
    """Return image and label of an item of a data set."""
    if isinstance(item, dict) and "image" in item and "label" in item:
        return item["image"], item["label"]
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    got = f"a dictionary of {', '.join(map(str, item))}" if isinstance(item, dict) else type(item).__name__
    raise DataError(
        f'data set: expected items (image, label), or dictionaries with "image" and "label", got {got}; rename or select columns'
    )


def _image_tensor(picture: Any, path: str | None) -> tv_tensors.Image:
    """Return an image as a tensor (C, H, W), upright."""
    if isinstance(picture, Image.Image):
        # Without the tag, the picture is upright, or was turned by the data set's loader.
        turned = upright(picture)
        return tv_tensors.Image(
            v2.functional.pil_to_tensor(turned if turned.mode in KEPT_MODES else turned.convert("RGB"))
        )
    if isinstance(picture, np.ndarray):
        array = torch.from_numpy(np.array(picture))
        picture = array[None] if array.ndim == 2 else array.movedim(-1, 0).contiguous()
    if not isinstance(picture, Tensor) or picture.ndim != 3:
        got = f"a tensor of shape {tuple(picture.shape)}" if isinstance(picture, Tensor) else type(picture).__name__
        raise DataError(
            f"data set: expected images as PIL images, tensors (C, H, W) or arrays (H, W, C), got {got}; convert them"
        )
    if picture.shape[0] > MOST_COLOURS >= picture.shape[2]:
        raise DataError(
            f"data set: expected tensors (C, H, W), got shape {tuple(picture.shape)}; use image.permute(2, 0, 1)"
        )
    if path is not None:
        _check_upright(path, picture.shape[-2:])
    return tv_tensors.Image(picture)


def _check_upright(path: str, size: Sequence[int]) -> None:
    """Raise DataError if a tensor may be a rotated image according to its EXIF data, which PIL images still contain."""
    frame = frame_of(Path(path))
    if frame is None or frame.orientation == 1:
        return  # upright, or no picture that Pillow can read: it has no such data
    if frame.upright == frame.stored or tuple(size) != frame.upright:
        raise DataError(
            f"{path}: expected an upright image, got EXIF orientation {frame.orientation}, which the masks follow and the data set may "
            "not; return PIL images, use MaskedFolder, or save the image upright"
        )


def _resized(mask: Bool[np.ndarray, "h w"], size: Sequence[int]) -> Tensor:
    """Return a mask that covers its whole image as uint8 of the image's size: v2 cannot resize and rotate bool."""
    if mask.ndim != 2:
        raise MaskError(f"store: expected masks with 2 spatial dimensions, got size {mask.shape}; use images")
    plane = torch.from_numpy(mask).to(torch.uint8)
    if plane.shape == tuple(size):
        return plane
    resized: Tensor = v2.functional.resize_image(plane[None] * 255, list(size), antialias=True)[0]
    return (resized > OBJECT_ABOVE).to(torch.uint8)
