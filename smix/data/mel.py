"""Log-mel spectrograms of one second of sound, as one-channel images.

Windows of 25 ms every 10 ms are usual for speech (Davis and Mermelstein, 1980; Gong, Chung and Glass, 2021,
arXiv:2104.01778). The mel scale and its triangles are those of Slaney's Auditory Toolbox (1998): linear up to 1 kHz, so
that each of the 64 triangles covers at least one frequency of the transform. The triangles peak at 1 instead of having
equal areas, so that 0 dB is the level of a full-scale sine.
"""

from functools import cache

import numpy as np
from jaxtyping import Float, UInt8
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft

RATE = 16_000
"""Samples per second."""
WINDOW = 400
"""Samples per window: 25 ms."""
HOP = 160
"""Samples from one window to the next: 10 ms."""
TRANSFORM = 512
"""Samples per Fourier transform: a window is padded with zeros."""
BANDS = 64
"""Number of mel bands from 0 to 8,000 Hz."""
FLOOR = -80.0
"""Level in dB that is stored as 0. A level of 0 dB is stored as 255: the power of a full-scale sine at its frequency."""
FRAMES = 1 + (RATE - WINDOW) // HOP
"""Number of complete windows in a second: 98."""
PARAMETERS = {"rate": RATE, "window": WINDOW, "hop": HOP, "transform": TRANSFORM, "bands": BANDS, "floor": FLOOR}


def spectrograms(waves: Float[np.ndarray, "N 16000"]) -> UInt8[np.ndarray, "N 64 98"]:
    """Return log-mel spectrograms with values in [0, 255]. Axis 1 is the frequency, the lowest first; axis 2 is the time.

    Args:
        waves: Audio in [-1, 1], one second at 16 kHz each.
    """
    # A periodic window, as is usual for spectra. Dividing by its sum gives a full-scale sine the power 1.
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)
    frames = sliding_window_view(waves.astype(np.float32), WINDOW, -1)[:, ::HOP] * window
    spectrum = fft.rfft(frames, TRANSFORM)
    power = (spectrum.real**2 + spectrum.imag**2) / (window.sum() / 2) ** 2
    decibels = 10 * np.log10(np.maximum(power @ triangles().T, 1e-12))
    levels: NDArray[np.floating] = np.rint(np.clip(decibels / -FLOOR + 1, 0, 1) * 255)
    return levels.astype(np.uint8).swapaxes(1, 2)


@cache
def triangles() -> Float[np.ndarray, "64 257"]:
    """Return the weight of each frequency of the transform in each band, in [0, 1]."""
    corners = hertz(np.linspace(0, mel(np.array(RATE / 2)), BANDS + 2))
    lower, peak, upper = (corners[start : start + BANDS, None] for start in range(3))
    places = np.arange(TRANSFORM // 2 + 1) * RATE / TRANSFORM
    rising, falling = (places - lower) / (peak - lower), (upper - places) / (upper - peak)
    weights: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    return weights.astype(np.float32)


def mel(hertz: Float[np.ndarray, "*N"]) -> Float[np.ndarray, "*N"]:
    """Convert hertz to mel on Slaney's scale: linear with 3 mel per 200 Hz up to 1 kHz (15 mel), then 27 mel per factor of 6.4."""
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4))


def hertz(mel: Float[np.ndarray, "*N"]) -> Float[np.ndarray, "*N"]:
    """Convert mel to hertz: the inverse of `mel`."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))
