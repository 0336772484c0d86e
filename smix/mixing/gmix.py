"""GMix: CutMix with a soft edge, a Gaussian bump in place of the box.

Park et al., "A unified analysis of mixed sample data augmentation: A loss function perspective", NeurIPS 2022,
arXiv:2208.09913, section 4. A bump of share s is exp(-pi d^2 / (s S^2)) around any pixel, d in pixels: unclipped, it covers
s of the image (and at least the one pixel). lambda below 1/2: the own image has the bump of lambda; else the partner has
that of 1 - lambda. The label is the mean of the map as drawn. Differs: distances are in parts of each axis, d^2 / S^2 = sum
of (d_k / S_k)^2, so that the bump has the image's aspect ratio as CutMix's box has; the authors' code (naver-ai/hmix-gmix)
fails where height and width differ. In D dimensions s becomes s^(2/D). One draw a sample; theirs is one a batch
(`per_batch=True`).
"""

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from smix.mixing.box import along_axis, anywhere
from smix.mixing.core import Batch, Method, check_alpha
from smix.mixing.share import MapLabels, check_rule


@dataclass(frozen=True, repr=False)
class GMix(Method):
    """Args:
    alpha: Both parameters of the Beta that lambda is drawn from; above 0.
    labels: `area` (mean of the map) or `visible` (what is kept of each object; needs masks).
    """

    alpha: float = 1.0
    labels: MapLabels = "area"

    def check(self) -> None:
        check_alpha("gmix", self.alpha)
        check_rule("gmix", self.labels)

    def maps(self, batch: Batch) -> Float[Tensor, "n 1 *S"]:
        axes = len(batch.size)
        kept = batch.beta(self.alpha, self.alpha)
        place = batch.uniform(axes)
        rate = -math.pi * kept.minimum(1 - kept).clamp(min=1e-12) ** (-2 / axes)
        bumps = []
        for axis, length in enumerate(batch.size):
            distance = torch.arange(length, device=batch.x.device) - anywhere(place[:, axis], length)[:, None]
            bumps.append(along_axis(torch.exp(distance.square() * (rate / length**2)[:, None]), axis, axes))
        of_partner = batch.per_draw((kept >= 0.5).float())
        return (functools.reduce(torch.mul, bumps) - of_partner).abs()  # 1 - bump where it is the partner's
