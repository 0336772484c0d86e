"""ObjectPaste: cut out the object of an image, scale it, and paste it on a partner image.

The placement that the project brief of the SMix report asks for, by the rules of copy-paste augmentation for detectors: Ghiasi et
al., "Simple copy-paste is a strong data augmentation method for instance segmentation", CVPR 2021, arXiv:2012.07177
(scale, flip), and Dwibedi et al., "Cut, paste and learn", ICCV 2017, arXiv:1708.01642 (limits of the overlap of objects).
x_mix = M' x' + (1 - M') x_partner, where x' and M' are the image and its mask, moved. Differences from both: one object per
sample, entirely inside the frame, antialiased; the position that avoids or covers the partner's object is found exactly,
among all positions, where they try a few at random.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.box import along_axis, outside, random_pixel
from smix.mixing.core import MapMethod, MixBatch
from smix.mixing.move import Move, apply_move
from smix.mixing.plan import Plan
from smix.mixing.tensors import batch_slices, unravel


@dataclass(frozen=True, repr=False)
class ObjectPaste(MapMethod):
    """Paste the object of each image, scaled and mirrored, at a random position in its partner (after Ghiasi et al., CVPR
    2021).

    The object is where its mask is above 0: masks from a network need a threshold first. An empty mask pastes nothing and gives the
    partner alone, with share 0; see `Fallback`.

    Args:
        scale: Smallest and largest factor of the object's size, above 0. An object that would not fit in the frame is pasted as
            large as fits.
        flip: Probability that the object is mirrored left to right (along the last axis), in [0, 1].
        overlap: `ignore`: any position inside the frame. `avoid`: the position that hides least of the partner's object;
            `cover`: most. Positions within half a pixel of the best are equally likely.
        labels: Label rule, `area` or `visible`; see `MapMethod`.

    >>> x, y = torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    >>> masks = torch.zeros(4, 32, 32, dtype=torch.bool)
    >>> masks[:, 8:24, 8:24] = True
    >>> method = smix.ObjectPaste(scale=(0.5, 0.5), overlap="avoid")
    >>> mixed, target = method(x, y, masks=masks, generator=torch.Generator().manual_seed(0))
    >>> bool(target.share[target.mixed].max() <= 8 * 8 / (32 * 32))
    True
    """

    scale: tuple[float, float] = (0.5, 1.0)
    flip: float = 0.0
    overlap: Literal["ignore", "avoid", "cover"] = "ignore"

    def check(self) -> None:
        if not (
            isinstance(self.scale, tuple) and len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1] < math.inf
        ):
            raise OptionError(f"objectpaste: expected scale as a pair 0 < smallest <= largest, got {self.scale}")
        if not 0 <= self.flip <= 1:
            raise OptionError(f"objectpaste: expected flip as a probability in [0, 1], got {self.flip}")

    @property
    def needs_masks(self) -> bool:
        return True

    def draw(self, batch: MixBatch) -> Plan:
        assert batch.masks is not None
        first, last = extent(batch.masks)
        size = last - first
        low, high = self.scale
        factor = (low + (high - low) * batch.uniform()).expand(len(batch.x))
        for axis, length in enumerate(batch.size):
            factor = factor.minimum(length / size[:, axis])
        # Slightly less before rounding up: a factor of 3 / 7 must not make 7 pixels into 4.
        sides = [
            (factor * size[:, axis] - 1e-3).ceil().clamp(min=1, max=length) for axis, length in enumerate(batch.size)
        ]
        scale = factor[:, None].expand_as(first).clone()
        mirrored = (batch.uniform() < self.flip).expand(len(batch.x))
        scale[:, -1] = torch.where(mirrored, -factor, factor)
        # The object is centred in its box of whole pixels, so that one smaller than a pixel is not lost.
        slack = torch.stack(sides, 1) - factor[:, None] * size
        to_corner = slack / 2 - scale * torch.where(scale > 0, first, last)
        if self.overlap == "ignore":
            place = batch.uniform(len(batch.size)).expand(len(batch.x), -1)
            corner = [random_pixel(place[:, axis], length - sides[axis] + 1) for axis, length in enumerate(batch.size)]
        else:
            corner = self.best_corners(batch, Move(scale, to_corner), sides)
        move = Move(scale, to_corner + torch.stack(corner, 1))
        return self.plan_maps(batch, paste(batch.masks, move, corner, sides), own_move=move)

    def best_corners(
        self, batch: MixBatch, to_corner: Move, sides: list[Float[Tensor, "B"]]
    ) -> list[Float[Tensor, "B"]]:
        """Return the offset along each axis that hides least or most of the partner's object, in pixels."""
        assert batch.masks is not None
        noise = batch.uniform(*batch.size).expand(len(batch.x), *batch.size)
        corners = []
        for part in batch_slices(len(batch.x), math.prod(batch.size), batch.x.device):
            widths = [width[part] for width in sides]
            zero = [torch.zeros_like(width) for width in widths]
            in_corner = paste(batch.masks[part], to_corner[part], zero, widths)
            hidden = overlaps(in_corner, batch.masks[batch.partner[part]])
            score = -hidden if self.overlap == "avoid" else hidden
            room = [length - width for length, width in zip(batch.size, widths, strict=True)]
            corners.append(best_corner(score, room, noise[part]))
        return [torch.cat(offsets) for offsets in zip(*corners, strict=True)]


def extent(masks: Float[Tensor, "B 1 *S"]) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
    """Return the first pixel of each mask, and the one after its last, along every axis; the whole image if it is empty."""
    bounds = []
    for axis in range(2, masks.ndim):
        length = masks.shape[axis]
        others = [other for other in range(1, masks.ndim) if other != axis]
        occupied = (masks.amax(others) > 0).float()
        pixel = torch.arange(length, device=masks.device, dtype=torch.float32)
        first = torch.where(occupied > 0, pixel, float(length)).amin(1)
        last = (occupied * (pixel + 1)).amax(1)
        empty = last == 0
        bounds.append((torch.where(empty, 0.0, first), torch.where(empty, float(length), last)))
    return torch.stack([first for first, _ in bounds], 1), torch.stack([last for _, last in bounds], 1)


def paste(
    masks: Float[Tensor, "B 1 *S"], move: Move, corner: list[Float[Tensor, "B"]], sides: list[Float[Tensor, "B"]]
) -> Float[Tensor, "B 1 *S"]:
    """Return the moved masks, cut off at the object's box, so that resampling gives the same in the middle and at the border."""
    box = [(start + width / 2, width / 2) for start, width in zip(corner, sides, strict=True)]
    return torch.where(outside(box, tuple(masks.shape[2:])) > 0, 0.0, apply_move(masks, move)).clamp(0, 1)


def overlaps(in_corner: Float[Tensor, "B 1 *S"], objects: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B *S"]:
    """Return the number of pixels of `objects` that the masks `in_corner` hide if moved by each offset.

    It is a circular correlation, valid for offsets that keep the masks inside the frame.
    """
    axes, size = tuple(range(1, objects.ndim - 1)), objects.shape[2:]
    pasted, hidden = (torch.fft.rfftn(maps[:, 0], dim=axes) for maps in (in_corner, objects))
    correlation: Tensor = torch.fft.irfftn(pasted.conj() * hidden, s=size, dim=axes)
    return correlation


def best_corner(
    score: Float[Tensor, "B *S"], room: list[Float[Tensor, "B"]], noise: Float[Tensor, "n *S"]
) -> list[Float[Tensor, "B"]]:
    """Return an offset with the best score among those from 0 to `room`, axis by axis; the noise chooses among equals."""
    legal = torch.ones((), dtype=torch.bool, device=score.device)
    for axis, free in enumerate(room):
        fits = torch.arange(score.shape[axis + 1], device=score.device) <= free[:, None]
        legal = legal & along_axis(fits, axis, len(room))[:, 0]
    score = torch.where(legal, score, -torch.inf)
    best = score.flatten(1).amax(1).view(-1, *[1] * len(room))
    place = torch.where(score >= best - 0.5, noise, -1.0).flatten(1).argmax(1)
    return [offset.float() for offset in unravel(place, tuple(score.shape[1:]))]
