"""CutMix: replace one box by the same box of a partner image.

Yun et al., ICCV 2019, arXiv:1905.04899, section 3.1: lambda from Beta(alpha, alpha), the box's sides are
S sqrt(1 - lambda), the label follows the area. The published code (clovaai/CutMix-PyTorch, `rand_bbox`) draws the centre
over all pixels, clips the box at the edge, and since its issue 1 takes the label from the clipped area; so does
`edge="clip"`. Differs: one box a sample (`per_batch=True` is the paper's), any number of dimensions d, with sides
S (1 - lambda)^(1/d).
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.box import Edge, drawn_boxes, outside
from smix.mixing.core import Batch, Method, check_alpha
from smix.mixing.share import MapLabels, check_rule


@dataclass(frozen=True, repr=False)
class CutMix(Method):
    """Args:
    alpha: Both parameters of the Beta that the kept share is drawn from; above 0.
    edge: `clip`: the centre is any pixel and the box is clipped, as published (at alpha 1 it covers 32 % on average).
        `inside`: the whole box lies in the image (50 %).
    labels: `area` (mean of the map) or `visible` (what is kept of each object; needs masks).
    """

    alpha: float = 1.0
    edge: Edge = "clip"
    labels: MapLabels = "area"

    def check(self) -> None:
        check_alpha("cutmix", self.alpha)
        check_rule("cutmix", self.labels)
        if self.edge not in ("clip", "inside"):
            raise OptionError(f'cutmix: expected edge "clip" or "inside", got "{self.edge}"')

    def maps(self, batch: Batch) -> Float[Tensor, "n 1 *S"]:
        part = (1 - batch.beta(self.alpha, self.alpha)) ** (1 / len(batch.size))
        return outside(drawn_boxes(batch, part, self.edge), batch.size)
