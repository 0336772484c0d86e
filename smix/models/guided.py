"""The guided filter, which moves the edges of a map to those of an image (He et al., 2013), also from a smaller size (He and Sun, 2015)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

EPSILON = 1e-4
"""Regularisation, for images of values from 0 to 1."""


def guided_filter(
    maps: Float[Tensor, "B h w"],
    images: Float[Tensor, "B 3 h w"],
    radius: int,
    full: Float[Tensor, "B 3 H W"] | None = None,
    epsilon: float = EPSILON,
) -> Float[Tensor, "B _ _"]:
    """Return maps as locally linear functions of the colours of images.

    Args:
        maps: Values from 0 to 1.
        images: Images of the same size, of values from 0 to 1.
        radius: Radius of the square windows in pixels.
        full: The images at a larger size. None: the maps keep their size.
        epsilon: Regularisation; a small one follows faint edges.

    Returns:
        The filtered maps, from 0 to 1, at the size of `full`.
    """
    red, green, blue = images.unbind(1)
    products = [red * red, red * green, red * blue, green * green, green * blue, blue * blue]
    planes = torch.cat([images, images * maps[:, None], torch.stack([*products, maps], 1)], 1)
    mean = _box(planes, radius)
    colour, value = mean[:, :3], mean[:, 12]
    covariance = mean[:, 3:6] - colour * value[:, None]
    r, g, b = colour.unbind(1)
    rr, gg, bb = mean[:, 6] - r * r + epsilon, mean[:, 9] - g * g + epsilon, mean[:, 11] - b * b + epsilon
    rg, rb, gb = mean[:, 7] - r * g, mean[:, 8] - r * b, mean[:, 10] - g * b
    # The inverse of a symmetric 3x3 matrix; solving one system for each pixel is ten times slower.
    adjugate = [
        gg * bb - gb * gb,
        rb * gb - rg * bb,
        rg * gb - rb * gg,
        rr * bb - rb * rb,
        rb * rg - rr * gb,
        rr * gg - rg * rg,
    ]
    determinant = rr * adjugate[0] + rg * adjugate[1] + rb * adjugate[2]
    c, d, e = covariance.unbind(1)
    slope = (
        torch.stack(
            [
                adjugate[0] * c + adjugate[1] * d + adjugate[2] * e,
                adjugate[1] * c + adjugate[3] * d + adjugate[4] * e,
                adjugate[2] * c + adjugate[4] * d + adjugate[5] * e,
            ],
            1,
        )
        / determinant[:, None]
    )
    offset = value - (slope * colour).sum(1)
    lines = _box(torch.cat([slope, offset[:, None]], 1), radius)
    if full is not None:
        lines, images = F.interpolate(lines, full.shape[2:], mode="bilinear"), full
    return ((lines[:, :3] * images).sum(1) + lines[:, 3]).clamp(0, 1)


def _box(planes: Float[Tensor, "B C h w"], radius: int) -> Float[Tensor, "B C h w"]:
    """Return the mean over square windows, of the part inside the image. Products with matrices take a third of the time of pooling."""
    height, width = planes.shape[2:]
    return _windows(height, radius, planes) @ (planes @ _windows(width, radius, planes).T)


def _windows(length: int, radius: int, like: Tensor) -> Float[Tensor, "n n"]:
    """Return the matrix that takes the mean over windows along an axis."""
    places = torch.arange(length, device=like.device)
    inside = ((places[:, None] - places).abs() <= radius).to(like.dtype)
    return inside / inside.sum(1, keepdim=True)
