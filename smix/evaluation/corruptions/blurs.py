"""Corruptions by blur."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smix.evaluation.corruptions.draws import Draws
from smix.evaluation.corruptions.filters import convolve, disk, gaussian_blur, scale_of, zoom_matrix
from smix.evaluation.corruptions.filters import motion_blur as blur_along


def defocus_blur(x: Float[Tensor, "B C H W"], draws: Draws, radius: float, softness: float) -> Float[Tensor, "B C H W"]:
    """Blur by a disk of `radius` pixels, softened by a Gaussian of `softness` pixels."""
    return convolve(x, disk(radius, softness, scale_of(x)))


def glass_blur(
    x: Float[Tensor, "B C H W"], draws: Draws, sigma: float, reach: int, rounds: int
) -> Float[Tensor, "B C H W"]:
    """Replace each pixel by one at most `reach` pixels away, `rounds` times, between two Gaussian blurs of `sigma` pixels.

    make_cifar_c.py is meant to swap pixels but assigns views, so that the first pixel is overwritten and the second
    stays. Its loop moves away from the pixels that it reads, so at `reach` 1 it reads only unchanged pixels, and one
    gather does the same.
    """
    scale = scale_of(x)
    reach = max(1, round(reach * scale))
    x = (gaussian_blur(x, sigma * scale) * 255).round() / 255
    count, channels, height, width = x.shape
    rows, columns = torch.arange(height, device=x.device)[:, None], torch.arange(width, device=x.device)
    inside = (rows > reach) & (rows <= height - reach) & (columns > reach) & (columns <= width - reach)
    for round_ in range(rounds):
        shifts = (draws.uniform(f"shifts {round_}", 2, height, width) * 2 * reach).long() - reach
        dy, dx = (shifts * inside).unbind(1)
        source = ((rows + dy) * width + columns + dx).view(count, 1, -1).expand(-1, channels, -1)
        x = x.flatten(2).gather(2, source).view_as(x)
    return gaussian_blur(x, sigma * scale)


def motion_blur(x: Float[Tensor, "B C H W"], draws: Draws, radius: float, sigma: float) -> Float[Tensor, "B C H W"]:
    """Blur along a random direction within 45 degrees of the horizontal, by about `sigma` pixels."""
    scale = scale_of(x)
    return blur_along(x, radius * scale, sigma * scale, 90 * draws.uniform("angle") - 45)


def zoom_blur(x: Float[Tensor, "B C H W"], draws: Draws, end: float) -> Float[Tensor, "B C H W"]:
    """Average the image and its enlargements by 1, 1.01, ... up to `end` (included or not, as in numpy.arange)."""
    height, width = x.shape[-2:]
    factors = np.arange(1, end, 0.01).tolist()
    # All factors at once: along W as (W, n W), along H as (H, H n).
    along = torch.cat([zoom_matrix(width, factor) for factor in factors]).to(x.device)
    down = torch.stack([zoom_matrix(height, factor) for factor in factors], -1).flatten(1).to(x.device)
    zoomed: Tensor = down @ (x @ along.T).reshape(*x.shape[:-1], len(factors), width).flatten(-3, -2)
    return (x + zoomed) / (len(factors) + 1)
