"""GridMix: a chequered mix of two images, cell by cell.

After Baek et al., "GridMix: Strong regularization through local context mapping", Pattern Recognition 109, 2021, as surveys
describe it: the image is cut into g x g cells, and each cell is taken from one of the two images; the label follows the number of pixels.
The law of lambda is ours: drawn from Beta(alpha, alpha), and every cell is the own image's with probability lambda. Not here: the
paper's second loss, on the label of each cell. openmixup's `gridmix` is another method, a lattice of holes in a box.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.core import Batch, Method, check_alpha
from smix.mixing.share import MapLabels, check_rule


@dataclass(frozen=True, repr=False)
class GridMix(Method):
    """Args:
    alpha: Both parameters of the Beta that the probability of an own cell is drawn from; above 0.
    cells: g, number of cells along each axis, 2 or more; one a pixel where an axis is shorter. Where g does not divide the axis,
        cells differ by a pixel.
    labels: `area` (mean of the map) or `visible` (what is kept of each object; needs masks).
    """

    alpha: float = 1.0
    cells: int = 4
    labels: MapLabels = "area"

    def check(self) -> None:
        check_alpha("gridmix", self.alpha)
        check_rule("gridmix", self.labels)
        if not (isinstance(self.cells, int) and self.cells >= 2):
            raise OptionError(f"gridmix: expected 2 cells or more, a whole number, got {self.cells}")

    def maps(self, batch: Batch) -> Float[Tensor, "n 1 *S"]:
        kept = batch.per_draw(batch.beta(self.alpha, self.alpha))
        cells = [min(self.cells, length) for length in batch.size]
        weight = (batch.uniform(1, *cells) < kept).float()
        for axis, length in enumerate(batch.size):
            cell = torch.arange(length, device=batch.x.device) * cells[axis] // length
            weight = weight.index_select(axis + 2, cell)
        return weight
