"""SMix: lay the object of an image, as a segmentation mask M shows it, over a partner image.

"Enhancing Model Performance: The Impact of Data Augmentation Techniques in Machine Learning", University of Southampton,
2025: x_mix = alpha M x + (1 - alpha M) x_partner (eq. 1, 2; alpha = 1 cuts the object out, eq. 4). Labels: half and half
(eq. 3), or mean(M) (eq. 11, `coverage`), or what the own image contributes to the mix, alpha mean(M) (`area`, the rule of
CutMix), or what is kept of each object (`visible`). An empty mask gives the partner alone, and with `half` half of the label
is wrong (eq. 6): see `Fallback`.
"""

import math
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.blur import blur
from smix.mixing.core import Batch, Method, check_alpha
from smix.mixing.share import check_rule


@dataclass(frozen=True, repr=False)
class SMix(Method):
    """Args:
    alpha: Weight of the own image inside its object, in (0, 1]; or a pair (a, b): drawn from Beta(a, b).
    labels: `half`, `coverage` (mean of the mask), `area` (mean of the weight map) or `visible` (what is kept of each object).
    feather: Standard deviation in pixels of the Gaussian that softens the mask's edge; 0: hard.
    """

    alpha: float | tuple[float, float] = 0.4
    labels: Literal["half", "coverage", "area", "visible"] = "half"
    feather: float = 0.0

    def check(self) -> None:
        if isinstance(self.alpha, tuple):
            if len(self.alpha) != 2:
                raise OptionError(f"smix: expected alpha as a number or a pair for a Beta, got {self.alpha}")
            for number in self.alpha:
                check_alpha("smix", number)
        elif not 0 < self.alpha <= 1:
            raise OptionError(f"smix: expected alpha in (0, 1], or a pair (a, b) for a Beta, got {self.alpha}")
        check_rule("smix", self.labels, ("half", "coverage", "area", "visible"))
        if not 0 <= self.feather < math.inf:
            raise OptionError(f"smix: expected a finite feather of 0 pixels or more, got {self.feather}")

    @property
    def needs_masks(self) -> bool:
        return True

    def maps(self, batch: Batch) -> Float[Tensor, "n 1 *S"]:
        assert batch.masks is not None
        masks = blur(batch.masks, self.feather).clamp(0, 1) if self.feather else batch.masks
        if isinstance(self.alpha, tuple):
            return batch.per_draw(batch.beta(*self.alpha)) * masks
        return self.alpha * masks
