"""Corruptions by independent noise on each pixel."""

import torch
from jaxtyping import Float
from torch import Tensor

from smix.evaluation.corruptions.draws import Draws


def gaussian_noise(x: Float[Tensor, "B C H W"], draws: Draws, sigma: float) -> Float[Tensor, "B C H W"]:
    """Add normal noise of standard deviation `sigma` to every value."""
    return x + sigma * draws.normal("noise", *x.shape[1:])


def shot_noise(x: Float[Tensor, "B C H W"], draws: Draws, photons: float) -> Float[Tensor, "B C H W"]:
    """Replace values by photon counts; white has `photons` on average."""
    # Rates are computed on the CPU, where the counts are drawn: a GPU multiplies by 1 / 255 instead of dividing, and a rate that
    # differs in its last bit can consume another number of random values.
    levels = (x * 255).round().cpu() / 255
    return draws.poisson("photons", levels * photons) / photons


def impulse_noise(x: Float[Tensor, "B C H W"], draws: Draws, fraction: float) -> Float[Tensor, "B C H W"]:
    """Set this fraction of the values, in each channel independently, to 0 or 1 with equal probability."""
    u = draws.uniform("where", *x.shape[1:])
    x = torch.where(u < fraction / 2, 0.0, x)
    return torch.where((u >= fraction / 2) & (u < fraction), 1.0, x)
