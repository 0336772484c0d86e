"""Boxes and their maps, for all methods that cut, paste or blank one.

A box is the list of its intervals along each axis. Pixel p, from p to p + 1, is in it if |p + 1/2 - centre| < half width.
"""

import functools
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from smix.mixing.core import MixBatch

Edge = Literal["clip", "inside"]
Interval = tuple[Float[Tensor, "n"], Float[Tensor, "n"]]
"""Centre and half width along one axis, in pixels."""


def centred_interval(centre: Float[Tensor, "n"], fraction: Float[Tensor, "n"], length: int) -> Interval:
    """Return an interval that covers a fraction of an axis around its centre; the map clips it at the border.

    Half of the width is rounded down, as in `rand_bbox` of CutMix's code, so that an odd width loses a pixel.
    """
    return centre, (fraction * (length / 2)).floor()


def random_pixel(uniform: Float[Tensor, "n"], length: int | Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Return a pixel of an axis, each with equal probability. For uniform draws below 1 it is below `length`, also in float32."""
    return (uniform * length).floor()


def inside_interval(uniform: Float[Tensor, "n"], width: Float[Tensor, "n"], length: int) -> Interval:
    """Return an interval of whole pixels inside the image, each position with equal probability."""
    half = width / 2
    return random_pixel(uniform, length - width + 1) + half, half


def random_boxes(batch: MixBatch, fraction: Float[Tensor, "n"], edge: Edge) -> list[Interval]:
    """Return one box per draw, whose sides are this fraction of each axis before it is clipped."""
    place = batch.uniform(len(batch.size))
    if edge == "inside":
        return [
            inside_interval(place[:, axis], (fraction * length).floor(), length)
            for axis, length in enumerate(batch.size)
        ]
    return [
        centred_interval(random_pixel(place[:, axis], length), fraction, length)
        for axis, length in enumerate(batch.size)
    ]


def outside(boxes: list[Interval], size: tuple[int, ...]) -> Float[Tensor, "n 1 *S"]:
    """Return maps that are 0 inside the boxes and 1 outside of them."""
    axes = []
    for axis, ((centre, half), length) in enumerate(zip(boxes, size, strict=True)):
        pixel = torch.arange(0.5, length, device=centre.device)
        excluded = ((pixel - centre[:, None]).abs() >= half[:, None]).float()
        axes.append(along_axis(excluded, axis, len(size)))
    return functools.reduce(torch.maximum, axes)


def along_axis(values: Shaped[Tensor, "n L"], axis: int, ndim: int) -> Shaped[Tensor, "n 1 *S"]:
    """Return values along one of `ndim` axes, shaped to broadcast over the others."""
    return values.view(len(values), *[1] * (axis + 1), values.shape[1], *[1] * (ndim - 1 - axis))
