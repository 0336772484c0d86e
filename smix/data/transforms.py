"""Crops and flips of a whole batch on its device, with one draw for images and masks."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int, UInt8
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Crops:
    """How each image of a batch is cropped and flipped. `crops[slice]` is how a part of them is."""

    offsets: Int[Tensor, "B d"]
    """Of each spatial axis, in the padded image: from 0 to 2 `padding`."""
    mirrored: Bool[Tensor, "B"]
    """Along the last axis."""
    padding: int

    def __getitem__(self, part: slice) -> "Crops":
        return Crops(self.offsets[part], self.mirrored[part], self.padding)

    def apply(
        self, images: UInt8[Tensor, "B *S C"], masks: Bool[Tensor, "B *S"] | None
    ) -> tuple[UInt8[Tensor, "B *S C"], Bool[Tensor, "B *S"] | None]:
        """Pad every spatial axis by zeros on both sides, cut the old size out, and mirror it where it shall be."""
        count, *size = images.shape[:-1]
        device = images.device
        index = [torch.arange(count, device=device).view(-1, *[1] * len(size))]
        for axis, length in enumerate(size):
            place = torch.arange(length, device=device).expand(count, length)
            if axis == len(size) - 1:
                place = torch.where(self.mirrored[:, None], length - 1 - place, place)
            place = place + self.offsets[:, axis, None]
            index.append(place.view(count, *[1] * axis, length, *[1] * (len(size) - 1 - axis)))
        around = [self.padding, self.padding] * len(size)
        images = F.pad(images, [0, 0, *around])[tuple(index)]
        return images, None if masks is None else F.pad(masks, around)[tuple(index)]


def draw_crops(count: int, axes: int, padding: int, flip: bool, generator: torch.Generator) -> Crops:
    """Every one of the (2 `padding` + 1)^`axes` offsets is equally likely; half of the images are mirrored if `flip`."""
    device = generator.device
    offsets = torch.randint(2 * padding + 1, (count, axes), device=device, generator=generator)
    mirrored = torch.rand(count, device=device, generator=generator) < (0.5 if flip else 0)
    return Crops(offsets, mirrored, padding)
