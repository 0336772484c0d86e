"""The 15 corruptions of CIFAR-C at its severities, computed for images of any size: "own corruptions, CIFAR-C severities".

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019. The
numbers are those of ImageNet-C/create_c/make_cifar_c.py in github.com/hendrycks/robustness, which are not those of ImageNet-C.
docs/robustness.md describes how the images differ from the published ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from smix.data.batches import Batches
from smix.errors import DataError, OptionError, unknown
from smix.evaluation.corruptions.blurs import defocus_blur, glass_blur, motion_blur, zoom_blur
from smix.evaluation.corruptions.digital import (
    brightness,
    contrast,
    elastic_transform,
    jpeg_compression,
    pixelate,
)
from smix.evaluation.corruptions.draws import Draws, as_index
from smix.evaluation.corruptions.noise import gaussian_noise, impulse_noise, shot_noise
from smix.evaluation.corruptions.weather import fog, frost, snow

LABEL = "own corruptions, CIFAR-C severities"
"""Name of these images in tables and files, to distinguish them from the published archives."""
SEVERITIES = (1, 2, 3, 4, 5)
MIN_SIDE = 28
"""Smallest side of an image, in pixels."""
CHUNK = 2**18
"""Number of values to corrupt at once: they stay in the processor's cache."""

Corruption = Callable[..., Float[Tensor, "B C H W"]]

CORRUPTIONS: dict[str, tuple[Corruption, tuple[tuple[float, ...], ...]]] = {
    "gaussian_noise": (gaussian_noise, ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,))),
    "shot_noise": (shot_noise, ((500,), (250,), (100,), (75,), (50,))),
    "impulse_noise": (impulse_noise, ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,))),
    "defocus_blur": (defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    "glass_blur": (glass_blur, ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))),
    "motion_blur": (motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    "zoom_blur": (zoom_blur, ((1.06,), (1.11,), (1.16,), (1.21,), (1.26,))),
    "snow": (
        snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    "frost": (frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),
    "fog": (fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    "brightness": (brightness, ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,))),
    "contrast": (contrast, ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,))),
    "elastic_transform": (
        elastic_transform,
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    "pixelate": (pixelate, ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,))),
    "jpeg_compression": (jpeg_compression, ((80,), (65,), (58,), (50,), (40,))),
}
"""Function of each corruption, and its parameters at severities 1 to 5. Lengths in pixels are for sides of 32, and grow with
the side.

>>> len(smix.evaluation.CORRUPTIONS)
15
"""

GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
"""Groups of corruptions, as in table 1 of the paper."""


def corrupt(
    images: UInt8[Tensor, "B H W C"],
    name: str,
    severity: int,
    index: Sequence[int] | Int[Tensor, "B"],
    seed: int = 0,
) -> UInt8[Tensor, "B H W C"]:
    """Return corrupted images, on the device of the images.

    Args:
        images: Images with 1 or 3 channels, channels last, and at least 28 pixels per side.
        name: One of `CORRUPTIONS`.
        severity: Severity from 0 to 5; 0 returns the images themselves.
        index: Index of each image in its data set. Random numbers are drawn by seed, name, severity and index, so that the other
            images of the batch do not matter.
        seed: Random seed.

    Raises:
        DataError: The images are too small or have the wrong type or number of channels, or there is not one index per image.
        OptionError: The corruption or the severity is unknown.

    >>> images = torch.full((2, 32, 32, 3), 128, dtype=torch.uint8)
    >>> corrupted = smix.evaluation.corrupt(images, "gaussian_noise", severity=3, index=range(2))
    >>> corrupted.shape, corrupted.dtype
    (torch.Size([2, 32, 32, 3]), torch.uint8)
    """
    if name not in CORRUPTIONS:
        raise unknown("corruption", name, CORRUPTIONS)
    if severity not in (0, *SEVERITIES):
        raise OptionError(f"corruption: expected a severity from 0 to 5, got {severity}; choose one of them")
    _check(images)
    rows = as_index(index, len(images), "corruption")
    if severity == 0 or not len(images):
        return images
    function, parameters = CORRUPTIONS[name]
    purpose, step = f"corruption/{name}/{severity}", max(1, CHUNK // images[0].numel())
    parts = []
    for first in range(0, len(images), step):
        part = images[first : first + step].movedim(-1, 1).contiguous().float() / 255
        draws = Draws(seed, purpose, rows[first : first + step], images.device)
        with torch.no_grad():
            corrupted = function(part, draws, *parameters[severity - 1])
        parts.append((corrupted.clamp(0, 1) * 255).round().byte().movedim(1, -1))
    return torch.cat(parts).contiguous()


def _check(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise DataError(
            f"corruption: expected images as uint8 (B, H, W, C), got {str(images.dtype).removeprefix('torch.')} of "
            f"{images.ndim} axes; corrupt them before they are normalised"
        )
    if images.shape[-1] not in (1, 3):
        raise DataError(
            f"corruption: expected images of 1 or 3 channels, got {images.shape[-1]}; pass grey or colour images, channels last"
        )
    if min(images.shape[1:3]) < MIN_SIDE:
        shown = " x ".join(map(str, images.shape[1:3]))
        raise DataError(
            f"corruption: expected sides of {MIN_SIDE} pixels or more, got {shown}; enlarge the images first"
        )


def corrupt_batches(
    batches: Batches, name: str, severity: int, index: Sequence[int] | Int[Tensor, "B"] | None = None, seed: int = 0
) -> Batches:
    """Return the same split with images that are corrupted before they are normalised; see `corrupt`."""
    index = range(len(batches)) if index is None else index
    return replace(batches, images=corrupt(batches.images, name, severity, index, seed))
