"""Corruptions that change each pixel by itself, at random."""

import torch
from jaxtyping import Float
from torch import Tensor

from smix.evaluation.corruptions.draws import Draws


def gaussian_noise(x: Float[Tensor, "B C H W"], draws: Draws, sigma: float) -> Float[Tensor, "B C H W"]:
    """Normal noise of standard deviation `sigma` on every value."""
    return x + sigma * draws.normal("noise", *x.shape[1:])


def shot_noise(x: Float[Tensor, "B C H W"], draws: Draws, photons: float) -> Float[Tensor, "B C H W"]:
    """Counts of photons, of which white has `photons` on average."""
    # From the grey levels, on the CPU, where the counts are drawn: a GPU multiplies by 1 / 255 instead of dividing, and a rate that
    # differs in its last bit can use up other random numbers.
    levels = (x * 255).round().cpu() / 255
    return draws.poisson("photons", levels * photons) / photons


def impulse_noise(x: Float[Tensor, "B C H W"], draws: Draws, share: float) -> Float[Tensor, "B C H W"]:
    """This share of the values, each channel for itself, becomes 0 or 1 with equal odds."""
    u = draws.uniform("where", *x.shape[1:])
    x = torch.where(u < share / 2, 0.0, x)
    return torch.where((u >= share / 2) & (u < share), 1.0, x)
