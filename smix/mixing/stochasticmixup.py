"""Stochastic mixup: every pixel is blended by a weight of its own, uniform in [0, 1].

"Enhancing Model Performance: The Impact of Data Augmentation Techniques in Machine Learning", University of Southampton,
2025: w(p) ~ U(0, 1), independent for each pixel p; its noise mask (eq. 8) is the same. The label is the mean of the map,
close to 1/2 in a large image. Not timm's use of the word, which is `Mixup(prob=...)`.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from smix.mixing.core import Batch, Method
from smix.mixing.share import MapLabels, check_rule


@dataclass(frozen=True, repr=False)
class StochasticMixup(Method):
    """Args:
    labels: `area` (mean of the map) or `visible` (what is kept of each object; needs masks).
    """

    labels: MapLabels = "area"

    def check(self) -> None:
        check_rule("stochasticmixup", self.labels)

    def maps(self, batch: Batch) -> Float[Tensor, "n 1 *S"]:
        return batch.uniform(1, *batch.size)
