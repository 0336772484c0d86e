"""Compare masks with controls: with masks of other images, with one mask for all images, and with shuffled pixels.

Criteria of the shape alone cannot tell a mask that was found in its image from any other smooth blob. Where a mask was found in its
image, its outline lies on edges of this image more often than the outline of another image's mask does.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Num, UInt8
from numpy.typing import NDArray
from PIL import Image

from smix.data.pictures import Pictures
from smix.data.sets import ImageSet
from smix.errors import DataError
from smix.masks.criteria import StoreValidity
from smix.masks.lookup import StoredMasks
from smix.masks.reasons import PIXELS, Reason, reasons_of_masks
from smix.masks.store import MaskStore

MAX_IMAGES = 500
"""Maximum number of images that are compared."""
MIN_MASKS = 20
"""Minimum number of valid masks for a statement about their outlines."""
DRAWS = 5
"""Number of other images whose masks each mask is compared with."""
LONGEST_SIDE = 256
"""Maximum height and width at which images and masks are compared, in pixels: photographs at full size would not fit in memory."""
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
    compared: int
    """Number of these masks whose outline was compared: their image has edges."""

    @property
    def follow(self) -> bool | None:
        """Return whether the masks follow their images. None: too few can be compared to tell."""
        if self.compared < MIN_MASKS or math.isnan(self.rows[0].following):
            return None
        noise = 2 * math.sqrt(CHANCE_LEVEL * (1 - CHANCE_LEVEL) / self.compared)
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
        codes = [reasons_of_masks(some[part], None, criteria) for part in _parts(some.shape)]
        valid: NDArray[np.bool_] = np.concatenate(codes) == Reason.VALID
        return valid

    valid = passing(masks)
    mean = mean_mask(masks)
    mixed = rng.permuted(masks.reshape(count, math.prod(masks.shape[1:])), axis=1).reshape(masks.shape)
    share, chosen = float(valid.mean()), np.flatnonzero(valid)
    if len(chosen) < MIN_MASKS:
        followings, compared = [math.nan] * 4, 0
    else:
        images, masks = images[chosen], masks[chosen]
        others = [other_places(len(chosen), rng) for _ in range(DRAWS)]
        contrasts = [outline_contrast(images, masks[places]) for places in others]
        constant, noise = np.broadcast_to(mean, masks.shape), mixed[chosen]
        contrast = outline_contrast(images, masks)
        compared = int(np.isfinite([contrast, *contrasts]).all(0).sum())
        own, mean_following, mixed_following = (
            _mean([wins(one, other) for other in contrasts])
            for one in (contrast, outline_contrast(images, constant), outline_contrast(images, noise))
        )
        followings = [own, CHANCE_LEVEL if compared else math.nan, mean_following, mixed_following]
    names = ("these masks", "masks of other images", "the mean mask", "shuffled pixels")
    shares = (share, share, float(passing(mean[None])[0]), float(passing(mixed).mean()))
    return Controls(tuple(map(Control, names, shares, followings)), count, len(chosen), compared)


def outline_contrast(images: Num[np.ndarray, "n H W C"], masks: Bool[np.ndarray, "n H W"]) -> Float[np.ndarray, "n"]:
    """Return the mean difference of neighbouring pixels across each outline, divided by that of all neighbouring pixels.

    1: the outline lies on edges of the image no more than any other line; NaN: there is no outline, or the image has one colour.
    """
    across, length, total, count = np.zeros(len(masks)), np.zeros(len(masks)), np.zeros(len(masks)), 0
    for axis in (1, 2):
        for part in _parts(images.shape):
            steps = np.abs(np.diff(images[part].astype(np.float32), axis=axis)).mean(-1)
            outline = np.diff(masks[part], axis=axis)
            across[part] += (steps * outline).sum((1, 2))
            length[part] += outline.sum((1, 2))
            total[part] += steps.sum((1, 2))
        count += math.prod(masks.shape[1:]) // masks.shape[axis] * (masks.shape[axis] - 1)
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


def working_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width at which masks of a size are compared: at most `LONGEST_SIDE`, with the same aspect ratio."""
    scale = min(1.0, LONGEST_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def images_at(data: ImageSet, rows: Int[np.ndarray, "n"], size: tuple[int, int]) -> UInt8[np.ndarray, "n H W C"]:
    """Return images at a size, black where they cannot be read. At most one image is held at its full size.

    Args:
        data: The whole split.
        rows: Rows of the images.
        size: Height and width of the result.
    """
    channels = 3 if isinstance(data.images, Pictures) else data.images.shape[-1]
    images = np.zeros((len(rows), *size, channels), np.uint8)
    for place, row in enumerate(rows.tolist()):
        try:
            image = data.images[row]
        except DataError:
            continue
        if image.shape[:2] == size:
            images[place] = image
            continue
        for channel in range(channels):
            images[place, ..., channel] = _resize(image[..., channel], size, Image.Resampling.BILINEAR)
    return images


def masks_at(
    masks: Bool[np.ndarray, "N h w"] | MaskStore | StoredMasks, rows: Int[np.ndarray, "n"], size: tuple[int, int]
) -> Bool[np.ndarray, "n H W"]:
    """Return masks at a size: a pixel is object if at least half of its area is. At most one mask is held at its full size.

    Args:
        masks: Masks of the whole split.
        rows: Rows of the masks.
        size: Height and width of the result.
    """
    resized = np.zeros((len(rows), *size), bool)
    for place in range(len(rows)):
        mask = masks[rows[place : place + 1]][0]
        resized[place] = (
            mask
            if mask.shape == size
            else _resize(mask.astype(np.uint8) * np.uint8(255), size, Image.Resampling.BOX) >= 128
        )
    return resized


def _resize(
    channel: UInt8[np.ndarray, "h w"], size: tuple[int, int], filter_: Image.Resampling
) -> UInt8[np.ndarray, "H W"]:
    gap = 2.0 if filter_ is Image.Resampling.BILINEAR else None
    return np.asarray(Image.fromarray(channel).resize((size[1], size[0]), filter_, reducing_gap=gap))


def _parts(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of an array (n, H, W, ...) with at most `PIXELS` pixels, so that memory for float copies stays small."""
    step = max(1, PIXELS // max(1, shape[1] * shape[2]))
    return (slice(start, start + step) for start in range(0, shape[0], step))


def _mean(shares: list[float]) -> float:
    """Return the mean of the numbers that are not NaN, or NaN if there are none."""
    known = [share for share in shares if not math.isnan(share)]
    return math.fsum(known) / len(known) if known else math.nan
