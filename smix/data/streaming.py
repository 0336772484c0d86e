"""Batches of images that do not fit in memory or have different sizes; worker processes of a DataLoader decode and crop them.

The random numbers of the augmentation are seeded by seed, epoch and image, so that they depend neither on the number of workers nor on
the step from which a training was resumed.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from smix import rng, signals
from smix.config import cores
from smix.data.augment import NO_AUGMENTATION, Augmentation, augmentation_keys, still_valid
from smix.data.batches import Loader, Normalisation, Pixels, TrainingBatch, epoch_batches
from smix.data.pictures import MAX_PIXELS, OBJECT_ABOVE
from smix.data.sets import ImageSet
from smix.errors import DataError, SmixError

RESIDENT_BYTES = 2**31
"""Maximum size in bytes of a data set that is kept on the device; the same on all machines, so that results do not depend on it."""
SIDE = 224
"""Default height and width to which images of different sizes are resized."""
ENLARGEMENT = 256 / 224
"""Evaluation resizes the shorter side to this factor times the size, and crops the centre (He et al., CVPR 2016)."""
STATISTICS = 2000
"""Number of images from which the mean and standard deviation are computed."""
AT_ONCE = 250
"""Number of images per batch without augmentation."""


@runtime_checkable
class MaskLookup(Protocol):
    """An array of masks, or an object that reads them when they are accessed."""

    def __getitem__(self, rows: Int[np.ndarray, "n"]) -> Bool[np.ndarray, "n *S"]: ...


def fits_on_device(data: ImageSet, image_size: int | None) -> bool:
    """Return True if a data set is kept on the device: its images have the requested size and take at most `RESIDENT_BYTES`.

    Args:
        data: The data set.
        image_size: Side in pixels of the square that images are resized to. None: they are not resized.
    """
    if data.size is None or (image_size is not None and data.size != (image_size,) * len(data.size)):
        return False
    return len(data) * int(np.prod(data.size)) * data.channels <= RESIDENT_BYTES


@dataclass(frozen=True, eq=False)
class Reader(Dataset[tuple[Tensor, Tensor | None]]):
    """Read images and masks and apply the same augmentation to both. Each worker process has a copy of this object."""

    data: ImageSet
    size: tuple[int, int]
    """Height and width of the result."""
    crop_padding: int = 0
    """Padding in pixels before a random crop, for images of exactly `size`. Images of other sizes are cropped to 8 to 100 %
    of their area and resized. 0: no random crops."""
    hflip: bool = False
    """Mirror each image along the last spatial axis with probability 0.5."""
    masks: MaskLookup | None = None
    """Object masks of any size; each covers its whole image."""
    key: tuple[int, int] | None = None
    """Seed and epoch of the augmentation. None: no augmentation, as for evaluation."""
    enlargement: float = ENLARGEMENT
    """Factor by which evaluation enlarges images before the centre crop. 1: images are enlarged just enough to fill the crop."""
    augmentation: Augmentation = NO_AUGMENTATION
    """Augmentation after crops and flips."""

    def __getitems__(self, rows: list[int]) -> tuple[UInt8[Tensor, "b H W C"], Bool[Tensor, "b H W"] | None] | str:
        """Return images and their masks, or an error message if one of them cannot be read."""
        try:
            pairs = [self.read(row) for row in rows]
        except SmixError as error:  # torch would add the traceback of the worker
            return str(error)
        images = torch.stack([image for image, _ in pairs])
        masks = None if self.masks is None else torch.stack([mask for _, mask in pairs if mask is not None])
        if self.key is not None and self.augmentation:
            keys = augmentation_keys(*self.key, len(self.data), torch.tensor(rows))
            return self.augmentation.batch(images, masks, keys)
        return images, masks

    def read(self, draw: int) -> tuple[UInt8[Tensor, "H W C"], Bool[Tensor, "H W"] | None]:
        """Return an image and its mask. Raises DataError or MaskError if one of them cannot be read.

        Args:
            draw: Row of the image, plus the number of images for each time that it was drawn before in this epoch.
        """
        row = draw % len(self.data)
        pictures = [tv_tensors.Image(torch.from_numpy(np.array(self.data.images[row])).movedim(-1, 0))]
        if self.masks is not None:
            mask = torch.from_numpy(self.masks[np.array([row])]).to(torch.uint8) * 255
            mask = v2.functional.resize_image(mask, list(pictures[0].shape[1:]), antialias=True)
            # Not a tv_tensors.Mask: it would be resized with another interpolation and shifted against its object.
            pictures.append(tv_tensors.Image(mask))
        image, *masks = self._transform(draw, pictures)
        return image.movedim(0, -1).contiguous(), masks[0][0] > OBJECT_ABOVE if masks else None

    def _transform(self, draw: int, pictures: list[tv_tensors.Image]) -> list[tv_tensors.Image]:
        """Apply the same random transform to an image and its mask."""
        same = self.data.size == tuple(pictures[0].shape[1:]) == self.size
        steps: list[v2.Transform] = []
        if self.key is not None and self.crop_padding:
            crop = v2.RandomCrop(self.size, padding=self.crop_padding)
            steps.append(crop if same else v2.RandomResizedCrop(self.size, antialias=True))
        elif not same:
            steps.append(centre_crop(pictures[0].shape[-2:], self.size, self.enlargement))
        if self.key is not None and self.hflip:
            steps.append(v2.RandomHorizontalFlip())
        if not steps:
            return pictures
        transform: Callable[[list[tv_tensors.Image]], list[tv_tensors.Image]] = v2.Compose(steps)
        if self.key is None:
            return transform(pictures)
        seed, epoch = self.key
        with torch.random.fork_rng(devices=[]):
            repeat, row = divmod(draw, len(self.data))
            rng.seed(rng.key(seed, "crop", epoch * len(self.data) + row, repeat))
            return transform(pictures)


def centre_crop(image: Sequence[int], size: tuple[int, int], enlargement: float) -> v2.Transform:
    """Return the transform that resizes an image to just cover `enlargement` times `size`, and crops the centre.

    Args:
        image: Height and width of the image.
        size: Height and width of the result.
        enlargement: Factor by which the image is enlarged beyond the result; Resize(side * enlargement) for square images.

    Raises:
        DataError: The image is so long and narrow that the resized one would have more than `MAX_PIXELS` pixels.
    """
    (height, width), (rows, columns) = image, (round(side * enlargement) for side in size)
    wide = height * columns <= width * rows
    resized = (rows, int(rows * width / height)) if wide else (int(columns * height / width), columns)
    if resized[0] * resized[1] > MAX_PIXELS:
        raise DataError(
            f"an image of {width}x{height} pixels is too long and narrow to be resized to "
            f"{resized[1]}x{resized[0]}; crop or remove it"
        )
    return v2.Compose([v2.Resize(resized, antialias=True), v2.CenterCrop(size)])


@dataclass(frozen=True, eq=False)
class Streamed(Loader):
    """A `Loader` that reads the images again in each epoch."""

    reader: Reader
    normalise: Normalisation
    device: torch.device
    workers: int
    """Number of worker processes."""
    valid: Bool[Tensor, "N"] | None = None
    drop_last: bool = False
    at_once: int = field(default_factory=lambda: AT_ONCE)
    """Number of images in a batch from `in_order` or `pixels`."""
    balanced: bool = False
    """Sample images with replacement, so that all classes are equally frequent."""

    def __len__(self) -> int:
        return len(self.reader.data)

    def shuffled(
        self, seed: int, epoch: int, batch_size: int, first_step: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[TrainingBatch]:
        cpu = torch.device("cpu")
        steps = range(first_step, self.steps(batch_size, world))
        balance = self.reader.data.labels if self.balanced else None
        schedule = epoch_batches(len(self), seed, epoch, batch_size, steps, rank, world, cpu, balance)
        batches = [batch[part].tolist() for _, batch, part in schedule]
        for draws, (images, masks) in self._read(replace(self.reader, key=(seed, epoch)), batches):
            rows = [draw % len(self) for draw in draws]
            valid = None if self.valid is None else self._copy(self.valid[rows])
            if self.reader.augmentation and masks is not None:
                valid = still_valid(masks, valid)
            yield TrainingBatch(self.normalise(images), self._labels(rows), masks, valid)

    def pixels(self, rows: Int[Tensor, "n"] | None = None) -> Iterator[Pixels]:
        rows = torch.arange(len(self)) if rows is None else rows
        if not len(rows):  # there are more processes than images
            empty = torch.zeros(0, *self.reader.size, self.reader.data.channels, dtype=torch.uint8)
            yield Pixels(self._copy(empty), self._labels([]), None)
            return
        for batch, (images, masks) in self._read(self.reader, [batch.tolist() for batch in rows.split(self.at_once)]):
            yield Pixels(images, self._labels(batch), masks)

    def _read(
        self, reader: Reader, batches: list[list[int]]
    ) -> Iterator[tuple[list[int], tuple[Tensor, Tensor | None]]]:
        """Yield the rows of each batch, and its images and masks on the device."""
        loader = DataLoader(
            reader,
            batch_sampler=batches,
            num_workers=min(self.workers, len(batches)),
            collate_fn=_identity,
            worker_init_fn=_ignore_signals,
            generator=torch.Generator(),  # otherwise the DataLoader would draw from the global generator
            pin_memory=self.device.type == "cuda",
        )
        for rows, result in zip(batches, loader, strict=True):
            if isinstance(result, str):
                raise DataError(result)
            images, masks = result
            yield rows, (self._copy(images), None if masks is None else self._copy(masks))

    def _labels(self, rows: list[int]) -> Int[Tensor, "B"]:
        return self._copy(torch.from_numpy(self.reader.data.labels[rows]))

    def _copy(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=True)


def _ignore_signals(worker: int) -> None:
    """Ignore signals in a worker: a signal to the process group must not end workers whose batches the parent still reads."""
    for number in signals.STOP_OR_CTRL_C:
        signal.signal(number, signal.SIG_IGN)


def _identity(result: object) -> object:
    return result


def as_evaluated(
    data: ImageSet, size: tuple[int, int], rows: Int[np.ndarray, "n"] | None = None, masks: MaskLookup | None = None
) -> tuple[ImageSet, Bool[np.ndarray, "n H W"] | None]:
    """Read images into memory as for evaluation, without augmentation.

    Args:
        data: The data set.
        size: Height and width of the result.
        rows: Rows of the images. None: `STATISTICS` of them, evenly spaced.
        masks: Masks to read with the images.

    Returns:
        The images, and their masks or None.

    Raises:
        DataError: An image cannot be read.
        MaskError: A mask cannot be read.
    """
    if rows is None:
        rows = np.arange(0, len(data), -(-len(data) // STATISTICS))
    reader = Reader(data, size, masks=masks)
    with ThreadPoolExecutor(cores()) as pool:
        pairs = list(pool.map(reader.read, rows.tolist()))
    images = replace(data.rows(rows), images=np.stack([image.numpy() for image, _ in pairs]), masks=None)
    return images, None if masks is None else np.stack([mask.numpy() for _, mask in pairs if mask is not None])
