"""Weight of the own label in a mix, by each label rule."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smix.mixing.move import Move, apply_move

LabelRule = Literal["area", "visible", "half", "coverage"]


def label_share(
    rule: LabelRule,
    weight: Float[Tensor, "B 1 *T"],
    masks: Float[Tensor, "B 1 *S"] | None,
    partner: Int[Tensor, "B"],
    own_move: Move | None,
    partner_move: Move | None,
) -> Float[Tensor, "B"]:
    """Return the weight of the own label.

    Args:
        rule: `area`: mean of the map, the contribution of the own image to the mix. `visible`: a / (a + c), where a is the
            visible fraction of the own object and c that of the partner's; an empty mask counts as the whole image, and if
            both objects are hidden, `area` applies. `half`: 1/2 (the SMix report, eq. 3). `coverage`: mean of the own mask, the
            fraction of the own image that is object (the SMix report, eq. 11).
        weight: Weight maps of the own images, in [0, 1].
        masks: Object masks, in [0, 1]; required by `visible` and `coverage`.
        partner: Index of each partner in the batch.
        own_move: Move of the own images and their masks.
        partner_move: Move of the partners' images and their masks.

    Returns:
        Weights in [0, 1].
    """
    if rule == "half":
        return torch.full((len(weight),), 0.5, device=weight.device)
    area = weight.flatten(1).mean(1)
    if rule == "area":
        return area
    assert masks is not None
    if rule == "coverage":
        return masks.flatten(1).mean(1)
    empty = masks.flatten(1).amax(1) <= 0
    objects = torch.where(empty.view(-1, *[1] * (masks.ndim - 1)), 1.0, masks)
    own = _visible_fraction(weight, objects, own_move)
    other = _visible_fraction(1 - weight, objects[partner], partner_move)
    both = own + other
    return torch.where(both > 0, own / torch.where(both > 0, both, 1.0), area)


def _visible_fraction(
    weight: Float[Tensor, "B 1 *T"], objects: Float[Tensor, "B 1 *S"], move: Move | None
) -> Float[Tensor, "B"]:
    """Return the fraction of each object, after its move, that is visible through the map, in [0, 1]."""
    if move is not None:
        objects = apply_move(objects, move)
    visible, total = ((map_ * objects).flatten(1).sum(1) for map_ in (weight, 1.0))
    return visible / torch.where(total > 0, total, 1.0)
