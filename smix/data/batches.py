"""Batches of a data set: what training reads, and a data set that lives on the device as uint8."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from smix import rng
from smix.data.sets import ImageSet
from smix.data.transforms import draw_crops


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, on the 0..1 scale."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, data: ImageSet) -> "Normalisation":
        """Return mean and standard deviation over all pixels of a split. A constant channel gets the standard deviation 1."""
        lines = data.array.reshape(len(data), -1)
        sums = np.zeros((2, lines.shape[1]), np.int64)
        # Whole numbers are exact, and need no float copy of the data set: so many images that uint32 holds the sums of squares.
        step = min(2**16, max(1, 2**20 // lines.shape[1]))
        for start in range(0, len(lines), step):
            some = lines[start : start + step].astype(np.uint32)
            sums[0] += some.sum(0, dtype=np.uint32)
            sums[1] += np.square(some, out=some).sum(0, dtype=np.uint32)
        count = data.array.size // data.array.shape[-1]
        mean, std = [], []
        for first, second in sums.reshape(2, -1, data.array.shape[-1]).sum(1).T.tolist():
            mean.append(first / count / 255)
            std.append(math.sqrt(count * second - first**2) / count / 255 or 1.0)
        return cls(tuple(mean), tuple(std))

    def __call__(self, images: UInt8[Tensor, "B *S C"]) -> Float[Tensor, "B C *S"]:
        """Normalised float32 images, channels first in shape (and last in memory)."""
        # A whole line at once, and in place: three times faster than pixel by pixel.
        pixels, channels = images.shape[-2:]
        mean, std = (
            (torch.tensor(each, device=images.device) * 255).expand(channels).repeat(pixels)
            for each in (self.mean, self.std)
        )
        return images.flatten(-2).float().sub_(mean).div_(std).view(images.shape).movedim(-1, 1)


class Batch(NamedTuple):
    """Input of a training step."""

    images: Float[Tensor, "B C *S"]
    """Normalised."""
    labels: Int[Tensor, "B"]
    masks: Bool[Tensor, "B *S"] | None
    valid: Bool[Tensor, "B"] | None
    """True for masks that the store calls valid."""


class Pixels(NamedTuple):
    """Images as they are before they are normalised."""

    images: UInt8[Tensor, "B *S C"]
    labels: Int[Tensor, "B"]
    masks: Bool[Tensor, "B *S"] | None


@runtime_checkable
class Loader(Protocol):
    """A split of a data set, as training and evaluation read it: `Batches`, or `Streamed` where it is too large for that."""

    @property
    def normalise(self) -> Normalisation: ...

    @property
    def at_once(self) -> int:
        """Images in a batch of `in_order` and `pixels`."""
        ...

    def __len__(self) -> int: ...

    def steps(self, batch_size: int) -> int:
        """Full batches in one epoch, at least one: the last, smaller batch is left out of an epoch of training."""
        ...

    def shuffled(
        self, seed: int, epoch: int, batch_size: int, first_step: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[Batch]:
        """One epoch of training batches from its step `first_step` on: of each, the part of process `rank` of `world`."""
        ...

    def in_order(self, rank: int = 0, world: int = 1) -> Iterator[tuple[Float[Tensor, "B C *S"], Int[Tensor, "B"]]]:
        """Images, untouched but normalised, in their own order: every `world`-th from `rank` on."""
        ...

    def pixels(self, rows: Int[Tensor, "n"] | None = None) -> Iterator[Pixels]:
        """Images, untouched, at these places (None: all in their own order), in batches as those of `in_order`."""
        ...


def full_batches(count: int, batch_size: int) -> int:
    return max(1, count // batch_size)


def order_of(count: int, seed: int, epoch: int) -> Int[Tensor, "N"]:
    """The order of the images in an epoch; the same for all methods and numbers of processes."""
    return torch.randperm(count, generator=rng.generator(seed, "order", epoch))


@dataclass(frozen=True, eq=False)
class Batches:
    """A `Loader` of images, labels and masks that are on the device as a whole, images as uint8."""

    images: UInt8[Tensor, "N *S C"]
    labels: Int[Tensor, "N"]
    normalise: Normalisation
    masks: Bool[Tensor, "N *S"] | None = None
    valid: Bool[Tensor, "N"] | None = None
    crop_padding: int = 0
    """Pixels of padding before a random crop; 0: no crops."""
    hflip: bool = False
    at_once: int = 500
    """Images in a batch of `in_order`."""

    @classmethod
    def of(
        cls,
        data: ImageSet,
        normalise: Normalisation,
        device: torch.device,
        masks: NDArray[np.bool_] | None = None,
        valid: NDArray[np.bool_] | None = None,
        crop_padding: int = 0,
        hflip: bool = False,
    ) -> "Batches":
        def there(array: NDArray[np.generic] | None) -> Tensor | None:
            return None if array is None else torch.from_numpy(np.array(array)).to(device)

        images, labels = there(data.array), there(data.labels)
        assert images is not None
        assert labels is not None
        return cls(images, labels, normalise, there(masks), there(valid), crop_padding, hflip)

    def __len__(self) -> int:
        return len(self.images)

    def steps(self, batch_size: int) -> int:
        return full_batches(len(self), batch_size)

    def shuffled(
        self, seed: int, epoch: int, batch_size: int, first_step: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[Batch]:
        device = self.images.device
        order = order_of(len(self), seed, epoch).to(device)
        for step in range(first_step, self.steps(batch_size)):
            batch = order[step * batch_size : (step + 1) * batch_size]
            mine = slice(rank * len(batch) // world, (rank + 1) * len(batch) // world)
            rows = batch[mine]
            # Copies whole images: eight times faster than self.images[rows], which copies numbers.
            images = self.images.index_select(0, rows)
            masks = None if self.masks is None else self.masks.index_select(0, rows)
            if self.crop_padding or self.hflip:
                # Drawn for the whole batch: its crops do not depend on how many processes share it.
                draws = rng.generator(seed, "crop", epoch * self.steps(batch_size) + step, device=device)
                crops = draw_crops(len(batch), images.ndim - 2, self.crop_padding, self.hflip, draws)[mine]
                images, masks = crops.apply(images, masks)
            valid = None if self.valid is None else self.valid[rows]
            yield Batch(self.normalise(images), self.labels[rows], masks, valid)

    def in_order(self, rank: int = 0, world: int = 1) -> Iterator[tuple[Float[Tensor, "B C *S"], Int[Tensor, "B"]]]:
        for images, labels, _ in self.pixels(torch.arange(rank, len(self), world)):
            yield self.normalise(images), labels

    def pixels(self, rows: Int[Tensor, "n"] | None = None) -> Iterator[Pixels]:
        rows = torch.arange(len(self)) if rows is None else rows
        for some in rows.to(self.images.device).split(self.at_once):
            masks = None if self.masks is None else self.masks.index_select(0, some)
            yield Pixels(self.images.index_select(0, some), self.labels[some], masks)
