"""Boxes: where they lie, and the maps that show them. For all methods that cut, paste or blank one.

A box is given axis by axis by its centre and half of its width, in pixels: pixel p, from p to p + 1, is in it if
|p + 1/2 - centre| < half.
"""

import functools
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from smix.mixing.core import Batch

Edge = Literal["clip", "inside"]
Interval = tuple[Float[Tensor, "n"], Float[Tensor, "n"]]
"""Centre and half of the width along one axis."""


def around(centre: Float[Tensor, "n"], part: Float[Tensor, "n"], length: int) -> Interval:
    """Half of the width before and after the centre, each rounded down: `rand_bbox` of CutMix's code, where an odd width
    loses a pixel. What lies beyond the border is clipped by the map."""
    return centre, (part * (length / 2)).floor()


def anywhere(uniform: Float[Tensor, "n"], length: int | Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Any pixel of an axis, each as likely. (Below `length`, also in float32, for uniform draws below 1.)"""
    return (uniform * length).floor()


def within(uniform: Float[Tensor, "n"], width: Float[Tensor, "n"], length: int) -> Interval:
    """The whole box, of whole pixels, in the image; each place as likely."""
    half = width / 2
    return anywhere(uniform, length - width + 1) + half, half


def drawn_boxes(batch: Batch, part: Float[Tensor, "n"], edge: Edge) -> list[Interval]:
    """One box a draw; its sides are this part of each axis (before clipping)."""
    place = batch.uniform(len(batch.size))
    if edge == "inside":
        return [within(place[:, a], (part * length).floor(), length) for a, length in enumerate(batch.size)]
    return [around(anywhere(place[:, a], length), part, length) for a, length in enumerate(batch.size)]


def outside(boxes: list[Interval], size: tuple[int, ...]) -> Float[Tensor, "n 1 *S"]:
    """0 in the box, 1 outside: where any axis is outside."""
    axes = []
    for axis, ((centre, half), length) in enumerate(zip(boxes, size, strict=True)):
        pixel = torch.arange(0.5, length, device=centre.device)
        beside = ((pixel - centre[:, None]).abs() >= half[:, None]).float()
        axes.append(along_axis(beside, axis, len(size)))
    return functools.reduce(torch.maximum, axes)


def along_axis(values: Shaped[Tensor, "n L"], axis: int, axes: int) -> Shaped[Tensor, "n 1 *S"]:
    """Values along one axis, shaped to broadcast over the others."""
    return values.view(len(values), *[1] * (axis + 1), values.shape[1], *[1] * (axes - 1 - axis))
