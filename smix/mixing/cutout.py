"""Cutout: blank one square of each image; the label stays.

DeVries and Taylor, "Improved regularization of convolutional neural networks with Cutout", 2017, arXiv:1708.04552, section 3.2:
the centre is any pixel, the square is clipped at the border, and filled with 0, which in normalised images is the mean of the
training images. Side 16 for CIFAR-10, 8 for CIFAR-100. Differences: an odd side keeps all of its pixels, the authors' code
(uoguelph-mlrg/Cutout) loses one of them; any number of dimensions. Mix after the normalisation; before it, 0 is black.
"""

from dataclasses import dataclass

import torch

from smix.errors import OptionError
from smix.mixing.box import outside, random_pixel
from smix.mixing.core import Method, MixBatch
from smix.mixing.plan import Plan


@dataclass(frozen=True, repr=False)
class Cutout(Method):
    """Set a square of each image to 0, the mean of normalised images, and keep the label (DeVries and Taylor, 2017).

    Args:
        length: Side of the square before it is clipped, in pixels, 1 or more.

    >>> x, y = torch.ones(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    >>> mixed, target = smix.Cutout(length=8)(x, y, generator=torch.Generator().manual_seed(0))
    >>> target.share
    tensor([1., 1., 1., 1.])
    >>> bool((mixed[:, 0] == 0).sum((1, 2)).max() <= 8 * 8)
    True
    """

    length: int = 16

    def check(self) -> None:
        if not (isinstance(self.length, int) and self.length >= 1):
            raise OptionError(f"cutout: expected length as a whole number of pixels, at least 1, got {self.length}")

    def draw(self, batch: MixBatch) -> Plan:
        place = batch.uniform(len(batch.size))
        boxes = []
        for axis, length in enumerate(batch.size):
            centre = random_pixel(place[:, axis], length) - self.length // 2 + self.length / 2
            boxes.append((centre, torch.full_like(centre, self.length / 2)))
        weight = outside(boxes, batch.size)
        count = len(batch.x)
        itself = torch.arange(count, device=batch.x.device)
        everywhere = torch.ones_like(itself, dtype=torch.bool)
        return Plan(
            itself,
            weight.expand(count, *weight.shape[1:]),
            torch.ones(count, device=batch.x.device),
            mixed=everywhere,
            fell_back=~everywhere,
            fill=everywhere,
        )
