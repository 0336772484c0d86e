"""A data set that lives on the training device as uint8, and its batches."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from smix import rng
from smix.data.sets import ImageSet
from smix.data.transforms import crop_and_flip


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, on the 0..1 scale."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, data: ImageSet) -> "Normalisation":
        """Of all pixels of a split. A constant channel gets the standard deviation 1."""
        pixels = data.array.reshape(-1, data.array.shape[-1])
        # uint8 histograms are exact, and need no float copy of the data set.
        counts = np.stack([np.bincount(channel, minlength=256) for channel in pixels.T])
        levels = np.arange(256) / 255
        mean = counts @ levels / len(pixels)
        std = np.sqrt((counts * (levels - mean[:, None]) ** 2).sum(1) / len(pixels))
        # Asked of the counts: rounding can leave a constant channel a tiny std, which would blow it up.
        constant = (counts > 0).sum(1) == 1
        return cls(tuple(mean.tolist()), tuple(np.where(constant, 1, std).tolist()))

    def __call__(self, images: UInt8[Tensor, "B *S C"]) -> Float[Tensor, "B C *S"]:
        """Normalised float32 images, channels first in shape (and last in memory)."""
        mean = torch.tensor(self.mean, device=images.device) * 255
        std = torch.tensor(self.std, device=images.device) * 255
        return ((images.float() - mean) / std).movedim(-1, 1)


@dataclass(frozen=True, eq=False)
class Batches:
    """Images, labels and masks on one device."""

    images: UInt8[Tensor, "N *S C"]
    labels: Int[Tensor, "N"]
    normalise: Normalisation
    masks: Bool[Tensor, "N *S"] | None = None
    valid: Bool[Tensor, "N"] | None = None

    @classmethod
    def of(
        cls,
        data: ImageSet,
        normalise: Normalisation,
        device: torch.device,
        masks: NDArray[np.bool_] | None = None,
        valid: NDArray[np.bool_] | None = None,
    ) -> "Batches":
        def there(array: NDArray[np.generic] | None) -> Tensor | None:
            return None if array is None else torch.from_numpy(np.array(array)).to(device)

        images, labels = there(data.array), there(data.labels)
        assert images is not None
        assert labels is not None
        return cls(images, labels, normalise, there(masks), there(valid))

    def __len__(self) -> int:
        return len(self.images)

    def steps(self, batch_size: int) -> int:
        """Full batches in one epoch, at least one: the last, smaller batch is left out of an epoch of training."""
        return max(1, len(self) // batch_size)

    def shuffled(
        self, seed: int, epoch: int, batch_size: int, crop: int, flip: bool, first_step: int = 0
    ) -> Iterator[
        tuple[Float[Tensor, "B C *S"], Int[Tensor, "B"], Bool[Tensor, "B *S"] | None, Bool[Tensor, "B"] | None]
    ]:
        """One epoch of training batches from its step `first_step` on: images, labels, masks, validity of the masks."""
        device = self.images.device
        order = torch.randperm(len(self), generator=rng.generator(seed, "order", epoch)).to(device)
        for step in range(first_step, self.steps(batch_size)):
            rows = order[step * batch_size : (step + 1) * batch_size]
            images, masks = self.images[rows], None if self.masks is None else self.masks[rows]
            if crop or flip:
                draws = rng.generator(seed, "crop", epoch * self.steps(batch_size) + step, device=device)
                images, masks = crop_and_flip(images, masks, crop, flip, draws)
            valid = None if self.valid is None else self.valid[rows]
            yield self.normalise(images), self.labels[rows], masks, valid

    def in_order(self, batch_size: int = 500) -> Iterator[tuple[Float[Tensor, "B C *S"], Int[Tensor, "B"]]]:
        """All images, untouched but normalised, in their own order."""
        for images, labels in zip(self.images.split(batch_size), self.labels.split(batch_size), strict=True):
            yield self.normalise(images), labels
