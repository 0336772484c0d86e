"""The label rule `visible`, one sample and one pixel at a time: what is kept of each object."""

import numpy as np
from numpy.typing import NDArray


def kept_part(weight: NDArray, thing: NDArray) -> float:
    """Which part of a thing a weight map shows, in [0, 1]; both of the same shape."""
    shown = total = 0.0
    for pixel in np.ndindex(*thing.shape):
        shown += float(weight[pixel]) * float(thing[pixel])
        total += float(thing[pixel])
    return shown / total


def whole_if_empty(mask: NDArray) -> NDArray:
    """The object; an image without one counts as a whole."""
    return mask if mask.max() > 0 else np.ones_like(mask)


def share(weight: NDArray, own: NDArray, other: NDArray) -> float:
    """a / (a + c): a of the own object is kept, c of the partner's, both where they are in the mix; if both are hidden, the
    part of the image that is the own one's."""
    a, c = kept_part(weight, own), kept_part(1 - weight, other)
    return a / (a + c) if a + c > 0 else float(np.mean(weight))
