"""Label rule `visible`, one sample and one pixel at a time: label weights follow the visible part of each object."""

import numpy as np
from numpy.typing import NDArray


def visible_part(weight: NDArray, thing: NDArray) -> float:
    """Return the fraction, in [0, 1], of an object that a weight map shows; both have the same shape."""
    shown = total = 0.0
    for pixel in np.ndindex(*thing.shape):
        shown += float(weight[pixel]) * float(thing[pixel])
        total += float(thing[pixel])
    return shown / total


def image_if_empty(mask: NDArray) -> NDArray:
    """Return the mask of the object, or that of the complete image if it has no object."""
    return mask if mask.max() > 0 else np.ones_like(mask)


def share(weight: NDArray, own: NDArray, other: NDArray) -> float:
    """Return a / (a + c), where a of the own object and c of the partner's are visible, both at their positions in the mix.

    If both are hidden, return the fraction of the image that is the own one's.
    """
    a, c = visible_part(weight, own), visible_part(1 - weight, other)
    return a / (a + c) if a + c > 0 else float(np.mean(weight))
