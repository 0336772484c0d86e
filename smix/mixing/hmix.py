"""HMix: CutMix's box inside, mixup outside.

Park et al., "A unified analysis of mixed sample data augmentation: A loss function perspective", NeurIPS 2022,
arXiv:2208.09913, section 4: the box has sides S sqrt((1 - lambda) r) and shows the partner; outside, where a part a of the
image is left, the own image has weight lambda / a, so that the mean of the map is lambda whatever was clipped. r = 1 is
CutMix (up to clipping), r = 0 mixup. Differs: one draw a sample (naver-ai/hmix-gmix: one a batch, `per_batch=True`), any
number of dimensions d, with sides S ((1 - lambda) r)^(1/d).
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.box import drawn_boxes, outside
from smix.mixing.core import Batch, Method, check_alpha
from smix.mixing.share import MapLabels, check_rule


@dataclass(frozen=True, repr=False)
class HMix(Method):
    """Args:
    alpha: Both parameters of the Beta that lambda is drawn from; above 0.
    ratio: r, the part of the partner's share that the box shows, in [0, 1].
    labels: `area` (mean of the map: lambda) or `visible` (what is kept of each object; needs masks).
    """

    alpha: float = 1.0
    ratio: float = 0.5
    labels: MapLabels = "area"

    def check(self) -> None:
        check_alpha("hmix", self.alpha)
        check_rule("hmix", self.labels)
        if not 0 <= self.ratio <= 1:
            raise OptionError(f"hmix: expected a ratio in [0, 1], got {self.ratio}")

    def maps(self, batch: Batch) -> Float[Tensor, "n 1 *S"]:
        kept = batch.beta(self.alpha, self.alpha)
        boxes = drawn_boxes(batch, ((1 - kept) * self.ratio) ** (1 / len(batch.size)), "clip")
        beside = outside(boxes, batch.size)
        left = beside.flatten(1).mean(1)
        weight = (kept / left.clamp(min=1e-12)).clamp(max=1)
        return beside * batch.per_draw(weight)
