"""Gaussian blur in any number of dimensions."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def blur(maps: Float[Tensor, "B 1 *S"], sigma: float) -> Float[Tensor, "B 1 *S"]:
    """Gaussian blur, one axis after the other; beyond the border the map goes on as at its edge."""
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=maps.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, -1)
    for axis in range(2, maps.ndim):
        lines = maps.movedim(axis, -1)
        flat = F.pad(lines.reshape(-1, 1, lines.shape[-1]), (radius, radius), mode="replicate")
        maps = F.conv1d(flat, kernel).view(lines.shape).movedim(-1, axis)
    return maps
