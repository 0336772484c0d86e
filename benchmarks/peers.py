"""Reference code that no package ships: the masks of FMix as its authors' code draws them, with numpy and one at a time."""

import math

import numpy as np
from jaxtyping import Float
from scipy.stats import beta


def official_fmix_mask(
    size: tuple[int, int], rng: np.random.RandomState, alpha: float = 1.0, decay: float = 3.0
) -> Float[np.ndarray, "H W"]:
    """Draw a mask of zeros and ones by the steps of ecs-vlc/FMix: SciPy's Beta, numpy's legacy generator, a full sort.

    Args:
        size: Height and width.
        rng: Legacy generator, as the authors' code uses it.
        alpha: Parameter of Beta(alpha, alpha), from which the part of ones is drawn.
        decay: Exponent of the frequency by which the noise is divided.
    """
    share = beta.rvs(alpha, alpha, random_state=rng)
    height, width = size
    rows = np.fft.fftfreq(height)[:, None]
    columns = np.fft.fftfreq(width)[: width // 2 + 1 + width % 2]
    frequency = np.sqrt(columns * columns + rows * rows)
    scale = 1 / np.maximum(frequency, 1 / max(size)) ** decay
    noise = rng.randn(1, *frequency.shape, 2) * scale[None, ..., None]
    field = np.fft.irfftn(noise[:, 0] + 1j * noise[:, 1], size, axes=(-2, -1))
    field = field - field.min()
    values = np.asarray(field / field.max(), np.float64).reshape(-1)
    order = values.argsort()[::-1]
    count = math.ceil(share * values.size) if rng.rand() > 0.5 else math.floor(share * values.size)
    values[order[:count]] = 1
    values[order[count:]] = 0
    return values.reshape(size)
