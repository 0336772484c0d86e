"""Filters of batches of images. A filter along one axis is applied as a matrix, the response of SciPy or Pillow to the unit vectors."""

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from scipy import ndimage
from torch import Tensor

MIN_WEIGHT = 1e-4
"""Kernel weights below this are omitted; each changes a value by at most 0.03 grey levels."""


def scale_of(images: Float[Tensor, "B C H W"]) -> float:
    """Return the shorter side divided by CIFAR's 32 pixels, the factor by which lengths in pixels are scaled."""
    return min(images.shape[-2:]) / 32


def along_both(
    images: Float[Tensor, "B *C H W"], rows: Float[Tensor, "h H"], columns: Float[Tensor, "w W"]
) -> Float[Tensor, "B *C h w"]:
    """Apply one matrix along the columns (axis H) and another along the rows (axis W)."""
    return rows.to(images.device) @ (images @ columns.to(images.device).T)


def gaussian_blur(
    images: Float[Tensor, "B *C H W"],
    sigma: float,
    border: Literal["nearest", "reflect"] = "nearest",
    truncate: float = 4.0,
) -> Float[Tensor, "B *C H W"]:
    """Blur by a Gaussian of `sigma` pixels, cut off at `truncate` sigmas, like skimage.filters.gaussian."""
    if int(truncate * sigma + 0.5) == 0:
        return images
    height, width = images.shape[-2:]
    return along_both(
        images, _gaussian_matrix(height, sigma, border, truncate), _gaussian_matrix(width, sigma, border, truncate)
    )


@lru_cache(64)
def _gaussian_matrix(side: int, sigma: float, border: str, truncate: float) -> Tensor:
    matrix = ndimage.gaussian_filter1d(np.eye(side), sigma, axis=0, mode=border, truncate=truncate)
    return torch.from_numpy(matrix).float()


@lru_cache(512)
def zoom_matrix(side: int, factor: float) -> Float[Tensor, "side side"]:
    """Return the matrix that enlarges the middle of an axis to its original length, as clipped_zoom of make_cifar_c.py does.

    Interpolation is linear; `factor` is 1 or more.
    """
    part = math.ceil(side / factor)
    first = (side - part) // 2
    zoomed = ndimage.zoom(np.eye(part), (factor, 1), order=1)
    trim = (len(zoomed) - side) // 2
    matrix = np.zeros((side, side), np.float32)
    matrix[:, first : first + part] = zoomed[trim : trim + side]
    return torch.from_numpy(matrix)


@lru_cache(64)
def box_matrix(side: int, other: int) -> Float[Tensor, "other side"]:
    """Return the matrix that resamples from `side` to `other` pixels, like Pillow with BOX."""
    resized = Image.fromarray(np.eye(side, dtype=np.float32)).resize((side, other), Image.Resampling.BOX)
    return torch.from_numpy(np.array(resized))


def disk(radius: float, sigma: float, scale: float) -> Float[Tensor, "k k"]:
    """Return the kernel of a disk of `radius` pixels, softened by a Gaussian of 3 x 3 pixels.

    It equals `disk` in make_cifar_c.py, for radii below 2. If `scale` is not 1, each pixel of the disk is a square of `scale`
    pixels, shared out by area (below a radius of 1 the disk is one point, and stays one), and sigma and the Gaussian's
    cut-off are scaled too.
    """
    grid = np.arange(-1, 2)
    points = (grid[:, None] ** 2 + grid**2 <= radius**2).astype(np.float64)
    points /= points.sum()
    cutoff = math.ceil(scale)
    reach = math.ceil(1.5 * scale) + cutoff
    pixels = np.arange(-reach, reach + 1)
    if radius < 1:
        shared = (pixels[:, None] == 0) * (grid == 0.0)
    else:
        low = np.maximum(pixels[:, None] - 0.5, (grid - 0.5) * scale)
        high = np.minimum(pixels[:, None] + 0.5, (grid + 0.5) * scale)
        shared = np.clip(high - low, 0, None) / scale
    weights = np.exp(-(np.arange(-cutoff, cutoff + 1) ** 2) / (2 * (sigma * scale) ** 2))
    kernel = shared @ points @ shared.T
    for axis in (0, 1):
        kernel = ndimage.convolve1d(kernel, weights / weights.sum(), axis, mode="constant")
    return torch.from_numpy(kernel).float()


def convolve(images: Float[Tensor, "B C H W"], kernel: Float[Tensor, "k k"]) -> Float[Tensor, "B C H W"]:
    """Convolve images with a symmetric kernel; beyond the border the image is mirrored at its outermost pixels."""
    (height, width), reach = images.shape[-2:], len(kernel) // 2
    padded, out = F.pad(images, [reach] * 4, mode="reflect"), torch.zeros_like(images)
    for y, x in (kernel >= MIN_WEIGHT).nonzero().tolist():
        out.add_(padded[..., y : y + height, x : x + width], alpha=kernel[y, x].item())
    return out


def motion_blur(
    images: Float[Tensor, "B C H W"], radius: float, sigma: float, degrees: Float[Tensor, "B"]
) -> Float[Tensor, "B C H W"]:
    """Blur by half a Gaussian along one direction per image, as MotionBlurImage of ImageMagick does.

    The Gaussian has a standard deviation of `sigma` pixels and is cut off at 2 ceil(`radius`). Images are sampled at integer
    positions, without interpolation, and edge pixels are repeated beyond the border.
    """
    weights = torch.exp(-(torch.arange(2 * math.ceil(radius) + 1) ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum())[weights / weights.sum() >= MIN_WEIGHT]
    steps = torch.arange(len(weights))
    angles = torch.deg2rad(degrees.double().cpu())[:, None]
    down, right = (torch.ceil(steps * part - 0.5).long() for part in (angles.sin(), angles.cos()))
    (height, width), reach = images.shape[-2:], len(weights) - 1
    padded = F.pad(images, [reach] * 4, mode="replicate")
    out, pitch = torch.zeros_like(images), 2 * reach + 1
    for tap, weight in enumerate(weights.tolist()):
        # Only few offsets occur at a tap, so all images that share one are read at once.
        offsets = (down[:, tap] + reach) * pitch + right[:, tap] + reach
        for offset in sorted(set(offsets.tolist())):
            y, x = divmod(offset, pitch)
            rows = (offsets == offset).nonzero()[:, 0].to(images.device)
            out.index_add_(0, rows, padded[rows, :, y : y + height, x : x + width], alpha=weight)
    return out
