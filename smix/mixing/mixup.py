"""Mixup: blend two images, and their labels, by one weight.

Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018, arXiv:1710.09412, section 2:
x = lambda x_i + (1 - lambda) x_j, y likewise, lambda from Beta(alpha, alpha). Difference: one lambda per sample; the
authors' code (facebookresearch/mixup-cifar10) draws one per batch (`per_batch=True`).
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from smix.mixing.core import Method, MixBatch, check_alpha


@dataclass(frozen=True, repr=False)
class Mixup(Method):
    """Blend each image with its partner by one weight (Zhang et al., ICLR 2018).

    Args:
        alpha: Both parameters of the Beta distribution of lambda, above 0. Small: one image dominates; 1: uniform.

    >>> x, y = torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    >>> mixed, target = smix.Mixup(alpha=0.2)(x, y, generator=torch.Generator().manual_seed(0))
    >>> mixed.shape, target.soft(num_classes=10).shape
    (torch.Size([4, 3, 32, 32]), torch.Size([4, 10]))
    """

    alpha: float = 1.0

    def check(self) -> None:
        check_alpha("mixup", self.alpha)

    def maps(self, batch: MixBatch) -> Float[Tensor, "n 1 *one"]:
        return batch.per_draw(batch.beta(self.alpha, self.alpha))
