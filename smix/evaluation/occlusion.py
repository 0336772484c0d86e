"""Swap backgrounds and hide parts of images by masks, to measure whether a model relies on the object or on the background.

The method is that of Xiao et al., "Noise or Signal: The Role of Image Backgrounds in Object Recognition", ICLR 2021 (Mixed-Rand in
the paper). Images without a valid mask, or whose mask is empty or covers the entire image, are excluded and counted.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from smix.errors import DataError, OptionError
from smix.evaluation.corruptions.draws import Draws
from smix.reprs import short_repr


@dataclass(frozen=True, eq=False)
class ChangedImages:
    """Changed images. Compare their accuracy with the accuracy on the same rows, not on all images."""

    images: UInt8[Tensor, "n *S C"]
    rows: Int[Tensor, "n"]
    """Row of each image in the input, ascending."""
    left_out: int
    """Number of images without a usable mask."""
    __repr__ = short_repr()


def swap_backgrounds(
    images: UInt8[Tensor, "N *S C"],
    masks: Bool[Tensor, "N *S"],
    labels: Int[Tensor, "N"],
    valid: Bool[Tensor, "N"] | None = None,
    seed: int = 0,
) -> ChangedImages:
    """Return images with each object on the background of an image of another class.

    The object in that other image, the partner, is painted over with the mean colour of the partner's background.

    Args:
        images: A complete split. Partners are drawn from it, by seed and row: each usable image of another class with equal
            probability.
        masks: True on the object.
        labels: Class numbers.
        valid: True for masks that may be used. Default: all.
        seed: Random seed for the choice of partners.

    Raises:
        DataError: The number or size of masks, labels or `valid` does not match the images, or no two usable images differ in
            class.

    >>> images = torch.zeros(4, 8, 8, 3, dtype=torch.uint8)
    >>> masks = torch.zeros(4, 8, 8, dtype=torch.bool)
    >>> masks[:, 2:6, 2:6] = True
    >>> changed = smix.evaluation.swap_backgrounds(images, masks, torch.tensor([0, 0, 1, 1]))
    >>> changed.images.shape, changed.left_out
    (torch.Size([4, 8, 8, 3]), 0)
    """
    _check(images, masks, labels, valid)
    rows = usable(masks, valid)
    others = rows[partners(labels[rows], rows, seed)]
    swapped = on_background(images[rows], masks[rows], images[others], masks[others])
    return ChangedImages(swapped, rows, len(images) - len(rows))


def on_background(
    images: UInt8[Tensor, "n *S C"],
    masks: Bool[Tensor, "n *S"],
    others: UInt8[Tensor, "n *S C"],
    their_masks: Bool[Tensor, "n *S"],
) -> UInt8[Tensor, "n *S C"]:
    """Return images with each object on the background of another image.

    The object in the other image is painted over with the mean colour of that image's background.

    Args:
        images: Images of the objects.
        masks: Usable masks of the objects.
        others: Images of the backgrounds.
        their_masks: Usable masks of the objects in `others`.
    """
    backgrounds = _filled(others, their_masks, _mean_colour(others, ~their_masks))
    return torch.where(masks[..., None], images, backgrounds)


def partners(classes: Int[Tensor, "n"], index: Int[Tensor, "n"], seed: int) -> Int[Tensor, "n"]:
    """Return, for each image, the index of a partner from another class, all equally likely.

    Args:
        classes: Class of each image with a usable mask.
        index: Index of each image in its data set; the partner is drawn by seed and index.
        seed: Random seed for the choice of partners.

    Raises:
        DataError: All images are of one class.
    """
    if not len(classes) or bool((classes == classes[0]).all()):
        raise DataError(
            f"background swap: expected usable masks of two classes or more, got {len(classes)} masks of "
            f"{min(len(classes), 1)} classes; pass the complete test split and its masks"
        )
    order = classes.argsort(stable=True)
    counts = classes.bincount()
    own, before = counts[classes], (counts.cumsum(0) - counts)[classes]
    draws = Draws(seed, "background", tuple(index.tolist()), classes.device)
    chosen = (draws.uniform("partner").double() * (len(classes) - own)).long()
    return order[torch.where(chosen < before, chosen, chosen + own)]


def occlude(
    images: UInt8[Tensor, "N *S C"],
    masks: Bool[Tensor, "N *S"],
    part: Literal["object", "background"],
    valid: Bool[Tensor, "N"] | None = None,
    colour: UInt8[Tensor, "C"] | None = None,
) -> ChangedImages:
    """Return images whose object, or everything but the object, is painted over.

    Args:
        images: Images, channels last.
        masks: True on the object.
        part: Part to paint over.
        valid: True for masks that may be used. Default: all.
        colour: Colour to paint with. Default: the mean of all pixels of all images, which reveals nothing about a single image.

    Raises:
        DataError: The number or size of masks or `valid` does not match the images.
        OptionError: The part is unknown.

    >>> images = torch.full((2, 8, 8, 3), 200, dtype=torch.uint8)
    >>> masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    >>> masks[0, 2:6, 2:6] = True  # the second image has no object
    >>> changed = smix.evaluation.occlude(images, masks, "object", colour=torch.zeros(3, dtype=torch.uint8))
    >>> changed.rows, changed.left_out
    (tensor([0]), 1)
    """
    if part not in ("object", "background"):
        raise OptionError(f'occlusion: expected part "object" or "background", got "{part}"; choose one of them')
    _check(images, masks, None, valid)
    rows = usable(masks, valid)
    if colour is None:
        everywhere = images.flatten(0, -2)[None]
        colour = _mean_colour(everywhere, torch.ones_like(everywhere[..., 0], dtype=torch.bool))[0]
    hidden = masks[rows] if part == "object" else ~masks[rows]
    return ChangedImages(_filled(images[rows], hidden, colour.expand(len(rows), -1)), rows, len(images) - len(rows))


def usable(masks: Bool[Tensor, "N *S"], valid: Bool[Tensor, "N"] | None) -> Int[Tensor, "n"]:
    """Return the rows of the masks that are valid and have an object and a background."""
    flat = masks.flatten(1)
    has_both = flat.any(1) & ~flat.all(1)
    return (has_both if valid is None else has_both & valid).nonzero()[:, 0]


def _mean_colour(images: UInt8[Tensor, "B *S C"], where: Bool[Tensor, "B *S"]) -> UInt8[Tensor, "B C"]:
    weights = where.flatten(1)[..., None].double()
    sums = (images.flatten(1, -2) * weights).sum(1)
    return (sums / weights.sum(1)).round().to(torch.uint8)


def _filled(
    images: UInt8[Tensor, "B *S C"], where: Bool[Tensor, "B *S"], colours: UInt8[Tensor, "B C"]
) -> UInt8[Tensor, "B *S C"]:
    return torch.where(where[..., None], colours.view(len(images), *[1] * (images.ndim - 2), colours.shape[-1]), images)


def _check(images: Tensor, masks: Tensor, labels: Tensor | None, valid: Tensor | None) -> None:
    expected = {
        "masks": (masks, images.shape[:-1]),
        "labels": (labels, images.shape[:1]),
        "valid": (valid, images.shape[:1]),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tensor.shape != shape:
            expected_shape, got = (" x ".join(map(str, sizes)) for sizes in (shape, tensor.shape))
            raise DataError(
                f"occlusion: expected {name} of shape {expected_shape}, got {got}; pass the {name} of the same images"
            )
