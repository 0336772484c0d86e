"""Crops and flips of a whole batch on its device, with one draw for images and masks."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, UInt8
from torch import Tensor


def crop_and_flip(
    images: UInt8[Tensor, "B *S C"],
    masks: Bool[Tensor, "B *S"] | None,
    crop: int,
    flip: bool,
    generator: torch.Generator,
) -> tuple[UInt8[Tensor, "B *S C"], Bool[Tensor, "B *S"] | None]:
    """Pad every spatial axis by `crop` zeros on both sides and cut the old size out at random; mirror the last spatial
    axis of half of the samples. Every one of the (2 crop + 1)^d offsets is equally likely."""
    count, *size = images.shape[:-1]
    device = images.device
    index = [torch.arange(count, device=device).view(-1, *[1] * len(size))]
    for axis, length in enumerate(size):
        place = torch.arange(length, device=device).expand(count, length)
        if flip and axis == len(size) - 1:
            mirrored = torch.rand(count, 1, device=device, generator=generator) < 0.5
            place = torch.where(mirrored, length - 1 - place, place)
        place = place + torch.randint(2 * crop + 1, (count, 1), device=device, generator=generator)
        index.append(place.view(count, *[1] * axis, length, *[1] * (len(size) - 1 - axis)))
    around = [crop, crop] * len(size)
    images = F.pad(images, [0, 0, *around])[tuple(index)]
    return images, None if masks is None else F.pad(masks, around)[tuple(index)]
