"""Batches of a data set for training and evaluation, and a loader that keeps the data set on the device as uint8."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from smix import rng
from smix.data.augment import NO_AUGMENTATION, Augmentation, augmentation_keys, still_valid
from smix.data.sets import ImageSet
from smix.data.transforms import draw_crops_and_flips


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel for images in [0, 1], used to normalise them."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, data: ImageSet) -> "Normalisation":
        """Compute the mean and standard deviation of images in memory; the deviation of a constant channel is 1."""
        lines = data.array.reshape(len(data), -1)
        sums = np.zeros((2, lines.shape[1]), np.int64)
        # Integer sums are exact and need no float copy of the data set. The step is so small that sums of squares fit into uint32.
        step = min(2**16, max(1, 2**20 // lines.shape[1]))
        for start in range(0, len(lines), step):
            values = lines[start : start + step].astype(np.uint32)
            sums[0] += values.sum(0, dtype=np.uint32)
            sums[1] += np.square(values, out=values).sum(0, dtype=np.uint32)
        count = data.array.size // data.array.shape[-1]
        mean, std = [], []
        for first, second in sums.reshape(2, -1, data.array.shape[-1]).sum(1).T.tolist():
            mean.append(first / count / 255)
            std.append(math.sqrt(count * second - first**2) / count / 255 or 1.0)
        return cls(tuple(mean), tuple(std))

    def __call__(self, images: UInt8[Tensor, "B *S C"]) -> Float[Tensor, "B C *S"]:
        """Return normalised float32 images, channels first in shape (and last in memory)."""
        # In place, and one operation per line of pixels: three times faster than broadcasting over single pixels.
        pixels, channels = images.shape[-2:]
        mean, std = (
            (torch.tensor(values, device=images.device) * 255).expand(channels).repeat(pixels)
            for values in (self.mean, self.std)
        )
        return images.flatten(-2).float().sub_(mean).div_(std).view(images.shape).movedim(-1, 1)


class TrainingBatch(NamedTuple):
    """Input to a training step."""

    images: Float[Tensor, "B C *S"]
    """Normalised images."""
    labels: Int[Tensor, "B"]
    masks: Bool[Tensor, "B *S"] | None
    """Object masks. None: the method does not need them."""
    valid: Bool[Tensor, "B"] | None
    """True for masks that may be used. None: all."""


class Pixels(NamedTuple):
    """Images before normalisation, with their labels and masks."""

    images: UInt8[Tensor, "B *S C"]
    labels: Int[Tensor, "B"]
    masks: Bool[Tensor, "B *S"] | None


class Loader(ABC):
    """A split of a data set for training and evaluation: `Batches`, or `Streamed` if it does not fit on the device."""

    normalise: Normalisation
    at_once: int
    """Number of images in a batch from `in_order` or `pixels`."""
    drop_last: bool
    """Drop the last batch of an epoch if it is smaller."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def shuffled(
        self, seed: int, epoch: int, batch_size: int, first_step: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[TrainingBatch]:
        """Yield the training batches of an epoch from `first_step` on; of each, the part for process `rank` out of `world`."""

    @abstractmethod
    def pixels(self, rows: Int[Tensor, "n"] | None = None) -> Iterator[Pixels]:
        """Yield the images at `rows` without augmentation. None: all images, in order."""

    def steps(self, batch_size: int, world: int = 1) -> int:
        """Return the number of batches in an epoch."""
        full, rest = divmod(len(self), batch_size)
        if full == 0:
            return 1
        # Batch normalisation and mixing need two images in each process.
        return full + int(not self.drop_last and rest >= 2 * world)

    def images_per_epoch(self, batch_size: int, world: int = 1) -> int:
        """Return the number of images of all batches of an epoch that `world` processes train on."""
        images = min(len(self), self.steps(batch_size, world) * batch_size)
        return images - images % world

    def in_order(self, rank: int = 0, world: int = 1) -> Iterator[tuple[Float[Tensor, "B C *S"], Int[Tensor, "B"]]]:
        """Yield normalised images and labels without augmentation: every `world`-th image, starting at index `rank`."""
        for images, labels, _ in self.pixels(torch.arange(rank, len(self), world)):
            yield self.normalise(images), labels


def epoch_batches(
    count: int,
    seed: int,
    epoch: int,
    batch_size: int,
    steps: range,
    rank: int,
    world: int,
    device: torch.device,
    balance: Int[np.ndarray, "N"] | None = None,
) -> Iterator[tuple[int, Int[Tensor, "B"], slice]]:
    """Yield the batches with these numbers in an epoch. They are the same for all methods and numbers of processes.

    All processes get parts of the same size: up to `world` - 1 images of a smaller last batch are left out.

    Args:
        count: Number of images N.
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.
        batch_size: Size of the whole batches.
        first_step: First step to yield.
        rank: Number of this process.
        world: Number of processes.
        device: Device of the rows.
        balance: Labels of the images, to draw them with replacement and each class equally often. None: every image once.

    Yields:
        The number of the step, the draws of the whole batch, and the part of it that belongs to process `rank` of `world`. A draw is
        the row of an image, plus N for each time that the epoch has drawn it before.
    """
    draws = rng.generator(seed, "order", epoch)
    order = (torch.randperm(count, generator=draws) if balance is None else balanced_draws(balance, draws)).to(device)
    for step in steps:
        batch = order[step * batch_size : (step + 1) * batch_size]
        batch = batch[: len(batch) - len(batch) % world]
        yield step, batch, slice(rank * len(batch) // world, (rank + 1) * len(batch) // world)


def balanced_draws(labels: Int[np.ndarray, "N"], generator: torch.Generator) -> Int[Tensor, "N"]:
    """Return N draws with replacement: a class that occurs, each with the same probability, and then one of its images.

    torch's WeightedRandomSampler draws from the same distribution, but from at most 2**24 images. A draw is a row, plus N for each time
    that it was drawn before, so that an image that is drawn again is augmented differently.
    """
    _, first, counts = np.unique(np.sort(labels, kind="stable"), return_index=True, return_counts=True)
    rows = torch.from_numpy(np.argsort(labels, kind="stable"))
    drawn = torch.randint(len(counts), (len(labels),), generator=generator)
    place = torch.rand(len(labels), dtype=torch.float64, generator=generator) * torch.from_numpy(counts)[drawn]
    chosen = rows[torch.from_numpy(first)[drawn] + place.long()].numpy()
    order = np.argsort(chosen, kind="stable")
    _, starts, repeats = np.unique(chosen[order], return_index=True, return_counts=True)
    times = np.empty_like(chosen)
    times[order] = np.arange(len(chosen)) - np.repeat(starts, repeats)
    return torch.from_numpy(chosen + len(chosen) * times)


@dataclass(frozen=True, eq=False)
class Batches(Loader):
    """A `Loader` that keeps all images (as uint8), labels and masks on the device."""

    images: UInt8[Tensor, "N *S C"]
    labels: Int[Tensor, "N"]
    normalise: Normalisation
    masks: Bool[Tensor, "N *S"] | None = None
    valid: Bool[Tensor, "N"] | None = None
    crop_padding: int = 0
    """Padding in pixels before a random crop; 0: no crops."""
    hflip: bool = False
    """Mirror each image along the last spatial axis with probability 0.5."""
    at_once: int = 500
    """Number of images in a batch from `in_order` or `pixels`."""
    drop_last: bool = False
    augmentation: Augmentation = NO_AUGMENTATION
    """Augmentation after crops and flips."""
    balanced: bool = False
    """Sample images with replacement, so that all classes are equally frequent."""

    @classmethod
    def of(
        cls,
        data: ImageSet,
        normalise: Normalisation,
        device: torch.device,
        masks: Bool[np.ndarray, "N *S"] | None = None,
        valid: Bool[np.ndarray, "N"] | None = None,
        crop_padding: int = 0,
        hflip: bool = False,
        drop_last: bool = False,
        augmentation: Augmentation = NO_AUGMENTATION,
        balanced: bool = False,
    ) -> "Batches":
        """Copy a data set in memory to a device. See the attributes for the arguments."""

        def copy(array: NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(np.array(array)).to(device)

        copies = [None if array is None else copy(array) for array in (masks, valid)]
        images, labels = copy(data.array), copy(data.labels)
        return cls(
            images,
            labels,
            normalise,
            copies[0],
            copies[1],
            crop_padding,
            hflip,
            drop_last=drop_last,
            augmentation=augmentation,
            balanced=balanced,
        )

    def __len__(self) -> int:
        return len(self.images)

    def shuffled(
        self, seed: int, epoch: int, batch_size: int, first_step: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[TrainingBatch]:
        device, steps = self.images.device, range(first_step, self.steps(batch_size, world))
        balance = self.labels.cpu().numpy() if self.balanced else None
        schedule = epoch_batches(len(self), seed, epoch, batch_size, steps, rank, world, device, balance)
        for step, batch, part in schedule:
            rows = batch[part] % len(self)
            # Copies whole images: eight times faster than self.images[rows], which copies single values.
            images = self.images.index_select(0, rows)
            masks = None if self.masks is None else self.masks.index_select(0, rows)
            if self.crop_padding or self.hflip:
                # Drawn for the whole batch, so that crops do not depend on the number of processes.
                draws = rng.generator(seed, "crop", epoch * self.steps(batch_size) + step, device=device)
                crops = draw_crops_and_flips(len(batch), images.ndim - 2, self.crop_padding, self.hflip, draws)[part]
                images, masks = crops.apply(images, masks)
            valid = None if self.valid is None else self.valid[rows]
            if self.augmentation:
                images, masks = self.augmentation.batch(
                    images, masks, augmentation_keys(seed, epoch, len(self), batch[part])
                )
                valid = valid if masks is None else still_valid(masks, valid)
            yield TrainingBatch(self.normalise(images), self.labels[rows], masks, valid)

    def pixels(self, rows: Int[Tensor, "n"] | None = None) -> Iterator[Pixels]:
        rows = torch.arange(len(self)) if rows is None else rows
        for batch in rows.to(self.images.device).split(self.at_once):
            masks = None if self.masks is None else self.masks.index_select(0, batch)
            yield Pixels(self.images.index_select(0, batch), self.labels[batch], masks)
