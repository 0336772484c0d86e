"""A split of a data set: images as uint8, labels, and masks where the set carries them; its balanced order and fingerprint."""

import hashlib
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from smix.data.pictures import Pictures
from smix.errors import DataError
from smix.untrusted import LONGEST_NAME, is_text

Split = Literal["train", "test"]
MOST_CHANNELS = 16
"""A longer last axis is a spatial one."""


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
    value_range: tuple[float, float] | None = None
    """The values of the source that are 0 and 255 here; None: it held 0..255 itself."""

    def __post_init__(self) -> None:
        where = f"{self.name} {self.split}"
        labels, masks = checked(where, self.images, self.labels, self.classes, self.masks)
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
        """1 to 16; 3 for images that are decoded when they are asked for."""
        return 3 if isinstance(self.images, Pictures) else self.images.shape[-1]

    def loaded(self) -> "ImageSet":
        """The same with its images in memory. Raises DataError: one cannot be read, or has another size than the first."""
        return replace(self, images=self.images.decoded()) if isinstance(self.images, Pictures) else self

    def with_images(self, images: Pictures) -> "ImageSet":
        """The same images, read meanwhile."""
        return replace(self, images=images)

    def stem(self, place: int) -> str:
        """Return the name of an image in other folders: its path without the suffix, or its row, "000017"."""
        if isinstance(self.images, Pictures):
            path = str(self.images.names[place])
            return path.rpartition(".")[0] or path
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


def checked(
    where: str, images: Any, labels: NDArray[Any], classes: Sequence[str], masks: NDArray[Any] | None
) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    """Labels and masks in the types of an `ImageSet`. Raises DataError if they or the images are none."""
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
    if (odd := next((name for name in classes if not is_text(name) or len(name) > LONGEST_NAME), None)) is not None:
        raise DataError(
            f"{where}: expected class names of at most {LONGEST_NAME} characters without control characters, "
            f'got "{odd}"; rename the class'
        )
    if masks is not None:
        shape = images.shape[:-1] if isinstance(images, np.ndarray) else masks.shape
        if (
            masks.shape != shape
            or masks.dtype.kind not in "buif"
            or (masks.dtype != bool and np.setdiff1d(masks, (0, 1)).size)
        ):
            raise DataError(f"{where}: expected masks of 0 and 1, shape {shape}, got {masks.shape}; make them so")
        masks = masks.astype(bool)
    return labels, masks


def _check_array(where: str, images: NDArray[Any]) -> None:
    if images.dtype != np.uint8:
        raise DataError(f"{where}: expected uint8 images (0..255), got {images.dtype}; convert them")
    if not 3 <= images.ndim <= 5 or not 1 <= images.shape[-1] <= MOST_CHANNELS:
        raise DataError(
            f"{where}: expected images (N, *S, C) of 1 to 3 spatial dimensions with 1 to {MOST_CHANNELS} channels last, "
            f"got shape {images.shape}; move or add the axis of the channels"
        )


def _fingerprint(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> str:
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()
