"""ResizeMix: shrink the whole partner image and paste it somewhere on the own one.

Qin et al., "ResizeMix: Mixing data with preserved object information and true labels", arXiv:2012.11101, section 3.3: the
scale tau is uniform in [0.1, 0.8], the pasted box has sides int(tau S), at least one pixel, and lies inside the image;
the label is the area. Differs: every place is as likely (their code draws the centre over all pixels and pushes the box
back inside, so that borders are likelier), one tau a sample (the authors' code, JayQine/ResizeMix: one a batch, `per_batch=True`), and
antialiased shrinking; their `interpolate` takes the nearest pixel.
"""

from dataclasses import dataclass

import torch

from smix.errors import OptionError
from smix.mixing.box import outside, within
from smix.mixing.core import Batch, Method
from smix.mixing.move import Move
from smix.mixing.plan import Plan
from smix.mixing.share import MapLabels, check_rule


@dataclass(frozen=True, repr=False)
class ResizeMix(Method):
    """Args:
    scale: Least and largest part of an axis that the pasted image covers, in (0, 1].
    labels: `area` (mean of the map) or `visible` (what is kept of each object; needs masks).
    """

    scale: tuple[float, float] = (0.1, 0.8)
    labels: MapLabels = "area"

    def check(self) -> None:
        check_rule("resizemix", self.labels)
        if not (isinstance(self.scale, tuple) and len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1] <= 1):
            raise OptionError(f"resizemix: expected scale as a pair 0 < least <= largest <= 1, got {self.scale}")

    def draw(self, batch: Batch) -> Plan:
        low, high = self.scale
        tau = low + (high - low) * batch.uniform()
        place = batch.uniform(len(batch.size))
        boxes, scales, offsets = [], [], []
        for axis, length in enumerate(batch.size):
            width = (tau * length).floor().clamp(min=1)
            centre, half = within(place[:, axis], width, length)
            boxes.append((centre, half))
            scales.append(width / length)
            offsets.append(centre - half)
        shape = (len(batch.x), len(batch.size))
        move = Move(torch.stack(scales, 1).expand(shape), torch.stack(offsets, 1).expand(shape))
        return self.planned(batch, outside(boxes, batch.size), partner_move=move)
