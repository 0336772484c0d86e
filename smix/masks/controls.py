"""Compare masks with controls: with masks of other images, with one mask for all images, and with shuffled pixels.

Criteria of the shape alone cannot tell a mask that was found in its image from any other smooth blob. Where a mask was found in its
image, its outline lies on edges of this image more often than the outline of another image's mask does.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray
from PIL import Image

from smix.data.pictures import Pictures
from smix.data.sets import ImageSet
from smix.masks.criteria import StoreValidity
from smix.masks.reasons import Reason, reasons_of_masks

MAX_IMAGES = 500
"""Maximum number of images that are compared."""
MIN_MASKS = 20
"""Minimum number of valid masks for a statement about their outlines."""
DRAWS = 5
"""Number of other images whose masks each mask is compared with."""
CHANCE_LEVEL, MARGIN = 0.5, 0.05
"""Expected share of images in which unrelated masks win, and the minimum lead over it: networks with random weights
had at most 0.52 when measured, trained ones at least 0.8 (docs/masks.md)."""


@dataclass(frozen=True)
class Control:
    """Results for the masks of a store, or for control masks that replace them. Fractions are in [0, 1], or NaN if unknown."""

    name: str
    passing: float
    """Fraction of masks that pass the criteria."""
    following: float
    """Fraction of images in which the outline lies on stronger edges than that of another image's mask."""


@dataclass(frozen=True)
class Controls:
    """The masks of some images next to their controls."""

    rows: tuple[Control, ...]
    """The masks themselves, then masks of other images, the mean mask for every image, and shuffled pixels."""
    images: int
    """Number of images that were compared."""
    valid: int
    """Number of their masks that pass the criteria."""

    @property
    def follow(self) -> bool | None:
        """Return whether the masks follow their images. None: too few are valid to tell."""
        if self.valid < MIN_MASKS:
            return None
        noise = 2 * math.sqrt(CHANCE_LEVEL * (1 - CHANCE_LEVEL) / self.valid)
        return self.rows[0].following - CHANCE_LEVEL > max(MARGIN, noise)


def compare_with_controls(
    images: UInt8[np.ndarray, "n H W C"],
    masks: Bool[np.ndarray, "n H W"],
    criteria: StoreValidity | None = None,
    seed: int = 0,
) -> Controls:
    """Compare masks with controls.

    Args:
        images: Images at the size of the masks, one or more.
        masks: The mask of each image.
        criteria: Criteria for a valid mask, without a score. None: `StoreValidity()`.
        seed: Random seed for the choice of other images and for the shuffled pixels.

    >>> from smix import load_data
    >>> data = load_data("digits-on-photos").take(200)
    >>> controls = compare_with_controls(data.array, data.masks)
    >>> [control.name for control in controls.rows]
    ['these masks', 'masks of other images', 'the mean mask', 'shuffled pixels']
    >>> controls.follow
    True
    """
    rng = np.random.default_rng(seed)
    count = len(masks)

    def passing(some: Bool[np.ndarray, "n H W"]) -> Bool[np.ndarray, "n"]:
        valid: NDArray[np.bool_] = reasons_of_masks(some, None, criteria) == Reason.VALID
        return valid

    valid = passing(masks)
    mean = mean_mask(masks)
    mixed = rng.permuted(masks.reshape(count, math.prod(masks.shape[1:])), axis=1).reshape(masks.shape)
    share, chosen = float(valid.mean()), np.flatnonzero(valid)
    if len(chosen) < MIN_MASKS:
        followings = [math.nan] * 4
    else:
        images, masks = images[chosen].astype(np.float32), masks[chosen]
        others = [other_places(len(chosen), rng) for _ in range(DRAWS)]
        contrasts = [outline_contrast(images, masks[places]) for places in others]
        constant, noise = np.broadcast_to(mean, masks.shape), mixed[chosen]
        own, mean_following, mixed_following = (
            float(np.nanmean([wins(outline_contrast(images, some), other) for other in contrasts]))
            for some in (masks, constant, noise)
        )
        followings = [own, CHANCE_LEVEL, mean_following, mixed_following]
    names = ("these masks", "masks of other images", "the mean mask", "shuffled pixels")
    shares = (share, share, float(passing(mean[None])[0]), float(passing(mixed).mean()))
    return Controls(tuple(map(Control, names, shares, followings)), count, len(chosen))


def outline_contrast(images: Float[np.ndarray, "n H W C"], masks: Bool[np.ndarray, "n H W"]) -> Float[np.ndarray, "n"]:
    """Return the mean difference of neighbouring pixels across each outline, divided by that of all neighbouring pixels.

    1: the outline lies on edges of the image no more than any other line; NaN: there is no outline, or the image has one colour.
    """
    across, length, total, count = np.zeros(len(masks)), np.zeros(len(masks)), np.zeros(len(masks)), 0
    for axis in (1, 2):
        steps = np.abs(np.diff(images, axis=axis)).mean(-1)
        outline = np.diff(masks, axis=axis)
        across += (steps * outline).sum((1, 2))
        length += outline.sum((1, 2))
        total += steps.sum((1, 2))
        count += math.prod(steps.shape[1:])
    with np.errstate(divide="ignore", invalid="ignore"):
        contrast: NDArray[np.float64] = (across / length) / (total / count)
    return contrast


def wins(one: Float[np.ndarray, "n"], other: Float[np.ndarray, "n"]) -> float:
    """Return the share of images in which `one` is larger; ties count half, and NaN is ignored."""
    known = np.isfinite(one) & np.isfinite(other)
    if not known.any():
        return math.nan
    return float(((one > other) + 0.5 * (one == other))[known].mean())


def mean_mask(masks: Bool[np.ndarray, "n H W"]) -> Bool[np.ndarray, "H W"]:
    """Return the pixels that most often belong to the object; their number is the mean over the masks."""
    share = masks.mean(0, dtype=np.float64)
    count = round(float(share.sum()))
    mean = np.zeros(share.size, bool)
    mean[np.argsort(-share, axis=None, kind="stable")[:count]] = True
    return mean.reshape(share.shape)


def other_places(count: int, rng: np.random.Generator) -> Int[np.ndarray, "n"]:
    """Return, for each of `count` indices, a different one drawn at random."""
    order = rng.permutation(count)
    places = np.empty(count, np.int64)
    places[order] = np.roll(order, 1)
    return places


def images_at(data: ImageSet, rows: Int[np.ndarray, "n"], size: tuple[int, int]) -> UInt8[np.ndarray, "n H W C"]:
    """Return images at the size of the masks, black where they cannot be read.

    Args:
        data: The whole split.
        rows: Rows of the images.
        size: Height and width of the result.
    """
    if not isinstance(data.images, Pictures):
        images: NDArray[np.uint8] = data.images[rows]
        if images.shape[1:3] == size:
            return images
        resized = [_resize(channel, size) for image in images for channel in np.moveaxis(image, -1, 0)]
        return np.moveaxis(np.stack(resized).reshape(len(rows), images.shape[-1], *size), 1, -1)
    pictures, _ = data.images[rows].read()
    return np.stack([_resize(image, size) for image in pictures])


def _resize(image: UInt8[np.ndarray, "h w *C"], size: tuple[int, int]) -> UInt8[np.ndarray, "H W *C"]:
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR, reducing_gap=2.0))
