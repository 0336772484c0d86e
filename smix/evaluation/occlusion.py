"""Swap backgrounds and hide parts of images by masks, to find out whether a network looks at the object.

After Xiao et al., "Noise or Signal: The Role of Image Backgrounds in Object Recognition", ICLR 2021 (there, Mixed-Rand). Images
without a valid mask, or whose mask is empty or everything, are left out, and counted.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from smix.errors import DataError, OptionError
from smix.evaluation.corruptions.draws import Draws


@dataclass(frozen=True, eq=False)
class Changed:
    """The images that could be changed. Compare with the accuracy on the same rows, not on all images."""

    images: UInt8[Tensor, "n *S C"]
    rows: Int[Tensor, "n"]
    """Row of each image among those given, ascending."""
    left_out: int
    """Number of images without a usable mask."""


def swap_backgrounds(
    images: UInt8[Tensor, "N *S C"],
    masks: Bool[Tensor, "N *S"],
    labels: Int[Tensor, "N"],
    valid: Bool[Tensor, "N"] | None = None,
    seed: int = 0,
) -> Changed:
    """Each object on the background of an image of another class.

    Args:
        images: A whole split: partners are drawn from it, by seed and row, each usable image of another class alike likely.
        masks: True on the object.
        valid: Which masks may be used; None: all.

    The partner's own object is painted over with the mean colour of the partner's background.

    Raises:
        DataError: masks, labels or verdicts of another number or size than the images; or no two usable images of two classes.
    """
    _check(images, masks, labels, valid)
    rows = usable(masks, valid)
    others = rows[partners(labels[rows], rows, seed)]
    swapped = on_background(images[rows], masks[rows], images[others], masks[others])
    return Changed(swapped, rows, len(images) - len(rows))


def on_background(
    images: UInt8[Tensor, "n *S C"],
    masks: Bool[Tensor, "n *S"],
    others: UInt8[Tensor, "n *S C"],
    their_masks: Bool[Tensor, "n *S"],
) -> UInt8[Tensor, "n *S C"]:
    """Each object on the background of the other image, whose own object is painted over with the mean colour around it. All
    masks are usable."""
    backgrounds = _filled(others, their_masks, _mean_colour(others, ~their_masks))
    return torch.where(masks[..., None], images, backgrounds)


def partners(classes: Int[Tensor, "n"], index: Int[Tensor, "n"], seed: int) -> Int[Tensor, "n"]:
    """Return for each place another one of another class, each alike likely: the u-th of those that are not of its class.

    Args:
        classes: Of images with usable masks.
        index: Of each in its data set: u is drawn by seed and index.

    Raises:
        DataError: there are no two classes.
    """
    if not len(classes) or bool((classes == classes[0]).all()):
        raise DataError(
            f"background swap: expected usable masks in two classes or more, got {len(classes)} in {min(len(classes), 1)}; "
            "give the whole test split and its masks"
        )
    order = classes.argsort(stable=True)
    _, inverse, counts = classes.unique(return_inverse=True, return_counts=True)
    mine, before = counts[inverse], (counts.cumsum(0) - counts)[inverse]
    draws = Draws(seed, "background", tuple(index.tolist()), classes.device)
    chosen = (draws.uniform("partner").double() * (len(classes) - mine)).long()
    return order[torch.where(chosen < before, chosen, chosen + mine)]


def occlude(
    images: UInt8[Tensor, "N *S C"],
    masks: Bool[Tensor, "N *S"],
    part: Literal["object", "background"],
    valid: Bool[Tensor, "N"] | None = None,
    colour: UInt8[Tensor, "C"] | None = None,
) -> Changed:
    """The object, or all but the object, painted over.

    Args:
        masks, valid: As for `swap_backgrounds`.
        colour: What with; None: the mean of all pixels of all images, which says nothing about any of them.

    Raises:
        DataError: masks or verdicts of another number or size than the images.
        OptionError: no such part.
    """
    if part not in ("object", "background"):
        raise OptionError(f'occlusion: expected object or background, got "{part}"; choose one of these')
    _check(images, masks, None, valid)
    rows = usable(masks, valid)
    if colour is None:
        everywhere = images.flatten(0, -2)[None]
        colour = _mean_colour(everywhere, torch.ones_like(everywhere[..., 0], dtype=torch.bool))[0]
    hidden = masks[rows] if part == "object" else ~masks[rows]
    return Changed(_filled(images[rows], hidden, colour.expand(len(rows), -1)), rows, len(images) - len(rows))


def usable(masks: Bool[Tensor, "N *S"], valid: Bool[Tensor, "N"] | None) -> Int[Tensor, "n"]:
    """Rows of the masks that are valid and have an object and a background."""
    flat = masks.flatten(1)
    good = flat.any(1) & ~flat.all(1)
    return (good if valid is None else good & valid).nonzero()[:, 0]


def _mean_colour(images: UInt8[Tensor, "B *S C"], where: Bool[Tensor, "B *S"]) -> UInt8[Tensor, "B C"]:
    weights = where.flatten(1)[..., None].double()
    sums = (images.flatten(1, -2) * weights).sum(1)
    return (sums / weights.sum(1)).round().to(torch.uint8)


def _filled(
    images: UInt8[Tensor, "B *S C"], where: Bool[Tensor, "B *S"], colours: UInt8[Tensor, "B C"]
) -> UInt8[Tensor, "B *S C"]:
    return torch.where(where[..., None], colours.view(len(images), *[1] * (images.ndim - 2), colours.shape[-1]), images)


def _check(images: Tensor, masks: Tensor, labels: Tensor | None, valid: Tensor | None) -> None:
    wanted = {
        "masks": (masks, images.shape[:-1]),
        "labels": (labels, images.shape[:1]),
        "valid": (valid, images.shape[:1]),
    }
    for name, (tensor, shape) in wanted.items():
        if tensor is not None and tensor.shape != shape:
            shown, got = (" x ".join(map(str, each)) for each in (shape, tensor.shape))
            raise DataError(f"occlusion: expected {name} of shape {shown}, got {got}; give those of the same images")
