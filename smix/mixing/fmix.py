"""FMix: mix along a random binary cloud, made by thresholding low-frequency noise.

Harris et al., "FMix: Enhancing mixed sample data augmentation", 2020, arXiv:2002.12047, section 4.1: complex Gaussian noise Z on
the full frequency grid, divided by |frequency|^decay; g = Re(inverse transform of Z); the mask is 1 on the largest values of
g, lambda N of them. Frequencies are floored at 1 / max(S), as in the published code, so that the constant term is finite.

`spectrum="isotropic"` is that formula, with floor(lambda N + 1/2) ones. `spectrum="official"` is the published code
(ecs-vlc/FMix, `fmix.py`, commit 3950ea0): it combines two rows of the noise instead of its real and imaginary parts, so
that only the frequencies 0 and +-1 are left along the last axis, and in one dimension every mask is one cyclic
interval; it rounds lambda N up or down with equal probability. Differences from both: one mask per sample; the label
weight is the mean of the map; the authors use lambda, which differs by up to 1 / N.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.core import MapMethod, MixBatch, check_alpha, generator_option
from smix.mixing.select import mark_largest
from smix.mixing.tensors import batch_slices


@dataclass(frozen=True, repr=False)
class FMix(MapMethod):
    """Mix along a random cloud of low-frequency noise (Harris et al., 2020).

    Args:
        alpha: Both parameters of the Beta distribution of the kept fraction lambda, above 0.
        decay: Power of the frequency that the noise is divided by, 0 or more; larger: smoother clouds.
        max_soft: Softness of the border, in [0, 0.5]: fraction of the pixels on either side of the threshold, by rank, that fall
            from 1 to 0 in equal steps; at most min(lambda, 1 - lambda). It needs a sort, so it is slower.
        strength: Weight of the own image inside the cloud, in (0, 1]; below 1 the partner shines through (the SMix report,
            eq. 10).
        spectrum: `isotropic`: the paper's formula. `official`: the masks of the published code.
        labels: Label rule, `area` or `visible`; see `MapMethod`.

    >>> x, y = torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    >>> plan = smix.FMix(decay=3.0).plan(x, generator=torch.Generator().manual_seed(0))
    >>> plan.weight.shape, plan.weight.unique()
    (torch.Size([4, 1, 32, 32]), tensor([0., 1.]))
    """

    alpha: float = 1.0
    decay: float = 3.0
    max_soft: float = 0.0
    strength: float = 1.0
    spectrum: Literal["isotropic", "official"] = "isotropic"

    def check(self) -> None:
        check_alpha("fmix", self.alpha)
        if not 0 < self.strength <= 1:
            raise OptionError(f"fmix: expected strength in (0, 1], got {self.strength}")
        if not 0 <= self.decay < math.inf:
            raise OptionError(f"fmix: expected a finite decay of 0 or more, got {self.decay}")
        if not 0 <= self.max_soft <= 0.5:
            raise OptionError(f"fmix: expected max_soft in [0, 0.5], got {self.max_soft}")

    def maps(self, batch: MixBatch) -> Float[Tensor, "n 1 *S"]:
        kept = batch.beta(self.alpha, self.alpha)
        pixels = math.prod(batch.size)
        if self.spectrum == "isotropic":
            spectrum = isotropic_spectrum(batch, self.decay)
            count = (kept * pixels + 0.5).floor()
        else:
            spectrum = official_spectrum(batch, self.decay)
            count = torch.where(batch.uniform() < 0.5, (kept * pixels).ceil(), (kept * pixels).floor())
        count = count.long().clamp(max=pixels)
        soft = (kept.minimum(1 - kept).clamp(max=self.max_soft) * pixels).floor().long()
        maps = torch.empty(batch.draws, pixels, device=batch.x.device)
        for part in batch_slices(batch.draws, pixels, batch.x.device):
            field = clouds(spectrum[part], batch.size).flatten(1)
            if self.max_soft == 0:
                maps[part] = mark_largest(field, count[part])
            else:
                maps[part] = soft_border(field, count[part], soft[part])
        return maps.mul_(self.strength).view(-1, 1, *batch.size)


def clouds(spectrum: Complex[Tensor, "n *F"], size: tuple[int, ...]) -> Float[Tensor, "n *S"]:
    """Return the real fields of half spectra, by the inverse Fourier transform."""
    field: Tensor = torch.fft.irfftn(spectrum, s=size, dim=tuple(range(1, len(size) + 1)))
    return field


def isotropic_spectrum(batch: MixBatch, decay: float) -> Complex[Tensor, "n *F"]:
    """Return half spectra of real Gaussian fields whose amplitude falls with frequency^-decay, in the same way along all axes.

    Where a column is its own mirror image (frequency 0 and Nyquist of the last axis) the inverse
    transform keeps only the part with Hermitian symmetry, half of the power; a factor of sqrt(2) compensates for it.
    """
    device, size = batch.x.device, batch.size
    axes = [torch.fft.fftfreq(length, device=device) for length in size[:-1]]
    axes.append(torch.fft.rfftfreq(size[-1], device=device))
    amplitude = _amplitude(axes, max(size), decay)
    column = torch.arange(len(axes[-1]), device=device)
    mirrored = (column == 0) | (2 * column == size[-1])
    amplitude = amplitude * torch.where(mirrored, 2**0.5, 1.0)
    noise = torch.randn(batch.draws, *amplitude.shape, 2, device=device, **generator_option(batch.generator))
    spectrum = torch.view_as_complex(noise)
    spectrum *= amplitude
    return spectrum


def official_spectrum(batch: MixBatch, decay: float) -> Complex[Tensor, "n *F"]:
    """Return the spectra of the published code (commit 3950ea0).

    The first two rows of the noise, along the first axis, are taken for the real and the imaginary part, and the two numbers of
    each frequency for two columns; the inverse transform pads or crops. (That code fails for an axis of one pixel; here its only
    row is used twice.)
    """
    device, size = batch.x.device, batch.size
    axes = [torch.fft.fftfreq(length, device=device) for length in size]
    if len(size) > 1:  # its grid: the first axis, then the third, then half of the second
        axes = [axes[0], *axes[2:], axes[1][: size[1] // 2 + 1 + size[1] % 2]]
    rows = _amplitude(axes, max(size), decay)[:2]
    rows = rows.expand(2, *rows.shape[1:])
    noise = torch.randn(batch.draws, *rows.shape, 2, device=device, **generator_option(batch.generator))
    noise = noise * rows[..., None]
    return torch.complex(noise[:, 0], noise[:, 1])


def _amplitude(axes: list[Float[Tensor, "_"]], longest: int, decay: float) -> Float[Tensor, "*F"]:
    """Return max(|frequency|, 1 / longest)^-decay on the grid of these axes, divided by its largest value against overflow."""
    squares = torch.zeros((), device=axes[0].device)
    for axis, frequency in enumerate(axes):
        squares = squares + frequency.square().view(-1, *[1] * (len(axes) - 1 - axis))
    return (squares.sqrt() * longest).clamp(min=1) ** -decay


def soft_border(field: Float[Tensor, "n N"], count: Int[Tensor, "n"], soft: Int[Tensor, "n"]) -> Float[Tensor, "n N"]:
    """Return 1 on the largest values of each row, falling to 0 in equal steps over the `soft` ranks before and after `count`.

    The sum of each row is its `count`.
    """
    order = field.argsort(dim=1, descending=True, stable=True)
    rank = torch.zeros_like(order).scatter(1, order, torch.arange(field.shape[1], device=field.device).expand_as(order))
    count, soft = count[:, None], soft[:, None]
    ramp = (count + soft - 1 - rank) / (2 * soft - 1).clamp(min=1)
    return torch.where(soft > 0, ramp, count - rank).clamp(0, 1)
