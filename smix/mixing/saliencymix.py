"""SaliencyMix: CutMix whose box is centred on the most salient pixel of the partner.

Uddin et al., "SaliencyMix: A saliency guided data augmentation strategy for better regularization", ICLR 2021,
arXiv:2006.01791, section 3.2: a box of CutMix's size around the peak of the partner's saliency map, clipped, pasted at the
same place; the label is the area. Differs from the authors' code: saliency by the spectral residual (Hou and Zhang,
CVPR 2007), where they use OpenCV's fine-grained saliency, which exists on a CPU only; the peak of each sample's own
partner, where they look at one image for the whole batch (`per_batch=True` looks at the first sample's partner).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from smix.mixing.blur import blur
from smix.mixing.box import around, outside
from smix.mixing.core import Batch, Method, check_alpha
from smix.mixing.share import MapLabels, check_rule
from smix.mixing.tensors import parts

LONGEST = 64
"""Saliency is looked for in images of at most this side, the size of its paper."""
SIGMA = 2.5
"""Standard deviation of the Gaussian that smooths the saliency map, in pixels of that size; the paper's code."""


@dataclass(frozen=True, repr=False)
class SaliencyMix(Method):
    """Args:
    alpha: Both parameters of the Beta that the kept share is drawn from; above 0.
    labels: `area` (mean of the map) or `visible` (what is kept of each object; needs masks).
    """

    alpha: float = 1.0
    labels: MapLabels = "area"

    def check(self) -> None:
        check_alpha("saliencymix", self.alpha)
        check_rule("saliencymix", self.labels)

    def maps(self, batch: Batch) -> Float[Tensor, "n 1 *S"]:
        part = (1 - batch.beta(self.alpha, self.alpha)) ** (1 / len(batch.size))
        partners = batch.x.mean(1, keepdim=True, dtype=torch.float32)[batch.partner[: batch.draws]]
        peaks = torch.cat(
            [
                peak(saliency(partners[part]), batch.size)
                for part in parts(batch.draws, partners[0:1].numel(), batch.x.device)
            ]
        )
        boxes = [around(peaks[:, axis], part, length) for axis, length in enumerate(batch.size)]
        return outside(boxes, batch.size)


def saliency(grey: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B 1 *T"]:
    """The spectral residual (Hou and Zhang 2007, eq. 2 to 6): what is unexpected in the log spectrum, transformed back, squared
    and smoothed. Of an image without structure it is flat. Images with a side above 64 pixels are shrunk first.

    Differs from the paper: the mean over 3 x 3 frequencies goes round the edge of the spectrum, which is periodic; and
    frequencies are compared above a hundredth of the mean amplitude, since the logarithm of one that is absent is noise.
    """
    size = tuple(min(length, LONGEST) for length in grey.shape[2:])
    if size != tuple(grey.shape[2:]):
        grey = F.interpolate(grey, size, mode="area")
    axes = tuple(range(2, grey.ndim))
    spectrum = torch.fft.fftn(grey - grey.mean(axes, keepdim=True), dim=axes)
    amplitude = spectrum.abs()
    # The second term is far above what rounding leaves of a flat image, whose spectrum is not to be made white.
    floor = 0.01 * amplitude.mean(axes, keepdim=True) + 1e-6 * (1 + grey.abs().sum(axes, keepdim=True))
    log = (amplitude + floor).log()
    mean = log
    for axis in axes:
        mean = (mean.roll(-1, axis) + mean + mean.roll(1, axis)) / 3
    unexpected = torch.exp(log - mean) * spectrum / (amplitude + floor)
    return blur(torch.fft.ifftn(unexpected, dim=axes).abs().square(), SIGMA, beyond="zero")


def peak(maps: Float[Tensor, "B 1 *T"], size: tuple[int, ...]) -> Float[Tensor, "B D"]:
    """The pixel of the largest value (of equal ones the first), in an image of this size."""
    place = maps.flatten(1).argmax(1)
    found = []
    for axis in range(len(size) - 1, -1, -1):
        length = maps.shape[axis + 2]
        found.append(((place % length + 0.5) * size[axis] / length).floor())
        place = place // length
    return torch.stack(found[::-1], 1)
