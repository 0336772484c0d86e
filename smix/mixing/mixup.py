"""Mixup: blend two images, and their labels, by one weight.

Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018, arXiv:1710.09412, section 2:
x = lambda x_i + (1 - lambda) x_j, y likewise, lambda from Beta(alpha, alpha). Differs: one lambda a sample, the
authors' code (facebookresearch/mixup-cifar10) draws one a batch (`per_batch=True`).
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from smix.mixing.core import Batch, Method, check_alpha


@dataclass(frozen=True, repr=False)
class Mixup(Method):
    """Args:
    alpha: Both parameters of the Beta that lambda is drawn from; above 0. Small: one image dominates; 1: uniform.
    """

    alpha: float = 1.0

    def check(self) -> None:
        check_alpha("mixup", self.alpha)

    def maps(self, batch: Batch) -> Float[Tensor, "n 1 *one"]:
        return batch.per_draw(batch.beta(self.alpha, self.alpha))
