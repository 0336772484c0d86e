"""SMix: overlay the object of an image, given by a segmentation mask M, on a partner image.

"Enhancing Model Performance: The Impact of Data Augmentation Techniques in Machine Learning", University of Southampton,
2025 (the SMix report): x_mix = alpha M x + (1 - alpha M) x_partner (eq. 1, 2; alpha = 1 cuts the object out, eq. 4). Labels: half
and half (eq. 3), or mean(M) (eq. 11, `coverage`), or the contribution of the own image to the mix, alpha mean(M) (`area`, the rule
of CutMix), or the visible part of each object (`visible`). An empty mask gives the partner alone, and with `half` half of the
label is wrong (eq. 6): see `Fallback`.
"""

import math
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.blur import blur
from smix.mixing.core import MapMethod, MixBatch, check_alpha
from smix.mixing.share import LabelRule


@dataclass(frozen=True, repr=False)
class SMix(MapMethod):
    """Overlay the object of each image on its partner, along the object mask (the SMix report, eq. 1 to 4).

    Args:
        alpha: Weight of the own image inside its object, in (0, 1]; or a pair (a, b) to draw it from Beta(a, b).
        feather: Standard deviation of the Gaussian that softens the edge of the mask, in pixels; 0: hard.
        labels: Label rule: `half`, `coverage` (mean of the mask), `area` (mean of the weight map) or `visible` (visible part of
            each object).

    >>> x, y = torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    >>> masks = torch.zeros(4, 32, 32, dtype=torch.bool)
    >>> masks[:, 8:24, 8:24] = True
    >>> method = smix.SMix(alpha=1.0, labels="coverage")
    >>> mixed, target = method(x, y, masks=masks, generator=torch.Generator().manual_seed(0))
    >>> target.share[target.mixed].unique()  # a quarter of each image is object
    tensor([0.2500])
    """

    alpha: float | tuple[float, float] = 0.4
    feather: float = 0.0
    labels: LabelRule = field(default="half", kw_only=True)

    LABEL_RULES = ("half", "coverage", "area", "visible")

    def check(self) -> None:
        if isinstance(self.alpha, tuple):
            if len(self.alpha) != 2:
                raise OptionError(
                    f"smix: expected alpha as a number or a pair, the parameters of a Beta distribution, got {self.alpha}"
                )
            for parameter in self.alpha:
                check_alpha("smix", parameter)
        elif not 0 < self.alpha <= 1:
            raise OptionError(
                f"smix: expected alpha in (0, 1], or a pair (a, b), the parameters of a Beta distribution, got {self.alpha}"
            )
        if not 0 <= self.feather < math.inf:
            raise OptionError(f"smix: expected a finite feather of 0 pixels or more, got {self.feather}")

    @property
    def needs_masks(self) -> bool:
        return True

    def maps(self, batch: MixBatch) -> Float[Tensor, "n 1 *S"]:
        assert batch.masks is not None
        masks = blur(batch.masks, self.feather).clamp(0, 1) if self.feather else batch.masks
        if isinstance(self.alpha, tuple):
            return batch.per_draw(batch.beta(*self.alpha)) * masks
        return self.alpha * masks
