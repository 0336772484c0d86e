"""Mixup: blend two images, and their labels, by one weight.

Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018, arXiv:1710.09412, section 2:
x = lambda x_i + (1 - lambda) x_j, y likewise, lambda from Beta(alpha, alpha). Differs: one lambda a sample, the
authors' code draws one a batch (`per_batch=True`).
"""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.core import Batch, Method


@dataclass(frozen=True, repr=False)
class Mixup(Method):
    """Args:
    alpha: Both parameters of the Beta that lambda is drawn from; above 0. Small: one image dominates; 1: uniform.
    """

    alpha: float = 1.0

    def check(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise OptionError(f"mixup: expected a finite alpha above 0, got {self.alpha}")

    def weights(self, batch: Batch) -> Float[Tensor, "n 1 *one"]:
        return batch.per_draw(batch.beta(self.alpha, self.alpha))
