"""A split of a data set: uint8 images, labels and optional masks, with a class-balanced order and a fingerprint."""

import hashlib
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int, UInt8
from numpy.typing import NDArray

from smix.data.image_files import ImageFiles
from smix.data.pictures import Pictures
from smix.errors import DataError
from smix.reprs import short_repr
from smix.untrusted import LONGEST_NAME, is_text

Split = Literal["train", "val", "test", "all"]
"""Name of a split. Only data sets of image files have "val" (in addition to "test") and "all" (all images)."""
MAX_CHANNELS = 16
"""Maximum number of channels. A longer last axis is assumed to be spatial."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A split of a classification data set.

    Raises:
        DataError: Images, labels, class names or masks have a wrong shape, type or value.

    >>> import numpy as np
    >>> images = np.zeros((4, 32, 32, 3), np.uint8)
    >>> data = ImageSet(images, np.array([0, 0, 1, 1]), ("cat", "dog"), name="mine", split="train")
    >>> len(data), data.size, data.channels
    (4, (32, 32), 3)
    >>> data.take(2).labels.tolist()
    [1, 0]
    """

    images: NDArray[np.uint8] | Pictures
    """(N, *S, C) with values in [0, 255], or image files of any sizes, decoded on access to (H, W, 3)."""
    labels: NDArray[Any]
    """(N,) class of each image, from 0 to len(classes) - 1, of any integer type; converted to int64."""
    classes: tuple[str, ...]
    """Names of the classes."""
    masks: NDArray[Any] | None = None
    """(N, *S), True where the object is. None: the data set has no masks."""
    index: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """(N,) row of each image in the whole split. Default: the set is the whole split."""
    _: KW_ONLY
    name: str
    """Name with which `load_data` loads the data set."""
    split: Split
    fingerprint: str = ""
    """Sha256 of the whole split's images and labels, or of paths, file sizes, labels and the content of 64 files. Default: computed."""
    value_range: tuple[float, float] | None = None
    """Values of the source that were mapped to 0 and 255. None: the source values are already in [0, 255]."""
    files: ImageFiles | None = None
    """Files of the images, kept when they are loaded. None: the images do not come from files."""
    __repr__ = short_repr("data.take(n), data.rows(index), smix.build_masks, smix.train")

    def __post_init__(self) -> None:
        labels, masks = check_set(f"{self.name} {self.split}", self.images, self.labels, self.classes, self.masks)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "masks", masks)
        if not self.fingerprint:  # a whole split, fresh from its source
            object.__setattr__(self, "index", np.arange(len(self.images)))
            object.__setattr__(self, "fingerprint", _fingerprint(self.array, self.labels))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def array(self) -> UInt8[np.ndarray, "N *S C"]:
        """The images in memory. Raises DataError if they are files: see `loaded`."""
        if isinstance(self.images, Pictures):
            raise DataError(
                f"{self.name} {self.split}: the images are files, but this function needs them in memory; call loaded() first"
            )
        return self.images

    @property
    def size(self) -> tuple[int, ...] | None:
        """Spatial size S of the images. None: the images differ in size."""
        return self.images.size if isinstance(self.images, Pictures) else self.images.shape[1:-1]

    @property
    def channels(self) -> int:
        """Number of channels, 1 to 16; 3 for images in files."""
        return 3 if isinstance(self.images, Pictures) else self.images.shape[-1]

    def loaded(self) -> "ImageSet":
        """Return the data set with its images in memory.

        Raises:
            DataError: An image cannot be read, or its size differs from that of the first.
        """
        return replace(self, images=self.images.decoded()) if isinstance(self.images, Pictures) else self

    def stem(self, place: int) -> str:
        """Return the name of an image for files that belong to it: its path without the suffix, or its row, such as "000017"."""
        if isinstance(self.images, Pictures):
            path = str(self.images.names[place])
            return path.rpartition(".")[0] or path
        return f"{self.index[place]:06d}"

    def rows(self, index: NDArray[np.int64]) -> "ImageSet":
        """Return the images at `index` (n,) as a set. The `index` of that set refers to the whole split."""
        masks = None if self.masks is None else self.masks[index]
        files = None if self.files is None else self.files.rows(index)
        return replace(
            self,
            images=self.images[index],
            labels=self.labels[index],
            masks=masks,
            index=self.index[index],
            files=files,
        )

    def take(self, count: int | None) -> "ImageSet":
        """Return the first images of a fixed, class-balanced order, so that every smaller part is contained in each larger one.

        Args:
            count: Number of images. None: all.

        Raises:
            DataError: `count` is not between 1 and the number of images.
        """
        if count is None or count == len(self):
            return self
        if not 1 <= count <= len(self):
            raise DataError(f"{self.name} {self.split}: the limit must be from 1 to {len(self)} images, got {count}")
        return self.rows(balanced_order(self.labels, self.fingerprint)[:count])


def balanced_order(labels: Int[np.ndarray, "N"], key: str) -> Int[np.ndarray, "N"]:
    """Return all rows in an order in which, for every n, the first n rows contain each class as equally often as possible.

    Args:
        labels: Class of each row.
        key: String that seeds the random order of the rows of each class.
    """
    shuffled = np.random.default_rng(int(hashlib.sha256(key.encode()).hexdigest()[:16], 16)).permutation(len(labels))
    rank_in_class = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = shuffled[labels[shuffled] == label]
        rank_in_class[rows] = np.arange(len(rows))
    return shuffled[np.argsort(rank_in_class[shuffled], kind="stable")]


def check_set(
    where: str, images: Any, labels: NDArray[Any], classes: Sequence[str], masks: NDArray[Any] | None
) -> tuple[Int[np.ndarray, "N"], Bool[np.ndarray, "N *S"] | None]:
    """Check the content of an `ImageSet`.

    Args:
        where: Name of the data set and the split, for messages.
        images: Images in memory or in files.
        labels: Labels of any integer type.
        classes: Names of the classes.
        masks: Masks of 0 and 1 of any type.

    Returns:
        Labels as int64 and masks as bool.

    Raises:
        DataError: Images, labels, class names or masks have a wrong shape, type or value.
    """
    if isinstance(images, np.ndarray):
        if images.dtype != np.uint8:
            raise DataError(f"{where}: expected uint8 images in [0, 255], got {images.dtype}; convert them")
        if not 3 <= images.ndim <= 5 or not 1 <= images.shape[-1] <= MAX_CHANNELS:
            raise DataError(
                f"{where}: expected images (N, *S, C) of 1 to 3 spatial dimensions with 1 to {MAX_CHANNELS} channels last, "
                f"got shape {images.shape}; move or add the axis of the channels"
            )
    if not len(images) or labels.shape != (len(images),):
        raise DataError(
            f"{where}: expected one label for each of {len(images)} images, got labels of shape {labels.shape}; make their numbers equal"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{where}: expected integer labels, got {labels.dtype}; number the classes from 0")
    labels = labels.astype(np.int64)
    if labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(
            f"{where}: expected labels from 0 to {len(classes) - 1} for {len(classes)} classes, "
            f"got {labels.min()} to {labels.max()}; number the classes from 0"
        )
    if (invalid := next((name for name in classes if not is_text(name) or len(name) > LONGEST_NAME), None)) is not None:
        raise DataError(
            f"{where}: expected class names of at most {LONGEST_NAME} characters without control characters, "
            f'got "{invalid}"; rename the class'
        )
    if masks is not None:
        shape = images.shape[:-1] if isinstance(images, np.ndarray) else masks.shape
        is_numeric = masks.dtype.kind in "buif"
        if masks.shape != shape or not is_numeric or (masks.dtype != bool and np.setdiff1d(masks, (0, 1)).size):
            raise DataError(
                f"{where}: expected masks of 0 and 1 with shape {shape}, got {masks.dtype} of shape {masks.shape}; convert them"
            )
        masks = masks.astype(bool)
    return labels, masks


def _fingerprint(images: UInt8[np.ndarray, "N *S C"], labels: Int[np.ndarray, "N"]) -> str:
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()
