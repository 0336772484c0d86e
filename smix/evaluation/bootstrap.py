"""Estimate how much the difference of two trained models would change on other test images."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from smix import rng
from smix.errors import DataError, OptionError


@dataclass(frozen=True)
class ImageBootstrap:
    """Result of a paired bootstrap over test images alone, in the unit of the numbers."""

    mean: float
    """Mean of first minus second over the images."""
    low: float
    """Lower bound of the percentile interval; NaN for fewer than two images."""
    high: float
    """Upper bound of the percentile interval; NaN for fewer than two images."""
    images: int
    """Number of test images."""
    draws: int
    """Number of bootstrap samples."""


def bootstrap_over_images(
    first: Float[Tensor, "N"] | Bool[Tensor, "N"],
    second: Float[Tensor, "N"] | Bool[Tensor, "N"],
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
) -> ImageBootstrap:
    """Return an interval of the mean difference of two models, over test images **alone**: the two models stay as they are.

    It is the percentile interval of Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13, of images drawn
    with replacement, the same for both models. It shows how precisely the test split determines the difference of these
    two models. It says nothing about other seeds, so it is no evidence that one *method* is better (see
    `compare_pairs`).

    Args:
        first: One number per image in any unit, such as correct or wrong, or a loss.
        second: Numbers of the other model for the same images.
        seed: Random seed for the draws.
        draws: Number of draws, 1 or more.
        level: Confidence level in (0, 1).

    Raises:
        DataError: There is no image, the numbers of images differ, or a number is not finite.
        OptionError: `draws` or `level` is out of its range.

    >>> first = torch.tensor([True] * 9 + [False])
    >>> result = smix.evaluation.bootstrap_over_images(first, torch.zeros(10, dtype=torch.bool))
    >>> result.mean, result.images
    (0.9, 10)
    """
    if first.shape != second.shape or not len(first):
        raise DataError(
            f"bootstrap: expected one number for each of the same images, got {tuple(first.shape)} and {tuple(second.shape)}; "
            "evaluate both models on the same split"
        )
    if draws < 1 or not 0 < level < 1:
        raise OptionError(
            f"bootstrap: expected 1 draw or more and a level between 0 and 1, got {draws} and {level}; 2000 and 0.95 are typical"
        )
    differences = first.detach().cpu().double() - second.detach().cpu().double()
    if not differences.isfinite().all():
        raise DataError("bootstrap: expected finite numbers, got NaN or infinity; exclude models that diverged")
    images, mean = len(differences), differences.mean().item()
    if images < 2:
        return ImageBootstrap(mean, math.nan, math.nan, images, draws)
    # Draws how often each distinct value occurs instead of single images: correct and wrong predictions have only three differences.
    values, counts = np.unique(differences.numpy(), return_counts=True)
    generator = np.random.default_rng(rng.key(seed, "bootstrap over images"))
    means = generator.multinomial(images, counts / images, draws) @ values / images
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return ImageBootstrap(mean, low, high, images, draws)
