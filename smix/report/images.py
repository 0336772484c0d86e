"""Images in figures: shown with a frame, and with their masks in pink."""

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from smix.report.layout import axes_at
from smix.report.style import SOFT

PIXELS = 150
"""Pixels per inch: a larger image is made smaller."""
PINK = np.array([255, 20, 147])


def show(figure: Figure, left: float, top: float, width: float, height: float, image: UInt8[NDArray, "H W C"]) -> None:
    """An image of one or three channels with a thin frame, as large as fits into the place, at its top left."""
    high, wide = image.shape[:2]
    scale = min(width / wide, height / high)
    axes = axes_at(figure, left, top, scale * wide, scale * high)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=SOFT, linewidth=0.5)
    colours = np.broadcast_to(image, (high, wide, 3))
    if scale * PIXELS < 1:
        size = (max(1, round(scale * wide * PIXELS)), max(1, round(scale * high * PIXELS)))
        colours = np.asarray(Image.fromarray(colours).resize(size, Image.Resampling.BOX))
    axes.imshow(colours, interpolation="none", aspect="auto")


def paint(image: UInt8[NDArray, "H W C"], mask: NDArray[np.bool_], strength: float = 0.55) -> UInt8[NDArray, "H W 3"]:
    """The image with its mask in pink."""
    colours = np.broadcast_to(image, (*image.shape[:2], 3)).astype(np.float64)
    painted = colours + mask[..., None] * strength * (PINK - colours)
    return np.rint(painted).astype(np.uint8)
