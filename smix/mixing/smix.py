"""SMix: lay the object of an image, as a segmentation mask M shows it, over a partner image.

"Enhancing Model Performance: The Impact of Data Augmentation Techniques in Machine Learning", University of Southampton,
2025: x_mix = alpha M x + (1 - alpha M) x_partner (eq. 1, 2; alpha = 1 cuts the object out, eq. 4). Labels: half and half
(eq. 3), or mean(M) (eq. 11, `coverage`), or what the own image contributes to the mix, alpha mean(M) (`area`, the
rule of CutMix). An empty mask gives the partner alone, with half of the label wrong (eq. 6): see `Fallback`.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.core import Batch, Labels, Method


@dataclass(frozen=True, repr=False)
class SMix(Method):
    """Args:
    alpha: Weight of the own image inside its object, in (0, 1]; or a pair (a, b): drawn from Beta(a, b).
    labels: `half`, `coverage` (mean of the mask) or `area` (mean of the weight map).
    feather: Standard deviation in pixels of the Gaussian that softens the mask's edge; 0: hard.
    """

    needs_masks = True

    alpha: float | tuple[float, float] = 0.4
    labels: Labels = "half"
    feather: float = 0.0

    def check(self) -> None:
        if isinstance(self.alpha, tuple):
            if len(self.alpha) != 2 or not all(0 < number < math.inf for number in self.alpha):
                raise OptionError(
                    f"smix: expected alpha as a pair of finite numbers above 0 for a Beta, got {self.alpha}"
                )
        elif not 0 < self.alpha <= 1:
            raise OptionError(f"smix: expected alpha in (0, 1], or a pair (a, b) for a Beta, got {self.alpha}")
        if self.labels not in ("half", "coverage", "area"):
            raise OptionError(f'smix: expected labels "half", "coverage" or "area", got "{self.labels}"')
        if not 0 <= self.feather < math.inf:
            raise OptionError(f"smix: expected a finite feather of 0 pixels or more, got {self.feather}")

    def weights(self, batch: Batch) -> Float[Tensor, "n 1 *S"]:
        assert batch.masks is not None
        masks = blur(batch.masks, self.feather) if self.feather else batch.masks
        if isinstance(self.alpha, tuple):
            return batch.per_draw(batch.beta(*self.alpha)) * masks
        return self.alpha * masks


def blur(masks: Float[Tensor, "B 1 *S"], sigma: float) -> Float[Tensor, "B 1 *S"]:
    """Gaussian blur, one axis after the other; beyond the border the mask goes on as at its edge. Stays in [0, 1]."""
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=masks.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, -1)
    for axis in range(2, masks.ndim):
        lines = masks.movedim(axis, -1)
        flat = F.pad(lines.reshape(-1, 1, lines.shape[-1]), (radius, radius), mode="replicate")
        masks = F.conv1d(flat, kernel).view(lines.shape).movedim(-1, axis)
    return masks.clamp(0, 1)
