"""Corruptions by weather. Snow and frost are generated on a grid whose shorter side is 32 or 64 pixels, and then resized."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from smix.evaluation.corruptions.draws import Draws
from smix.evaluation.corruptions.filters import along_both, gaussian_blur, motion_blur, scale_of, zoom_matrix

GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""
ICE = (0.86, 0.94, 1.0)
"""Red, green and blue of the thickest frost."""


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
    """Add snowflakes that fall within 45 degrees of the vertical to a whitened image.

    Args:
        x: Images in [0, 1].
        draws: Random numbers.
        mean: Mean of the normal noise that becomes flakes.
        deviation: Standard deviation of the noise.
        zoom: Factor that enlarges the noise.
        threshold: Noise above it is a flake.
        radius: Radius of the motion blur of the flakes, in pixels.
        sigma: Standard deviation of the motion blur, in pixels.
        kept: Weight of the image that is not whitened, in [0, 1].
    """
    scale, (height, width) = scale_of(x), x.shape[-2:]
    rows, columns = round(height / scale), round(width / scale)
    flakes = mean + deviation * draws.normal("flakes", rows, columns)
    flakes = along_both(flakes, zoom_matrix(rows, zoom), zoom_matrix(columns, zoom))
    flakes = torch.where(flakes < threshold, 0.0, flakes).clamp(0, 1)[:, None]
    if scale != 1:
        # Hard squares: flakes with soft edges would be fainter in larger images.
        flakes = F.interpolate(flakes, (height, width), mode="nearest-exact" if scale > 1 else "area")
    flakes = motion_blur(flakes, radius * scale, sigma * scale, 90 * draws.uniform("angle") - 135)
    grey = x
    if x.shape[1] == 3:
        grey = torch.tensordot(x, torch.tensor(GREY, device=x.device), dims=([1], [0]))[:, None]
    whitened = kept * x + (1 - kept) * torch.maximum(x, grey * 1.5 + 0.5)
    return whitened + flakes + flakes.flip((2, 3))


def frost(x: Float[Tensor, "B C H W"], draws: Draws, kept: float, thickness: float) -> Float[Tensor, "B C H W"]:
    """Add frost: `kept` times the image plus `thickness` times a layer that `frost_layer` generates instead of a photograph."""
    scale, (height, width) = scale_of(x), x.shape[-2:]
    layer = frost_layer(draws, round(2 * height / scale), round(2 * width / scale))
    layer = F.interpolate(layer, (height, width), mode="bilinear", antialias=True)
    tint = torch.tensor(ICE if x.shape[1] == 3 else (sum(a * b for a, b in zip(ICE, GREY, strict=True)),))
    return kept * x + thickness * layer * tint.to(x.device)[:, None, None]


def frost_layer(draws: Draws, height: int, width: int) -> Float[Tensor, "B 1 H W"]:
    """Return a layer of frost with values in [0, 1], 0.45 on average.

    Needles at 60 degrees to each other grow from common seeds over a cloudy layer, and are denser where it is thick.
    """
    cover = plasma(draws, "cover", max(height, width), 1.7)[:, None, :height, :width]
    seeds = draws.uniform("seeds", 1, height, width) < 0.022 * cover
    needles = gaussian_blur(_needles(seeds, 60 * draws.uniform("angle")), 1)
    return (0.6 * cover * cover + 0.8 * needles * (0.4 + 0.6 * cover)).clamp(0, 1)


def _needles(seeds: Bool[Tensor, "B 1 H W"], degrees: Float[Tensor, "B"]) -> Float[Tensor, "B 1 H W"]:
    """Return six arms of about 10 pixels from each seed, the first at `degrees`; where they cross, the brightest counts."""
    reach = 18
    seeds = F.pad(seeds, [reach] * 4)  # no arm leaves the canvas
    image, _, row, column = seeds.nonzero().unbind(1)
    height, width = seeds.shape[-2:]
    steps = torch.arange(reach, device=seeds.device)
    angles = torch.deg2rad(degrees[:, None] + 60 * torch.arange(6, device=seeds.device))[..., None]
    offsets = (steps * angles.sin()).round().long() * width + (steps * angles.cos()).round().long()
    places = ((image * height + row) * width + column)[:, None, None] + offsets[image]
    brightness = (1.6 * torch.exp(-((steps / 7) ** 2) / 2)).clamp(max=1).expand(places.shape)
    needles = torch.zeros(seeds.numel(), device=seeds.device)
    needles.scatter_reduce_(0, places.flatten(), brightness.flatten(), "amax")
    return needles.view_as(seeds)[..., reach:-reach, reach:-reach]


def fog(x: Float[Tensor, "B C H W"], draws: Draws, thickness: float, decay: float) -> Float[Tensor, "B C H W"]:
    """Add a random cloud scaled by `thickness`, then scale the sum so that the brightest value cannot rise."""
    cloud = plasma(draws, "cloud", max(x.shape[-2:]), decay)[:, None, : x.shape[-2], : x.shape[-1]]
    brightest = x.amax((1, 2, 3), keepdim=True)
    return (x + thickness * cloud) * brightest / (brightest + thickness)


def plasma(draws: Draws, name: str, side: int, decay: float) -> Float[Tensor, "B side2 side2"]:
    """Return random heights from 0 to 1 by the diamond-square algorithm, as plasma_fractal of make_cifar_c.py does.

    The side of the torus is the next power of two. The random part of a midpoint falls by `decay` squared each time the step is
    halved.
    """
    side = 2 ** math.ceil(math.log2(side))
    # Every pixel is set once, so one field serves all steps.
    random = 2 * draws.uniform(name, side, side) - 1
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
