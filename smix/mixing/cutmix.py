"""CutMix: replace one box by the same box of a partner image.

Yun et al., ICCV 2019, arXiv:1905.04899, section 3.1: lambda from Beta(alpha, alpha), the box's sides are
S sqrt(1 - lambda), the label follows the area. The published code (clovaai/CutMix-PyTorch, `rand_bbox`) draws the centre
over all pixels, clips the box at the edge, and since its issue 1 takes the label from the clipped area; so does
`edge="clip"`. Differs: one box a sample (`per_batch=True` is the paper's), any number of dimensions d, with sides
S (1 - lambda)^(1/d).
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.core import Batch, Method


@dataclass(frozen=True, repr=False)
class CutMix(Method):
    """Args:
    alpha: Both parameters of the Beta that the kept share is drawn from; above 0.
    edge: `clip`: the centre is any pixel and the box is clipped, as published (at alpha 1 it covers 32 % on average).
        `inside`: the whole box lies in the image (50 %).
    """

    alpha: float = 1.0
    edge: Literal["clip", "inside"] = "clip"

    def check(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise OptionError(f"cutmix: expected a finite alpha above 0, got {self.alpha}")
        if self.edge not in ("clip", "inside"):
            raise OptionError(f'cutmix: expected edge "clip" or "inside", got "{self.edge}"')

    def weights(self, batch: Batch) -> Float[Tensor, "n 1 *S"]:
        cut = (1 - batch.beta(self.alpha, self.alpha)) ** (1 / len(batch.size))
        place = batch.uniform(len(batch.size))
        in_box = torch.ones((), dtype=torch.bool, device=batch.x.device)
        for axis, length in enumerate(batch.size):
            # In float32, length * (1 - tiny) and length * uniform can round up to length itself.
            side = (length * cut).floor().clamp(max=length)
            if self.edge == "clip":
                centre = (length * place[:, axis]).floor().clamp(max=length - 1)
                half = (side / 2).floor()
                first, last = centre - half, centre + half
            else:
                gap = length - side
                first = ((gap + 1) * place[:, axis]).floor().minimum(gap)
                last = first + side
            pixel = torch.arange(length, device=batch.x.device).view(-1, *[1] * (len(batch.size) - 1 - axis))
            first, last = (bound.view(-1, *[1] * (len(batch.size) + 1)) for bound in (first, last))
            in_box = in_box & (pixel >= first) & (pixel < last)
        return (~in_box).float()
