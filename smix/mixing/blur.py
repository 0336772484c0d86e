"""Gaussian blur in any number of dimensions."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor


def blur(
    maps: Float[Tensor, "B 1 *S"], sigma: float, border: Literal["edge", "zero"] = "edge"
) -> Float[Tensor, "B 1 *S"]:
    """Return maps blurred by a Gaussian, one axis after the other, cut off at 3 sigma.

    Args:
        maps: Maps with any number of spatial dimensions.
        sigma: Standard deviation in pixels, 0 or more.
        border: Values beyond the border: `edge` repeats the outermost pixels, `zero` is 0.
    """
    sigma = max(sigma, 1e-3)  # already the identity; far smaller ones divide 0 by 0
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=maps.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    with torch.autocast(maps.device.type, enabled=False):
        for axis in range(2, maps.ndim):
            length = maps.shape[axis]
            source = torch.arange(length, device=maps.device)[:, None] + offsets
            weight = kernel.expand_as(source)
            if border == "zero":
                weight = weight * ((source >= 0) & (source < length))
            # A matrix product: for one channel many times faster than a convolution.
            matrix = torch.zeros(length, length, device=maps.device).scatter_add(1, source.clamp(0, length - 1), weight)
            maps = (maps.movedim(axis, -1) @ matrix.mT).movedim(-1, axis)
    return maps
