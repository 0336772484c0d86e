"""Move, scale and mirror images inside their frame by an antialiased resampler for any number of dimensions.

The resampler is separable, a product with one small matrix per axis, so that every sample of a batch can have its own scale and
position without a loop over samples.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smix.mixing.tensors import Tensors, batch_slices, per_sample
from smix.reprs import short_repr


@dataclass(frozen=True, eq=False)
class Move(Tensors):
    """Scaling and shift of each image of a batch, axis by axis.

    Position u of an image moves to `scale` u + `offset`, in pixels; 0 is the outer edge of the first pixel. A negative scale
    mirrors. Beyond the image all values are 0.

    >>> move = smix.Move(scale=torch.tensor([[0.5, 0.5]]), offset=torch.tensor([[0.0, 4.0]]))  # into the top right quarter
    >>> plan = smix.Plan(
    ...     torch.tensor([0]), torch.zeros(1, 1, 8, 8), torch.ones(1), torch.tensor([True]), torch.tensor([False]),
    ...     partner_move=move,
    ... )
    >>> plan.blend(torch.ones(1, 3, 8, 8))[0, 0, :, 4].tolist()
    [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """

    scale: Float[Tensor, "B D"]
    """Factor of the size along each axis."""
    offset: Float[Tensor, "B D"]
    """Shift along each axis, in pixels, after scaling."""
    __repr__ = short_repr()

    def __getitem__(self, rows: slice | Tensor) -> "Move":
        """Return the moves of these rows of the batch."""
        return self.map(lambda tensor: tensor[rows])

    def where(self, chosen: Bool[Tensor, "B"], other: "Move") -> "Move":
        """Return this move where `chosen` is True and the other elsewhere, like torch.where."""
        pick = chosen[:, None]
        return Move(torch.where(pick, self.scale, other.scale), torch.where(pick, self.offset, other.offset))


torch.export.register_dataclass(Move)


def no_move(count: int, axes: int, device: torch.device) -> Move:
    """Return the move that leaves everything in place."""
    return Move(torch.ones(count, axes, device=device), torch.zeros(count, axes, device=device))


def apply_move(x: Float[Tensor, "B C *S"], move: Move, rows: Int[Tensor, "B"] | None = None) -> Float[Tensor, "B C *S"]:
    """Return the images `x`, or `x[rows]`, moved, in the type and memory format of x."""
    out = torch.empty_like(x)
    for part in batch_slices(len(x), x[0:1].numel(), x.device):
        out[part] = resample(x[part] if rows is None else x[rows[part]], move[part])
    return out


def resample(x: Float[Tensor, "B C *S"], move: Move) -> Float[Tensor, "B C *S"]:
    """Return the moved images.

    Enlarging interpolates linearly. Shrinking averages over all pixels that fall on a target pixel, by a wider triangle filter, as
    torch.nn.functional.interpolate does with `antialias=True`. A constant image keeps its value wherever it moves, and an image that
    stays in place is returned unchanged, bit for bit.
    """
    precise = x if x.dtype == torch.float64 else x.float()
    with torch.autocast(x.device.type, enabled=False):
        for axis, length in enumerate(x.shape[2:]):
            matrix = _matrix(length, move.scale[:, axis], move.offset[:, axis]).to(precise.dtype)
            lines = precise.movedim(axis + 2, -1)
            precise = (lines.flatten(1, -2) @ matrix.mT).view(lines.shape).movedim(-1, axis + 2)
    # Matrix products may be less precise than float32, for example with TF32, and would change images that stay in place.
    in_place = ((move.scale == 1) & (move.offset == 0)).all(1)
    return torch.where(per_sample(in_place, x), x, precise.to(x.dtype))


def _matrix(length: int, scale: Float[Tensor, "B"], offset: Float[Tensor, "B"]) -> Float[Tensor, "B out in"]:
    """Return the resampling matrix of one axis, with a row per target pixel and a column per source pixel.

    Rows sum to 1; rows of target pixels outside the moved image are 0.
    """
    centre = torch.arange(length, device=scale.device) + 0.5
    source = (centre - offset[:, None]) / scale[:, None]
    reach = (1 / scale.abs()).clamp(min=1)
    weight = (1 - (source[:, :, None] - centre).abs() / reach[:, None, None]).clamp(min=0)
    inside = (source >= 0) & (source <= length)
    return torch.where(inside[:, :, None], weight / weight.sum(2, keepdim=True).clamp(min=1e-6), 0.0)
