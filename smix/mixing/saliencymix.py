"""SaliencyMix: CutMix whose box is centred on the most salient pixel of the partner.

Uddin et al., "SaliencyMix: A saliency guided data augmentation strategy for better regularization", ICLR 2021,
arXiv:2006.01791, section 3.2: a box of CutMix's size around the peak of the partner's saliency map, clipped, pasted at the
same position; the label is the area. Differences from the authors' code: saliency by the spectral residual (Hou and Zhang,
"Saliency
detection: A spectral residual approach", CVPR 2007) instead of OpenCV's fine-grained saliency, which exists on a CPU only; the
peak of each sample's own partner instead of one image for the whole batch (`per_batch=True` takes the first sample's partner).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from smix.mixing.blur import blur
from smix.mixing.box import centred_interval, outside
from smix.mixing.core import MapMethod, MixBatch, check_alpha
from smix.mixing.tensors import batch_slices, unravel

MAX_SIDE = 64
"""Largest side of the images in which saliency is computed, in pixels: the size of Hou and Zhang."""
SIGMA = 2.5
"""Standard deviation of the Gaussian that smooths the saliency map, in pixels of that size, as in Hou and Zhang's code."""


@dataclass(frozen=True, repr=False)
class SaliencyMix(MapMethod):
    """Replace a box around the most salient pixel of the partner by the partner's (Uddin et al., ICLR 2021).

    Args:
        alpha: Both parameters of the Beta distribution of the kept fraction lambda, above 0.
        labels: Label rule, `area` or `visible`; see `MapMethod`.

    >>> x, y = torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    >>> x[:, :, 20:24, 4:8] = 1.0
    >>> plan = smix.SaliencyMix().plan(x, generator=torch.Generator().manual_seed(0))
    >>> plan.weight.shape, plan.weight.unique()
    (torch.Size([4, 1, 32, 32]), tensor([0., 1.]))
    """

    alpha: float = 1.0

    def check(self) -> None:
        check_alpha("saliencymix", self.alpha)

    def maps(self, batch: MixBatch) -> Float[Tensor, "n 1 *S"]:
        fraction = (1 - batch.beta(self.alpha, self.alpha)) ** (1 / len(batch.size))
        partners = batch.x.mean(1, keepdim=True, dtype=torch.float32)[batch.partner[: batch.draws]]
        slices = batch_slices(batch.draws, partners[0:1].numel(), batch.x.device)
        peaks = torch.cat([peak(saliency(partners[part]), batch.size) for part in slices])
        boxes = [centred_interval(peaks[:, axis], fraction, length) for axis, length in enumerate(batch.size)]
        return outside(boxes, batch.size)


def saliency(grey: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B 1 *T"]:
    """Return the spectral residual of grey images (Hou and Zhang, CVPR 2007, eq. 2 to 6).

    It is the unexpected part of the log spectrum, transformed back, squared and smoothed; flat for an image without structure.
    Images with a side above 64 pixels are shrunk first. Differences from the paper: the mean over 3 x 3 frequencies wraps around the
    edge of the spectrum, which is periodic; and a hundredth of the mean amplitude is added before the logarithm, which would be noise
    for frequencies that are absent.
    """
    size = tuple(min(length, MAX_SIDE) for length in grey.shape[2:])
    if size != tuple(grey.shape[2:]):
        grey = F.interpolate(grey, size, mode="area")
    axes = tuple(range(2, grey.ndim))
    spectrum = torch.fft.fftn(grey - grey.mean(axes, keepdim=True), dim=axes)
    amplitude = spectrum.abs()
    # The second term exceeds the rounding errors in the spectrum of a flat image, which would otherwise be amplified.
    floor = 0.01 * amplitude.mean(axes, keepdim=True) + 1e-6 * (1 + grey.abs().sum(axes, keepdim=True))
    log = (amplitude + floor).log()
    mean = log
    for axis in axes:
        mean = (mean.roll(-1, axis) + mean + mean.roll(1, axis)) / 3
    residual = torch.exp(log - mean) * spectrum / (amplitude + floor)
    return blur(torch.fft.ifftn(residual, dim=axes).abs().square(), SIGMA, border="zero")


def peak(maps: Float[Tensor, "B 1 *T"], size: tuple[int, ...]) -> Float[Tensor, "B D"]:
    """Return the pixel with the largest value (the first of equal values) in an image of this size."""
    places = unravel(maps.flatten(1).argmax(1), tuple(maps.shape[2:]))
    scaled = [
        ((place + 0.5) * length / side).floor()
        for place, length, side in zip(places, size, maps.shape[2:], strict=True)
    ]
    return torch.stack(scaled, 1)
