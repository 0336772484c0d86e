"""Cutout: blank one square of each image; the label stays.

DeVries and Taylor, "Improved regularization of convolutional neural networks with Cutout", arXiv:1708.04552, section 3.2:
the centre is any pixel, the square is clipped at the border, and filled with 0, which in normalised images is the mean
of the training images. Side 16 for CIFAR-10, 8 for CIFAR-100. Differs: an odd side keeps all of its pixels, the authors'
code (uoguelph-mlrg/Cutout) loses one of them; any number of dimensions. Mix after the normalisation, or 0 is black.
"""

from dataclasses import dataclass

import torch

from smix.errors import OptionError
from smix.mixing.box import anywhere, outside
from smix.mixing.core import Batch, Method
from smix.mixing.plan import Plan
from smix.mixing.share import label_share


@dataclass(frozen=True, repr=False)
class Cutout(Method):
    """Args:
    length: Side of the square, in pixels, before it is clipped; 1 or more.
    """

    length: int = 16

    def check(self) -> None:
        if not (isinstance(self.length, int) and self.length >= 1):
            raise OptionError(f"cutout: expected a length of 1 pixel or more, a whole number, got {self.length}")

    def draw(self, batch: Batch) -> Plan:
        place = batch.uniform(len(batch.size))
        boxes = []
        for axis, length in enumerate(batch.size):
            centre = anywhere(place[:, axis], length) - self.length // 2 + self.length / 2
            boxes.append((centre, torch.full_like(centre, self.length / 2)))
        weight = outside(boxes, batch.size)
        count = len(batch.x)
        yes = torch.ones_like(batch.partner, dtype=torch.bool)
        itself = torch.arange(count, device=batch.x.device)
        weight = weight.expand(count, *weight.shape[1:])
        share = label_share("own", weight, batch.masks, itself, None, None)
        return Plan(itself, weight, share, mixed=yes, fell_back=~yes, fill=yes)
