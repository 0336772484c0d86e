"""HMix: a box of CutMix inside, mixup outside.

Park et al., "A unified analysis of mixed sample data augmentation: A loss function perspective", NeurIPS 2022,
arXiv:2208.09913, section 4: the box has sides S sqrt((1 - lambda) r) and shows the partner; outside, where a fraction a of the
image is left, the own image has weight lambda / a, so that the mean of the map is lambda whatever was clipped. r = 1 is
CutMix (up to clipping), r = 0 mixup. Differences: one draw per sample (naver-ai/hmix-gmix: one per batch, `per_batch=True`), and
any number of dimensions d, with sides S ((1 - lambda) r)^(1/d).
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.box import outside, random_boxes
from smix.mixing.core import MapMethod, MixBatch, check_alpha


@dataclass(frozen=True, repr=False)
class HMix(MapMethod):
    """Replace a box by the partner's and blend the rest (Park et al., NeurIPS 2022).

    Args:
        alpha: Both parameters of the Beta distribution of lambda, above 0.
        ratio: Fraction of the partner's weight that the box shows, in [0, 1]; the paper's r.
        labels: Label rule, `area` (here lambda) or `visible`; see `MapMethod`.

    >>> x, y = torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    >>> plan = smix.HMix(ratio=0.5).plan(x, generator=torch.Generator().manual_seed(0))
    >>> plan.weight.shape, plan.share.shape
    (torch.Size([4, 1, 32, 32]), torch.Size([4]))
    """

    alpha: float = 1.0
    ratio: float = 0.5

    def check(self) -> None:
        check_alpha("hmix", self.alpha)
        if not 0 <= self.ratio <= 1:
            raise OptionError(f"hmix: expected a ratio in [0, 1], got {self.ratio}")

    def maps(self, batch: MixBatch) -> Float[Tensor, "n 1 *S"]:
        kept = batch.beta(self.alpha, self.alpha)
        boxes = random_boxes(batch, ((1 - kept) * self.ratio) ** (1 / len(batch.size)), "clip")
        around_box = outside(boxes, batch.size)
        outside_fraction = around_box.flatten(1).mean(1)
        weight = (kept / outside_fraction.clamp(min=1e-12)).clamp(max=1)
        return around_box * batch.per_draw(weight)
