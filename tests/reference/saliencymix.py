"""SaliencyMix of Uddin et al., ICLR 2021, section 3.2, with the spectral residual of Hou and Zhang, CVPR 2007."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from tests.reference.cutmix import paint, sides

LONGEST, SIGMA = 64, 2.5


def shrink(grey: NDArray) -> NDArray:
    """Divide axes above 64 pixels into 64 bins, each the mean of all pixels that it touches."""
    for axis, length in enumerate(grey.shape):
        bins = min(length, LONGEST)
        edges = [(k * length // bins, -(-(k + 1) * length // bins)) for k in range(bins)]
        grey = np.stack([grey.take(range(*edge), axis).mean(axis) for edge in edges], axis)
    return grey


def saliency(grey: NDArray) -> NDArray:
    """Return |F^-1(exp(log A - mean of log A + i phase))|^2, smoothed.

    The mean over the 3 x 3 nearest frequencies is circular. One hundredth of the mean amplitude and one millionth of the sum of the image
    keep
    the log of zero amplitudes finite.
    """
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
    """Filter with a Gaussian up to three sigma, with zeros beyond the border, like `imfilter` in the code of Hou and Zhang."""
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
    """Return the pixel of an image of this size that is below the centre of the most salient bin."""
    place = np.unravel_index(salient.argmax(), salient.shape)
    return tuple(int((p + 0.5) * length / n) for p, n, length in zip(place, salient.shape, size, strict=True))


def map_of_box(size: tuple[int, ...], kept: float, centre: tuple[int, ...]) -> NDArray:
    """Return a map that is 0 in the clipped box of CutMix around this pixel, and 1 elsewhere."""
    halves = [side // 2 for side in sides(size, kept)]
    first = [max(c - half, 0) for c, half in zip(centre, halves, strict=True)]
    last = [min(c + half, length) for c, half, length in zip(centre, halves, size, strict=True)]
    return paint(size, tuple(first), tuple(last))
