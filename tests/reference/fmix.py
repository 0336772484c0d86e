"""FMix as in Harris et al., arXiv:2002.12047, section 4.1: the complex noise on the full grid, nothing left out."""

import math

import numpy as np
from numpy.typing import NDArray


def amplitude(size: tuple[int, ...], decay: float) -> NDArray:
    """|frequency|^-decay on the full grid, the frequency (cycles a pixel) floored at 1 / max(size)."""
    grid = np.empty(size)
    for place in np.ndindex(*size):
        waves = [k if k <= length // 2 else k - length for k, length in zip(place, size, strict=True)]
        frequency = math.sqrt(sum((wave / length) ** 2 for wave, length in zip(waves, size, strict=True)))
        grid[place] = max(frequency, 1 / max(size)) ** -decay
    return grid


def field(size: tuple[int, ...], decay: float, rng: np.random.Generator) -> NDArray:
    """g = Re(inverse transform of Z / |frequency|^decay), real and imaginary parts of Z standard normal."""
    noise = rng.standard_normal(size) + 1j * rng.standard_normal(size)
    return np.fft.ifftn(noise * amplitude(size, decay)).real


def largest(values: list[float], count: int) -> list[bool]:
    """Marks the `count` largest values one after the other; of equal ones the first."""
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
    """1 on the floor(lambda N + 1/2) largest values of the field."""
    values = field(size, decay, rng).flatten()
    marks = np.zeros(values.size, dtype=bool)
    marks[np.argsort(-values)[: math.floor(kept * values.size + 0.5)]] = True
    return marks.reshape(size)
