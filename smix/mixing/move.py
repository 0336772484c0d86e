"""Move, scale and mirror images inside their frame: one antialiased resampler for any number of dimensions.

Separable, as a product with one small matrix an axis, so that every sample of a batch has its own scale and place without
a loop over samples.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smix.mixing.tensors import Tensors, parts, per_sample


@dataclass(frozen=True, eq=False)
class Move(Tensors):
    """A scaling and shift of images, axis by axis: the place u of an image comes to `scale` u + `offset`, in pixels; 0 is the outer edge of
    the first pixel. A negative scale mirrors. Beyond the image there is nothing: 0."""

    scale: Float[Tensor, "B D"]
    offset: Float[Tensor, "B D"]

    def __getitem__(self, rows: slice | Tensor) -> "Move":
        return self.each(lambda tensor: tensor[rows])

    def where(self, chosen: Tensor, other: "Move") -> "Move":
        """This move where `chosen` (B,), the other elsewhere."""
        pick = chosen[:, None]
        return Move(torch.where(pick, self.scale, other.scale), torch.where(pick, self.offset, other.offset))


torch.export.register_dataclass(Move)


def stay(count: int, axes: int, device: torch.device) -> Move:
    """The move that leaves everything where it is."""
    return Move(torch.ones(count, axes, device=device), torch.zeros(count, axes, device=device))


def moved(x: Float[Tensor, "B C *S"], move: Move, rows: Int[Tensor, "B"] | None = None) -> Float[Tensor, "B C *S"]:
    """The images `x`, or `x[rows]`, moved, in the type and memory format of x."""
    out = torch.empty_like(x)
    for part in parts(len(x), x[0:1].numel(), x.device):
        out[part] = resample(x[part] if rows is None else x[rows[part]], move[part])
    return out


def resample(x: Float[Tensor, "B C *S"], move: Move) -> Float[Tensor, "B C *S"]:
    """Each image moved: bilinear where it grows; where it shrinks the triangle widens to cover all that falls on a pixel,
    as in `interpolate(antialias=True)`. A constant image keeps its value wherever it is, and one that stays every bit."""
    wide = x if x.dtype == torch.float64 else x.float()
    with torch.autocast(x.device.type, enabled=False):
        for axis, length in enumerate(x.shape[2:]):
            matrix = _matrix(length, move.scale[:, axis], move.offset[:, axis]).to(wide.dtype)
            lines = wide.movedim(axis + 2, -1)
            wide = (lines.flatten(1, -2) @ matrix.mT).view(lines.shape).movedim(-1, axis + 2)
    # A matrix product may be rounded to fewer bits, as the user allowed torch to.
    stays = ((move.scale == 1) & (move.offset == 0)).all(1)
    return torch.where(per_sample(stays, x), x, wide.to(x.dtype))


def _matrix(length: int, scale: Float[Tensor, "B"], offset: Float[Tensor, "B"]) -> Float[Tensor, "B out in"]:
    """Return the weight that each pixel of an axis takes from each pixel of the image; rows sum to 1, or are 0 outside of the image."""
    centre = torch.arange(length, device=scale.device) + 0.5
    place = (centre - offset[:, None]) / scale[:, None]
    reach = (1 / scale.abs()).clamp(min=1)
    weight = (1 - (place[:, :, None] - centre).abs() / reach[:, None, None]).clamp(min=0)
    inside = (place >= 0) & (place <= length)
    return torch.where(inside[:, :, None], weight / weight.sum(2, keepdim=True).clamp(min=1e-6), 0.0)
