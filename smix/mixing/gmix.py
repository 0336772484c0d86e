"""GMix: CutMix with a soft edge, a Gaussian bump in place of the box.

Park et al., "A unified analysis of mixed sample data augmentation: A loss function perspective", NeurIPS 2022,
arXiv:2208.09913, section 4. A bump of share s is exp(-pi d^2 / (s S^2)) around any pixel, d in pixels: unclipped, it covers
s of the image (at least one pixel). For lambda below 1/2 the own image has the bump of lambda; otherwise the partner has
that of 1 - lambda. The label is the mean of the map as drawn. Differences: distances are fractions of each axis, d^2 / S^2 = sum
of (d_k / S_k)^2, so that the bump has the image's aspect ratio as CutMix's box does; the authors' code (naver-ai/hmix-gmix) fails
where height and width differ. In D dimensions s becomes s^(2/D). One draw per sample; the authors draw once per batch
(`per_batch=True`).
"""

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from smix.mixing.box import along_axis, random_pixel
from smix.mixing.core import MapMethod, MixBatch, check_alpha


@dataclass(frozen=True, repr=False)
class GMix(MapMethod):
    """Mix along a Gaussian bump around a random pixel (Park et al., NeurIPS 2022).

    Args:
        alpha: Both parameters of the Beta distribution of lambda, above 0.
        labels: Label rule, `area` or `visible`; see `MapMethod`.

    >>> x, y = torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    >>> plan = smix.GMix(alpha=1.0).plan(x, generator=torch.Generator().manual_seed(0))
    >>> plan.weight.shape, plan.share.shape
    (torch.Size([4, 1, 32, 32]), torch.Size([4]))
    """

    alpha: float = 1.0

    def check(self) -> None:
        check_alpha("gmix", self.alpha)

    def maps(self, batch: MixBatch) -> Float[Tensor, "n 1 *S"]:
        axes = len(batch.size)
        kept = batch.beta(self.alpha, self.alpha)
        place = batch.uniform(axes)
        rate = -math.pi * kept.minimum(1 - kept).clamp(min=1e-12) ** (-2 / axes)
        bumps = []
        for axis, length in enumerate(batch.size):
            distance = torch.arange(length, device=batch.x.device) - random_pixel(place[:, axis], length)[:, None]
            bumps.append(along_axis(torch.exp(distance.square() * (rate / length**2)[:, None]), axis, axes))
        bump = functools.reduce(torch.mul, bumps)
        of_partner = batch.per_draw((kept >= 0.5).float())
        return (bump - of_partner).abs()  # 1 - bump where the bump is the partner's
