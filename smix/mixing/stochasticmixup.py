"""Stochastic mixup: blend every pixel by an independent weight, uniform in [0, 1].

"Enhancing Model Performance: The Impact of Data Augmentation Techniques in Machine Learning", University of Southampton,
2025 (the SMix report): w(p) ~ U(0, 1), independent for each pixel p; its noise mask (eq. 8) is the same. The label is the mean of
the map, close to 1/2 in a large image. timm calls `Mixup(prob=...)` stochastic, which is something else.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from smix.mixing.core import MapMethod, MixBatch


@dataclass(frozen=True, repr=False)
class StochasticMixup(MapMethod):
    """Blend every pixel by an independent weight from U(0, 1) (the SMix report, eq. 8).

    Args:
        labels: Label rule, `area` or `visible`; see `MapMethod`.

    >>> x, y = torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    >>> plan = smix.StochasticMixup().plan(x, generator=torch.Generator().manual_seed(0))
    >>> plan.weight.shape, bool((plan.share[plan.mixed] - 0.5).abs().max() < 0.05)
    (torch.Size([4, 1, 32, 32]), True)
    """

    def maps(self, batch: MixBatch) -> Float[Tensor, "n 1 *S"]:
        return batch.uniform(1, *batch.size)
