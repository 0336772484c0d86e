"""Data sets by name: images as uint8, labels, and masks where the set carries them."""

import hashlib
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile, is_zipfile

import numpy as np
from numpy.typing import NDArray

from smix.data.digits import digits_on_photos
from smix.data.pictures import SUFFIXES, Pictures, common_size, list_images
from smix.errors import DataError, unknown

Split = Literal["train", "test"]
MOST_CLASSES = 100_000
"""A larger label in an npz file without class names is a mistake, such as -1 stored without a sign."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A split of a classification data set."""

    images: NDArray[np.uint8] | Pictures
    """(N, *S, C), 0..255; or files, decoded to (H, W, 3) when they are asked for and perhaps of different sizes."""
    labels: NDArray[np.int64]
    """(N,), from 0 to len(classes) - 1."""
    classes: tuple[str, ...]
    masks: NDArray[np.bool_] | None = None
    """(N, *S): where the object is, if the set knows."""
    index: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """(N,): the row of each image in the whole split; not given: this is the whole split."""
    _: KW_ONLY
    name: str
    split: Split
    fingerprint: str = ""
    """Sha256 of the whole split's images and labels, or of paths, file sizes and labels; computed of a whole split."""

    def __post_init__(self) -> None:
        where = f"{self.name} {self.split}"
        _, labels, masks = _checked(where, self.images, self.labels, self.classes, self.masks)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "masks", masks)
        if not self.fingerprint:  # a whole split, fresh from its source
            object.__setattr__(self, "index", np.arange(len(self.images)))
            object.__setattr__(self, "fingerprint", _fingerprint(self.array, self.labels))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def array(self) -> NDArray[np.uint8]:
        """The images (N, *S, C). Raises DataError if they are not in memory: see `loaded`."""
        if isinstance(self.images, Pictures):
            raise DataError(f"{self.name} {self.split}: expected images in memory, got files; call loaded() first")
        return self.images

    @property
    def size(self) -> tuple[int, ...] | None:
        """The spatial size S; None: the images have different sizes."""
        return self.images.size if isinstance(self.images, Pictures) else self.images.shape[1:-1]

    @property
    def channels(self) -> int:
        """1 or 3."""
        return 3 if isinstance(self.images, Pictures) else self.images.shape[-1]

    def loaded(self) -> "ImageSet":
        """The same with its images in memory. Raises DataError: one cannot be read, or has another size than the first."""
        return replace(self, images=self.images.decoded()) if isinstance(self.images, Pictures) else self

    def with_images(self, images: Pictures) -> "ImageSet":
        """The same images, read meanwhile."""
        return replace(self, images=images)

    def stem(self, place: int) -> str:
        """What the image at this place is called in other folders: its path without the suffix, or its row, "000017"."""
        if isinstance(self.images, Pictures):
            return str(self.images.names[place]).rpartition(".")[0]
        return f"{self.index[place]:06d}"

    def rows(self, index: NDArray[np.int64]) -> "ImageSet":
        """The images at these places; `index` of the result still counts in the whole split."""
        return replace(
            self,
            images=self.images[index],
            labels=self.labels[index],
            masks=None if self.masks is None else self.masks[index],
            index=self.index[index],
        )

    def take(self, count: int | None) -> "ImageSet":
        """The first `count` images of a fixed, class-balanced order (None: all): a smaller take is part of a larger."""
        if count is None or count == len(self):
            return self
        if not 1 <= count <= len(self):
            raise DataError(f"{self.name} {self.split}: expected a limit of 1 to {len(self)} images, got {count}")
        return self.rows(balanced_order(self.labels, self.fingerprint)[:count])


def balanced_order(labels: NDArray[np.int64], key: str) -> NDArray[np.int64]:
    """All rows in an order whose every beginning holds the classes as evenly as it can; shuffled inside a class by key."""
    shuffled = np.random.default_rng(int(hashlib.sha256(key.encode()).hexdigest()[:16], 16)).permutation(len(labels))
    turn = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        mine = shuffled[labels[shuffled] == label]
        turn[mine] = np.arange(len(mine))
    return shuffled[np.argsort(turn[shuffled], kind="stable")]


def load_data(name: str, root: Path | str = "data", split: Split = "train") -> ImageSet:
    """Load a split of a named data set.

    Args:
        name: `digits-on-photos`, `cifar10`, `cifar100`, `npz:FILE` (x_train, y_train, x_test, y_test, and perhaps mask_train,
            mask_test, classes) or `folder:DIR` (DIR/train/CLASS/image and DIR/test/CLASS/image; "val" will do for "test").
            Images in folders are decoded when they are asked for; `loaded()` reads them into memory, which asks for one size.
            Masks beside them (001.png with one channel or a palette beside 001.jpg, 001_mask.png beside 001) are no images.
        root: Where cifar10 and cifar100 are found, or downloaded to.

    Raises:
        OptionError: no such name.
        DataError: missing, broken, or of a wrong shape, type or value.
    """
    kind, colon, place = name.partition(":")
    if colon and kind == "npz":
        return _npz(name, Path(place), split)
    if colon and kind == "folder":
        return _folder(name, Path(place), split)
    if colon or name not in SETS:
        raise unknown("data", name, [*SETS, "npz:FILE", "folder:DIR"])
    return SETS[name](name, Path(root), split)


def _digits(name: str, root: Path, split: Split) -> ImageSet:
    images, labels, masks = digits_on_photos(split)
    return ImageSet(images, labels, tuple("0123456789"), masks, name=name, split=split)


def _cifar(name: str, root: Path, split: Split) -> ImageSet:
    from torchvision import datasets

    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    try:
        data = kind(root, train=split == "train", download=not is_here(name, root))
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{name}: expected {kind.base_folder} in {root} or a connection to {kind.url}, got {_one_line(error)}; "
            f"download that file, unpack it in {root}, or use npz:FILE"
        ) from None
    return ImageSet(data.data, np.array(data.targets, np.int64), tuple(data.classes), name=name, split=split)


def is_here(name: str, root: Path) -> bool:
    """Is this data set ready without a download?"""
    folder = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}.get(name)
    return folder is None or (root / folder).is_dir()


SETS: dict[str, Callable[[str, Path, Split], ImageSet]] = {
    "digits-on-photos": _digits,
    "cifar10": _cifar,
    "cifar100": _cifar,
}


def _npz(name: str, path: Path, split: Split) -> ImageSet:
    if not path.is_file():
        raise DataError(f"{name}: expected a file {path}, got none; check the path")
    if not is_zipfile(path):
        raise DataError(
            f"{name}: expected an npz file (a zip of arrays), got another or a cut one; copy or make it again"
        )
    try:
        # Opened here: np.load leaves a file open that turns out to be broken.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            if missing := [key for key in (f"x_{split}", f"y_{split}") if key not in file]:
                raise DataError(
                    f"{name}: expected the arrays x_{split} and y_{split}, got no {' and no '.join(missing)}"
                )
            images, labels = file[f"x_{split}"], file[f"y_{split}"]
            masks = file.get(f"mask_{split}")
            # Labels of both splits count the classes, so that a class without test images does not change the network.
            classes = [str(text) for text in file["classes"].reshape(-1)] if "classes" in file else None
            others = [file[key].reshape(-1) for key in ("y_train", "y_test") if key in file]
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, BadZipFile, zlib.error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{name}: expected a readable npz file, got {_one_line(error)}; copy or make it again"
        ) from None
    if images.ndim == 3 and images.shape[-1] not in (1, 3):  # grey images without a channel axis
        images = images[..., None]
    if classes is None:
        last = max((int(y.max()) for y in others if y.size and np.issubdtype(y.dtype, np.integer)), default=-1)
        if last >= MOST_CLASSES:
            raise DataError(f"{name}: expected labels below {MOST_CLASSES}, got {last}; number the classes from 0")
        classes = [str(label) for label in range(last + 1)]
    images, labels, masks = _checked(f"{name} {split}", images, labels, classes, masks)
    return ImageSet(images, labels, tuple(classes), masks, name=name, split=split)


def _folder(name: str, path: Path, split: Split) -> ImageSet:
    if not path.is_dir():
        raise DataError(f"{name}: expected a folder {path}, got none; check the path")
    home = path / split
    if split == "test" and not home.is_dir():
        home = path / "val"
    for folder in (path / "train", home):  # the folders of train name the classes of both splits
        if not folder.is_dir():
            raise DataError(f"{name}: expected {folder}/CLASS/image files, got no such folder; make it")
    classes, others = (
        sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        for folder in (path / "train", home)
    )
    if unseen := sorted(set(others) - set(classes)):
        raise DataError(
            f"{name}: expected the classes of {path / 'train'}, got also {', '.join(unseen[:5])} in {home}; move them"
        )
    files = [(f"{folder}/{file}", label) for label, folder in enumerate(classes) for file in list_images(home / folder)]
    if not files:
        raise DataError(f"{name}: expected images ({', '.join(SUFFIXES)}) under {home}/CLASS, got none")
    names = np.array([file for file, _ in files], object)
    labels = np.array([label for _, label in files], np.int64)
    digest = hashlib.sha256(labels.tobytes())
    for file in names:
        # A Path for each of a million files takes longer.
        size = os.stat(f"{home}/{file}").st_size  # noqa: PTH116
        digest.update(f"{file}\0{size}\n".encode())
    whole = np.arange(len(files))
    images = Pictures(home, names, common_size(home, names))
    return ImageSet(images, labels, tuple(classes), index=whole, name=name, split=split, fingerprint=digest.hexdigest())


def _checked(
    where: str,
    images: Any,
    labels: NDArray[Any],
    classes: Sequence[str],
    masks: NDArray[Any] | None,
) -> tuple[Any, NDArray[np.int64], NDArray[np.bool_] | None]:
    """Images, labels and masks in the types of an `ImageSet`. Raises DataError if they are none."""
    if isinstance(images, np.ndarray):
        _check_array(where, images)
    if not len(images) or labels.shape != (len(images),):
        raise DataError(
            f"{where}: expected one label for each of {len(images)} images, got labels of shape {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{where}: expected integer labels, got {labels.dtype}; number the classes from 0")
    labels = labels.astype(np.int64)
    if labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(
            f"{where}: expected labels from 0 to {len(classes) - 1} for {len(classes)} classes, "
            f"got {labels.min()} to {labels.max()}; number the classes from 0"
        )
    if masks is not None:
        shape = images.shape[:-1] if isinstance(images, np.ndarray) else masks.shape
        if masks.shape != shape or (masks.dtype != bool and np.setdiff1d(masks, (0, 1)).size):
            raise DataError(f"{where}: expected masks of 0 and 1, shape {shape}, got {masks.shape}; make them so")
        masks = masks.astype(bool)
    return images, labels, masks


def _check_array(where: str, images: NDArray[Any]) -> None:
    if np.issubdtype(images.dtype, np.floating) and not np.isfinite(images).all():
        raise DataError(
            f"{where}: expected uint8 images, got {images.dtype} with NaN or infinity; repair and convert them"
        )
    if images.dtype != np.uint8:
        raise DataError(f"{where}: expected uint8 images (0..255), got {images.dtype}; convert them")
    if not 3 <= images.ndim <= 5 or images.shape[-1] not in (1, 3):
        raise DataError(f"{where}: expected images (N, *S, C) with 1 or 3 channels last, got shape {images.shape}")


def _fingerprint(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> str:
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
