"""ResizeMix: shrink the whole partner image and paste it at a random position in the own image.

Qin et al., "ResizeMix: Mixing data with preserved object information and true labels", 2020, arXiv:2012.11101, section 3.3: the
scale tau is uniform in [0.1, 0.8], the pasted box has sides int(tau S), at least one pixel, and lies inside the image;
the label is the area. Differences: every position is equally likely (the authors' code, JayQine/ResizeMix, draws the centre
over all pixels and pushes the box back inside, so that borders are likelier), one tau per sample (theirs is one per batch,
`per_batch=True`), and antialiased shrinking (theirs takes the nearest pixel).
"""

from dataclasses import dataclass

import torch

from smix.errors import OptionError
from smix.mixing.box import inside_interval, outside
from smix.mixing.core import MapMethod, MixBatch
from smix.mixing.move import Move
from smix.mixing.plan import Plan


@dataclass(frozen=True, repr=False)
class ResizeMix(MapMethod):
    """Paste the whole partner, shrunk, at a random position in each image (Qin et al., 2020).

    Args:
        scale: Smallest and largest fraction of an axis that the pasted image covers, in (0, 1].
        labels: Label rule, `area` or `visible`; see `MapMethod`.

    >>> x, y = torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    >>> mixed, target = smix.ResizeMix(scale=(0.5, 0.5))(x, y, generator=torch.Generator().manual_seed(0))
    >>> target.share[target.mixed].unique()
    tensor([0.7500])
    """

    scale: tuple[float, float] = (0.1, 0.8)

    def check(self) -> None:
        if not (isinstance(self.scale, tuple) and len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1] <= 1):
            raise OptionError(f"resizemix: expected scale as a pair 0 < smallest <= largest <= 1, got {self.scale}")

    def draw(self, batch: MixBatch) -> Plan:
        low, high = self.scale
        tau = low + (high - low) * batch.uniform()
        place = batch.uniform(len(batch.size))
        boxes, scales, offsets = [], [], []
        for axis, length in enumerate(batch.size):
            width = (tau * length).floor().clamp(min=1)
            centre, half = inside_interval(place[:, axis], width, length)
            boxes.append((centre, half))
            scales.append(width / length)
            offsets.append(centre - half)
        shape = (len(batch.x), len(batch.size))
        move = Move(torch.stack(scales, 1).expand(shape), torch.stack(offsets, 1).expand(shape))
        return self.plan_maps(batch, outside(boxes, batch.size), partner_move=move)
