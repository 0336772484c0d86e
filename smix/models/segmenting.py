"""Segment images of any size: at the size that a segmenter sees best, with their mirror images, and with edges that follow colours."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from smix.models.guided import guided_filter
from smix.models.segmenter import STRIDE, normalise

SMALL, WORKING_SMALL, WORKING = 40, 48, 64
"""Images whose longer side is at most `SMALL` pixels are segmented at `WORKING_SMALL`, larger ones at `WORKING` (docs/segmenter.md)."""
WINDOW = 16
"""The radius of the guided filter is the longer side of the map divided by this."""

Forward = Callable[[Float[Tensor, "B 3 h w"]], Tensor]
"""Function that returns logits (B, 1, h, w) of images that are normalised and whose sides are multiples of 8."""


def segment(
    forward: Forward, images: Float[Tensor, "B 3 h w"], working: int | None = None
) -> tuple[Float[Tensor, "B h w"], Float[Tensor, "2 B _ _"]]:
    """Return the probability of the object in each pixel.

    Args:
        forward: The network.
        images: Values from 0 to 255.
        working: Longer side in pixels that images are resized to. None: `working_side`.

    Returns:
        The maps, and those of the images and of their mirror images before the edges were refined, at the working size, each in the
        image's own order.
    """
    size = (images.shape[2], images.shape[3])
    longer = max(size)
    small_size = scaled_size(size, working or working_side(longer))
    small = images
    if small_size != size:
        small = F.interpolate(images, small_size, mode="bicubic", antialias=True).clamp_(0, 255)
    normalised = normalise(small)
    views = torch.stack([_maps(forward, normalised), _maps(forward, normalised.flip(-1)).flip(-1)])
    mean = views.mean(0)
    if longer > max(small_size):
        return guided_filter(mean, small / 255, _radius(max(small_size)), images / 255), views
    if small_size != size:
        mean = F.interpolate(mean[:, None], size, mode="bilinear", antialias=True)[:, 0]
    return guided_filter(mean, images / 255, _radius(longer)), views


def _maps(forward: Forward, images: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B h w"]:
    height, width = images.shape[2:]
    return forward(pad(images))[:, 0, :height, :width].float().sigmoid()


def _radius(longer: int) -> int:
    return max(1, round(longer / WINDOW))


def working_side(longer: int) -> int:
    """Return the longer side at which an image whose longer side has `longer` pixels is segmented best."""
    return WORKING_SMALL if longer <= SMALL else WORKING


def scaled_size(size: tuple[int, int], longer: int) -> tuple[int, int]:
    """Return the size with the same aspect ratio, to the pixel, whose longer side is `longer`."""
    scale = longer / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def pad(images: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B 3 H W"]:
    """Pad images at the bottom and on the right to multiples of 8 pixels by reflection; an edge that is too short is repeated."""
    height, width = images.shape[2:]
    down, right = -height % STRIDE, -width % STRIDE
    if not down and not right:
        return images
    mode = "reflect" if down < height and right < width else "replicate"
    return F.pad(images, (0, right, 0, down), mode=mode)
