"""The share of the own label in a mix, for every method and every rule."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.move import Move, moved

Labels = Literal["area", "visible", "half", "coverage", "own"]
MapLabels = Literal["area", "visible"]
"""The rules that make sense for any weight map."""


def label_share(
    rule: Labels,
    weight: Float[Tensor, "B 1 *T"],
    masks: Float[Tensor, "B 1 *S"] | None,
    partner: Int[Tensor, "B"],
    own_move: Move | None,
    partner_move: Move | None,
) -> Float[Tensor, "B"]:
    """The share of the own label, in [0, 1].

    area: what the own image contributes to the mix, mean of the map. visible: a / (a + c), where a is the part of the own
    object that is kept and c that of the partner's object; an empty mask counts as the whole image; where both are hidden:
    area. half: 1/2 (the report's eq. 3). coverage: how much of the own image is object, mean of the mask (its eq. 11).
    own: 1.
    """
    if rule == "half":
        return torch.full((len(weight),), 0.5, device=weight.device)
    if rule == "own":
        return torch.ones(len(weight), device=weight.device)
    area = weight.flatten(1).mean(1)
    if rule == "area":
        return area
    assert masks is not None
    if rule == "coverage":
        return masks.flatten(1).mean(1)
    empty = masks.flatten(1).amax(1) <= 0
    objects = torch.where(empty.view(-1, *[1] * (masks.ndim - 1)), 1.0, masks)
    own = _kept(weight, objects, own_move)
    other = _kept(1 - weight, objects[partner], partner_move)
    both = own + other
    return torch.where(both > 0, own / torch.where(both > 0, both, 1.0), area)


def _kept(weight: Float[Tensor, "B 1 *T"], objects: Float[Tensor, "B 1 *S"], move: Move | None) -> Float[Tensor, "B"]:
    """Return the fraction of each object, where it is now, that the map shows, in [0, 1]."""
    if move is not None:
        objects = moved(objects, move)
    shown, whole = ((map_ * objects).flatten(1).sum(1) for map_ in (weight, 1.0))
    return shown / torch.where(whole > 0, whole, 1.0)


def check_rule(method: str, labels: str, known: tuple[str, ...] = ("area", "visible")) -> None:
    """OptionError where a method does not know this rule."""
    if labels not in known:
        quoted = [f'"{rule}"' for rule in known]
        raise OptionError(f'{method}: expected labels {", ".join(quoted[:-1])} or {quoted[-1]}, got "{labels}"')
