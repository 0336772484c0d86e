"""Corruptions by weather. What falls or freezes is drawn on a grid of 32 pixels for the shorter side, and enlarged."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from smix.evaluation.corruptions.draws import Draws
from smix.evaluation.corruptions.filters import along_both, motion_blur, scale_of, zoom_matrix

GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""
ICE = (0.86, 0.94, 1.0)
"""Red, green and blue of frost where it is thickest."""


def snow(
    x: Float[Tensor, "B C H W"],
    draws: Draws,
    mean: float,
    deviation: float,
    zoom: float,
    threshold: float,
    radius: float,
    sigma: float,
    kept: float,
) -> Float[Tensor, "B C H W"]:
    """Flakes that fall within 45 degrees of the vertical, over a whitened image.

    Args:
        mean, deviation: Of the normal noise that flakes are made of.
        zoom: How much it is enlarged.
        threshold: Noise above it is a flake.
        radius, sigma: Of the motion blur of the flakes, in pixels.
        kept: Share of the image that is not whitened.
    """
    scale, (height, width) = scale_of(x), x.shape[-2:]
    rows, columns = round(height / scale), round(width / scale)
    flakes = mean + deviation * draws.normal("flakes", rows, columns)
    flakes = along_both(flakes, zoom_matrix(rows, zoom), zoom_matrix(columns, zoom))
    flakes = torch.where(flakes < threshold, 0.0, flakes).clamp(0, 1)[:, None]
    flakes = _resized(flakes, height, width)
    flakes = motion_blur(flakes, radius * scale, sigma * scale, 90 * draws.uniform("angle") - 135)
    grey = x
    if x.shape[1] == 3:
        grey = torch.tensordot(x, torch.tensor(GREY, device=x.device), dims=([1], [0]))[:, None]
    whitened = kept * x + (1 - kept) * torch.maximum(x, grey * 1.5 + 0.5)
    return whitened + flakes + flakes.flip((2, 3))


def frost(x: Float[Tensor, "B C H W"], draws: Draws, kept: float, thickness: float) -> Float[Tensor, "B C H W"]:
    """Ice on the lens: `kept` of the image and `thickness` of the ice. The ice is drawn (`ice`), not photographed."""
    scale, (height, width) = scale_of(x), x.shape[-2:]
    layer = _resized(ice(draws, round(2 * height / scale), round(2 * width / scale)), height, width)
    tint = torch.tensor(ICE if x.shape[1] == 3 else (sum(a * b for a, b in zip(ICE, GREY, strict=True)),))
    return kept * x + thickness * layer * tint.to(x.device)[:, None, None]


def ice(draws: Draws, height: int, width: int) -> Float[Tensor, "B 1 H W"]:
    """Needles at 60 degrees to each other that grow from the same seeds, denser where a cloudy layer is thick; in [0, 1]."""
    cover = plasma(draws, "cover", max(height, width), 2.2)[:, None, :height, :width]
    u = draws.uniform("seeds", 1, height, width)
    seeds = (u < 0.02 + 0.05 * cover) * 1.0
    first = 60 * draws.uniform("angle")
    arms = [motion_blur(seeds, 7, 4.5, first + turn) for turn in range(0, 360, 60)]
    needles = (torch.stack(arms).amax(0) * 6).clamp(max=1)
    return (0.1 + 0.6 * cover * cover + 0.6 * needles * (0.3 + 0.7 * cover)).clamp(0, 1)


def fog(x: Float[Tensor, "B C H W"], draws: Draws, thickness: float, decay: float) -> Float[Tensor, "B C H W"]:
    """A cloud of `thickness` times white over the image, which becomes darker so that its brightest value stays."""
    cloud = plasma(draws, "cloud", max(x.shape[-2:]), decay)[:, None, : x.shape[-2], : x.shape[-1]]
    brightest = x.amax((1, 2, 3), keepdim=True)
    return (x + thickness * cloud) * brightest / (brightest + thickness)


def plasma(draws: Draws, what: str, side: int, decay: float) -> Float[Tensor, "B side2 side2"]:
    """Random heights from 0 to 1 by the diamond-square algorithm, on a torus whose side is the next power of two: plasma_fractal
    of make_cifar_c.py. The random part of a midpoint falls by `decay` squared each time the step is halved.
    """
    side = 2 ** math.ceil(math.log2(side))
    # Every pixel is set once, so one field serves all steps.
    random = 2 * draws.uniform(what, side, side) - 1
    heights, step, wibble = torch.zeros_like(random), side, 100.0
    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        centres = corners + corners.roll(-1, 1)
        centres = (centres + centres.roll(-1, 2)) / 4 + wibble**2 * random[:, half::step, half::step]
        heights[:, half::step, half::step] = centres
        across = centres + centres.roll(1, 1) + corners + corners.roll(-1, 2)
        heights[:, ::step, half::step] = across / 4 + wibble**2 * random[:, ::step, half::step]
        along = centres + centres.roll(1, 2) + corners + corners.roll(-1, 1)
        heights[:, half::step, ::step] = along / 4 + wibble**2 * random[:, half::step, ::step]
        step, wibble = half, wibble / decay
    heights = heights - heights.amin((1, 2), keepdim=True)
    return heights / heights.amax((1, 2), keepdim=True)


def _resized(x: Float[Tensor, "B C h w"], height: int, width: int) -> Float[Tensor, "B C H W"]:
    if x.shape[-2:] == (height, width):
        return x
    return F.interpolate(x, (height, width), mode="bilinear", antialias=True)
