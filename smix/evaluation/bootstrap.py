"""Estimate how much the difference of two trained networks would change on other test images."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from smix import rng
from smix.errors import DataError, OptionError


@dataclass(frozen=True)
class OverImages:
    """A paired bootstrap over test images alone."""

    mean: float
    """Mean of first - second over the images."""
    low: float
    high: float
    """Percentile interval; NaN for fewer than two images."""
    images: int
    draws: int


def bootstrap_over_images(
    first: Float[Tensor, "N"] | Bool[Tensor, "N"],
    second: Float[Tensor, "N"] | Bool[Tensor, "N"],
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
) -> OverImages:
    """Interval of the mean difference of two networks, over test images **alone**: the two networks stay as they are.

    The percentile interval of Efron and Tibshirani, "An introduction to the bootstrap" (1993), chapter 13, of images drawn
    with replacement, the same for both networks. It says how far the test split fixes the difference of these two networks;
    it says nothing of another seed, so it is no evidence that one *method* is better (`smix.evaluation.statistics` is).

    `first` and `second` hold one number an image, in any unit: right or wrong, a loss. The same seed gives the same interval.
    DataError: no image, other numbers of images, or a number that is not finite. OptionError: fewer than one draw, or a level
    out of (0, 1).
    """
    if first.shape != second.shape or not len(first):
        raise DataError(
            f"bootstrap: expected one number for each of the same images, got {tuple(first.shape)} and {tuple(second.shape)}; "
            f"evaluate both networks on the same split"
        )
    if draws < 1 or not 0 < level < 1:
        raise OptionError(f"bootstrap: expected 1 draw or more and a level between 0 and 1, got {draws} and {level}")
    differences = first.detach().cpu().double() - second.detach().cpu().double()
    if not differences.isfinite().all():
        raise DataError("bootstrap: expected finite numbers, got NaN or infinity; leave out networks that diverged")
    images, mean = len(differences), differences.mean().item()
    if images < 2:
        return OverImages(mean, math.nan, math.nan, images, draws)
    # How often each value is drawn, not which images are: of right and wrong there are three values, whatever the number of images.
    values, counts = np.unique(differences.numpy(), return_counts=True)
    generator = np.random.default_rng(rng.key(seed, "bootstrap over images"))
    means = generator.multinomial(images, counts / images, draws) @ values / images
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return OverImages(mean, low, high, images, draws)
