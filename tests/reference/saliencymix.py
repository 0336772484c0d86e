"""SaliencyMix as in Uddin et al., ICLR 2021, section 3.2, with the spectral residual of Hou and Zhang, CVPR 2007."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from tests.reference.cutmix import paint, sides

LONGEST, SIGMA = 64, 2.5


def shrink(grey: NDArray) -> NDArray:
    """Axes above 64 pixels in 64 bins, each the mean of all pixels that it touches."""
    for axis, length in enumerate(grey.shape):
        bins = min(length, LONGEST)
        edges = [(k * length // bins, -(-(k + 1) * length // bins)) for k in range(bins)]
        grey = np.stack([grey.take(range(*edge), axis).mean(axis) for edge in edges], axis)
    return grey


def saliency(grey: NDArray) -> NDArray:
    """|F^-1(exp(log A - mean of log A + i phase))|^2, smoothed. The mean over the 3 x 3 nearest frequencies goes round the
    edge; a hundredth of the mean amplitude, and a millionth of the sum of the image, keep the log of amplitudes of 0 finite."""
    grey = shrink(grey.astype(float))
    spectrum = np.fft.fftn(grey - grey.mean())
    floor = 0.01 * np.abs(spectrum).mean() + 1e-6 * (1 + np.abs(grey).sum())
    log = np.log(np.abs(spectrum) + floor)
    residual = np.empty(grey.shape)
    around = list(itertools.product((-1, 0, 1), repeat=grey.ndim))
    for place in np.ndindex(*grey.shape):
        near = [tuple((p + step) % n for p, step, n in zip(place, steps, grey.shape, strict=True)) for steps in around]
        residual[place] = log[place] - sum(log[other] for other in near) / len(near)
    phase = spectrum / (np.abs(spectrum) + floor)
    return smooth(np.abs(np.fft.ifftn(np.exp(residual) * phase)) ** 2)


def smooth(values: NDArray) -> NDArray:
    """Gaussian up to three sigma, with nothing beyond the border: `imfilter` in Hou and Zhang's code."""
    reach = math.ceil(3 * SIGMA)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SIGMA) ** 2)
    kernel /= kernel.sum()
    for axis, length in enumerate(values.shape):
        lines = np.moveaxis(values, axis, 0)
        smoothed = np.zeros(lines.shape)
        for to, source in itertools.product(range(length), repeat=2):
            if abs(to - source) <= reach:
                smoothed[to] += kernel[source - to + reach] * lines[source]
        values = np.moveaxis(smoothed, 0, axis)
    return values


def peak(salient: NDArray, size: tuple[int, ...]) -> tuple[int, ...]:
    """The pixel of an image of this size that lies under the middle of the most salient place."""
    place = np.unravel_index(salient.argmax(), salient.shape)
    return tuple(int((p + 0.5) * length / n) for p, n, length in zip(place, salient.shape, size, strict=True))


def keep(size: tuple[int, ...], kept: float, centre: tuple[int, ...]) -> NDArray:
    """1 outside the box of CutMix's size around this pixel, 0 in it; clipped."""
    halves = [side // 2 for side in sides(size, kept)]
    first = [max(c - half, 0) for c, half in zip(centre, halves, strict=True)]
    last = [min(c + half, length) for c, half, length in zip(centre, halves, size, strict=True)]
    return paint(size, tuple(first), tuple(last))
