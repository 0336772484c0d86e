"""GridMix: mix two images cell by cell on a regular grid.

After Baek et al., "GridMix: Strong regularization through local context mapping", Pattern Recognition 109, 2021, as surveys
describe it: the image is cut into g x g cells, each cell is taken from one of the two images, and the label follows the number of
pixels. The distribution is a choice of smix: lambda from Beta(alpha, alpha), and every cell is the own image's with probability
lambda. The paper's second loss, on the label of each cell, is not implemented. openmixup's `gridmix` is another method, a lattice
of holes in a box.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.core import MapMethod, MixBatch, check_alpha


@dataclass(frozen=True, repr=False)
class GridMix(MapMethod):
    """Take each cell of a grid from the own image or from its partner (Baek et al., Pattern Recognition 2021).

    Args:
        alpha: Both parameters of the Beta distribution of lambda, the probability of an own cell, above 0.
        cells: Number of cells along each axis, 2 or more; at most one per pixel. If an axis is not divisible by it, the sizes of its
            cells differ by one pixel.
        labels: Label rule, `area` or `visible`; see `MapMethod`.

    >>> x, y = torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    >>> plan = smix.GridMix(cells=4).plan(x, generator=torch.Generator().manual_seed(0))
    >>> plan.weight[:, 0, ::8, ::8].shape  # one weight of 0 or 1 per cell
    torch.Size([4, 4, 4])
    """

    alpha: float = 1.0
    cells: int = 4

    def check(self) -> None:
        check_alpha("gridmix", self.alpha)
        if not (isinstance(self.cells, int) and self.cells >= 2):
            raise OptionError(f"gridmix: expected cells as a whole number, at least 2, got {self.cells}")

    def maps(self, batch: MixBatch) -> Float[Tensor, "n 1 *S"]:
        kept = batch.per_draw(batch.beta(self.alpha, self.alpha))
        cells = [min(self.cells, length) for length in batch.size]
        weight = (batch.uniform(1, *cells) < kept).float()
        for axis, length in enumerate(batch.size):
            cell = torch.arange(length, device=batch.x.device) * cells[axis] // length
            weight = weight.index_select(axis + 2, cell)
        return weight
