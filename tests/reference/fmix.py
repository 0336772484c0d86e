"""FMix of Harris et al., arXiv:2002.12047, section 4.1, with complex noise on the full grid."""

import math

import numpy as np
from numpy.typing import NDArray


def amplitude(size: tuple[int, ...], decay: float) -> NDArray:
    """Return |frequency|^-decay on the full grid, with frequencies (cycles per pixel) of at least 1 / max(size)."""
    grid = np.empty(size)
    for place in np.ndindex(*size):
        waves = [k if k <= length // 2 else k - length for k, length in zip(place, size, strict=True)]
        frequency = math.sqrt(sum((wave / length) ** 2 for wave, length in zip(waves, size, strict=True)))
        grid[place] = max(frequency, 1 / max(size)) ** -decay
    return grid


def field(size: tuple[int, ...], decay: float, rng: np.random.Generator) -> NDArray:
    """Return g = Re(inverse transform of Z / |frequency|^decay), where real and imaginary parts of Z are standard normal."""
    noise = rng.standard_normal(size) + 1j * rng.standard_normal(size)
    return np.fft.ifftn(noise * amplitude(size, decay)).real


def largest(values: list[float], count: int) -> list[bool]:
    """Return True for the `count` largest values; ties go to the first."""
    marks = [False] * len(values)
    for _ in range(count):
        best = None
        for place, value in enumerate(values):
            if not marks[place] and (best is None or value > values[best]):
                best = place
        assert best is not None
        marks[best] = True
    return marks


def mask(size: tuple[int, ...], kept: float, decay: float, rng: np.random.Generator) -> NDArray:
    """Return a mask that is 1 at the floor(lambda N + 1/2) largest values of the field."""
    values = field(size, decay, rng).flatten()
    marks = np.zeros(values.size, dtype=bool)
    marks[np.argsort(-values)[: math.floor(kept * values.size + 0.5)]] = True
    return marks.reshape(size)
