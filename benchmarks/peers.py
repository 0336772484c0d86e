"""Code to stand beside that no package ships: FMix's masks as its authors' code makes them, in numpy, one at a time."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta


def official_fmix_mask(
    size: tuple[int, int], rng: np.random.RandomState, alpha: float = 1.0, decay: float = 3.0
) -> NDArray:
    """One mask, with the steps and the costs of ecs-vlc/FMix: scipy's draw, numpy's legacy generator, a full sort."""
    kept = beta.rvs(alpha, alpha, random_state=rng)
    height, width = size
    rows = np.fft.fftfreq(height)[:, None]
    columns = np.fft.fftfreq(width)[: width // 2 + 1 + width % 2]
    frequency = np.sqrt(columns * columns + rows * rows)
    scale = 1 / np.maximum(frequency, 1 / max(size)) ** decay
    noise = rng.randn(1, *frequency.shape, 2) * scale[None, ..., None]
    field = np.fft.irfftn(noise[:, 0] + 1j * noise[:, 1], size, axes=(-2, -1))
    field = field - field.min()
    mask = (field / field.max()).reshape(-1)
    order = mask.argsort()[::-1]
    count = math.ceil(kept * mask.size) if rng.rand() > 0.5 else math.floor(kept * mask.size)
    mask[order[:count]] = 1
    mask[order[count:]] = 0
    return mask.reshape(size)
