"""CutMix: replace one box by the same box of a partner image.

Yun et al., "CutMix: Regularization strategy to train strong classifiers with localizable features", ICCV 2019,
arXiv:1905.04899, section 3.1: lambda from Beta(alpha, alpha), the box has sides S sqrt(1 - lambda), the label follows the area.
The published code (clovaai/CutMix-PyTorch, `rand_bbox`) draws the centre over all pixels, clips the box at the border, and since
its issue 1 takes the label from the clipped area; so does `edge="clip"`. Differences: one box per sample (`per_batch=True` is the
paper's), and any number of dimensions d, with sides S (1 - lambda)^(1/d).
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from smix.mixing.box import Edge, outside, random_boxes
from smix.mixing.core import MapMethod, MixBatch, check_alpha


@dataclass(frozen=True, repr=False)
class CutMix(MapMethod):
    """Replace a box of each image by the same box of its partner (Yun et al., ICCV 2019).

    Args:
        alpha: Both parameters of the Beta distribution of the kept fraction lambda, above 0.
        edge: `clip`: the centre is any pixel and the box is clipped, as published (at alpha 1 it covers 32 % on average).
            `inside`: the whole box lies in the image (50 %).
        labels: Label rule, `area` or `visible`; see `MapMethod`.

    >>> x, y = torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    >>> mixed, target = smix.CutMix(alpha=1.0)(x, y, generator=torch.Generator().manual_seed(0))
    >>> mixed.shape, target.share.shape
    (torch.Size([4, 3, 32, 32]), torch.Size([4]))
    """

    alpha: float = 1.0
    edge: Edge = "clip"

    def check(self) -> None:
        check_alpha("cutmix", self.alpha)

    def maps(self, batch: MixBatch) -> Float[Tensor, "n 1 *S"]:
        fraction = (1 - batch.beta(self.alpha, self.alpha)) ** (1 / len(batch.size))
        return outside(random_boxes(batch, fraction, self.edge), batch.size)
