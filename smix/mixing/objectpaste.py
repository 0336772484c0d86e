"""ObjectPaste: cut the object of an image out, and paste it, scaled, somewhere on a partner image.

The placement that the report's project brief asks for, by the rules of copy-paste augmentation for detectors: Ghiasi et
al., "Simple copy-paste is a strong data augmentation method for instance segmentation", CVPR 2021, arXiv:2012.07177
(scale, flip), Dwibedi et al., "Cut, paste and learn", ICCV 2017, arXiv:1708.01642 (how far objects may overlap).
x_mix = M' x' + (1 - M') x_partner, where x' and M' are the image and its mask, moved. Differs from both: one object a
sample, wholly inside the frame, antialiased; the place that avoids or covers the partner's object is found exactly, among
all places, where they try a few at random.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.box import along_axis, anywhere, outside
from smix.mixing.core import Batch, Method
from smix.mixing.move import Move, moved
from smix.mixing.plan import Plan
from smix.mixing.share import MapLabels, check_rule
from smix.mixing.tensors import parts


@dataclass(frozen=True, repr=False)
class ObjectPaste(Method):
    """An object is where its mask is above 0: masks from a network need a threshold first. An empty mask pastes nothing: the
    partner alone, with share 0; see `Fallback`.

    Args:
    scale: Least and largest factor that the object's size is multiplied by; what would not fit in the frame is pasted as
        large as fits.
    flip: Probability that the object is mirrored left to right (along the last axis).
    overlap: `ignore`: any place inside the frame; `avoid`: where it hides least of the partner's object; `cover`: where it
        hides most. Places within half a pixel of the best are equally likely.
    labels: `area` (mean of the map) or `visible` (what is kept of each object).
    """

    scale: tuple[float, float] = (0.5, 1.0)
    flip: float = 0.0
    overlap: Literal["ignore", "avoid", "cover"] = "ignore"
    labels: MapLabels = "area"

    def check(self) -> None:
        check_rule("objectpaste", self.labels)
        if not (
            isinstance(self.scale, tuple) and len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1] < float("inf")
        ):
            raise OptionError(f"objectpaste: expected scale as a pair 0 < least <= largest, got {self.scale}")
        if not 0 <= self.flip <= 1:
            raise OptionError(f"objectpaste: expected flip, a probability, in [0, 1], got {self.flip}")
        if self.overlap not in ("ignore", "avoid", "cover"):
            raise OptionError(f'objectpaste: expected overlap "ignore", "avoid" or "cover", got "{self.overlap}"')

    @property
    def needs_masks(self) -> bool:
        return True

    def draw(self, batch: Batch) -> Plan:
        assert batch.masks is not None
        first, last = extent(batch.masks)
        size = last - first
        low, high = self.scale
        factor = (low + (high - low) * batch.uniform()).expand(len(batch.x))
        for axis, length in enumerate(batch.size):
            factor = factor.minimum(length / size[:, axis])
        # A hair less before rounding up: a factor of 3 / 7 must not make 7 pixels into 4.
        sides = [
            (factor * size[:, axis] - 1e-3).ceil().clamp(min=1, max=length) for axis, length in enumerate(batch.size)
        ]
        scale = factor[:, None].expand_as(first).clone()
        mirrored = (batch.uniform() < self.flip).expand(len(batch.x))
        scale[:, -1] = torch.where(mirrored, -factor, factor)
        # In the middle of its box of whole pixels, so that an object smaller than a pixel is not missed.
        slack = torch.stack(sides, 1) - factor[:, None] * size
        to_corner = slack / 2 - scale * torch.where(scale > 0, first, last)
        if self.overlap == "ignore":
            place = batch.uniform(len(batch.size)).expand(len(batch.x), -1)
            corner = [anywhere(place[:, axis], length - sides[axis] + 1) for axis, length in enumerate(batch.size)]
        else:
            corner = self.best_corners(batch, Move(scale, to_corner), sides)
        move = Move(scale, to_corner + torch.stack(corner, 1))
        return self.planned(batch, pasted(batch.masks, move, corner, sides), own_move=move)

    def best_corners(self, batch: Batch, to_corner: Move, sides: list[Float[Tensor, "B"]]) -> list[Float[Tensor, "B"]]:
        """The offset, axis by axis, that hides least or most of the partner's object."""
        assert batch.masks is not None
        noise = batch.uniform(*batch.size).expand(len(batch.x), *batch.size)
        found = []
        for part in parts(len(batch.x), math.prod(batch.size), batch.x.device):
            widths = [width[part] for width in sides]
            zero = [torch.zeros_like(width) for width in widths]
            in_corner = pasted(batch.masks[part], to_corner[part], zero, widths)
            hidden = overlaps(in_corner, batch.masks[batch.partner[part]])
            score = -hidden if self.overlap == "avoid" else hidden
            room = [length - width for length, width in zip(batch.size, widths, strict=True)]
            found.append(best_corner(score, room, noise[part]))
        return [torch.cat(along) for along in zip(*found, strict=True)]


def extent(masks: Float[Tensor, "B 1 *S"]) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
    """First pixel of each mask, and the one after its last, along every axis; the whole image where it is empty."""
    bounds = []
    for axis in range(2, masks.ndim):
        length = masks.shape[axis]
        others = [other for other in range(1, masks.ndim) if other != axis]
        along = (masks.amax(others) > 0).float()
        pixel = torch.arange(length, device=masks.device, dtype=torch.float32)
        first = torch.where(along > 0, pixel, float(length)).amin(1)
        last = (along * (pixel + 1)).amax(1)
        empty = last == 0
        bounds.append((torch.where(empty, 0.0, first), torch.where(empty, float(length), last)))
    return torch.stack([first for first, _ in bounds], 1), torch.stack([last for _, last in bounds], 1)


def pasted(
    masks: Float[Tensor, "B 1 *S"], move: Move, corner: list[Float[Tensor, "B"]], sides: list[Float[Tensor, "B"]]
) -> Float[Tensor, "B 1 *S"]:
    """The masks, moved; what resampling spreads beyond the object's box is cut, so that no place is different at the border."""
    box = [(start + width / 2, width / 2) for start, width in zip(corner, sides, strict=True)]
    return torch.where(outside(box, tuple(masks.shape[2:])) > 0, 0.0, moved(masks, move)).clamp(0, 1)


def overlaps(objects_pasted: Float[Tensor, "B 1 *S"], objects: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B *S"]:
    """Return how many pixels of `objects` are hidden if those that are pasted, now in the corner, are moved by each offset: a
    correlation. Right for offsets that keep them inside the frame; others go round the edge."""
    axes, size = tuple(range(1, objects.ndim - 1)), objects.shape[2:]
    one, other = (torch.fft.rfftn(maps[:, 0], dim=axes) for maps in (objects_pasted, objects))
    return torch.fft.irfftn(one.conj() * other, s=size, dim=axes)


def best_corner(
    score: Float[Tensor, "B *S"], room: list[Float[Tensor, "B"]], noise: Float[Tensor, "n *S"]
) -> list[Float[Tensor, "B"]]:
    """One offset of the best scores among those from 0 to `room`, axis by axis; the noise chooses among equals."""
    legal = torch.ones((), dtype=torch.bool, device=score.device)
    for axis, free in enumerate(room):
        along = torch.arange(score.shape[axis + 1], device=score.device) <= free[:, None]
        legal = legal & along_axis(along, axis, len(room))[:, 0]
    score = torch.where(legal, score, -torch.inf)
    best = score.flatten(1).amax(1).view(-1, *[1] * len(room))
    place = torch.where(score >= best - 0.5, noise, -1.0).flatten(1).argmax(1)
    corner = []
    for length in reversed(score.shape[1:]):
        corner.append((place % length).float())
        place = place // length
    return corner[::-1]
