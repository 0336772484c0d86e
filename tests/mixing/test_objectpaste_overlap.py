"""Test ObjectPaste with `avoid` and `cover` of the partner's object, against a search of all positions."""

import numpy as np
import pytest
import torch
from torch import Tensor

from smix.mixing import ObjectPaste, Plan
from tests.mixing.cases import boxes, images, new_generator, within
from tests.reference import objectpaste as reference

pytestmark = pytest.mark.usefixtures("without_type_checks")
COUNT = 12
SIZES = pytest.mark.parametrize("size", [(6, 9), (9, 6), (14,), (4, 5, 6)], ids=str)
OVERLAPS = pytest.mark.parametrize("overlap", ["avoid", "cover"])


def soft(masks: Tensor) -> Tensor:
    return masks * (0.05 + 0.95 * torch.rand(masks.shape, generator=new_generator(9)))


def plan_of(method: ObjectPaste, masks: Tensor, seed: int = 0) -> Plan:
    return method.plan(images(len(masks), tuple(masks.shape[2:])), masks=masks, generator=new_generator(seed))


def hidden_at_all_corners(mask: np.ndarray, other: np.ndarray, factor: float, mirrored: bool) -> list[float]:
    """Return the hidden part of the partner's object for each corner."""
    factor = reference.largest_fitting(mask, factor)
    return [
        reference.hidden(reference.paste_mask(mask, factor, corner, mirrored), other)
        for corner in reference.corners(mask, factor)
    ]


@pytest.mark.slow
@SIZES
@OVERLAPS
@pytest.mark.parametrize(
    ("factor", "kind"), [(1.0, "hard"), (1.0, "soft"), (0.7, "hard"), (0.5, "hard"), (1.6, "hard")]
)
def test_no_position_would_hide_less_or_more_by_half_a_pixel(
    factor: float, kind: str, overlap: str, size: tuple[int, ...]
):
    """Positions within half a pixel count as equal."""
    misses, differ = [], 0
    for seed in range(3):
        masks = boxes(COUNT, size, seed).float()
        masks = soft(masks) if kind == "soft" else masks
        plan = plan_of(ObjectPaste(scale=(factor, factor), flip=0.5, overlap=overlap), masks, seed)  # type: ignore[arg-type]
        move = plan.own_move
        assert move is not None
        for own, other in enumerate(plan.partner.tolist()):
            if plan.mixed[own]:
                mask, partner = masks[own, 0].double().numpy(), masks[other, 0].double().numpy()
                counts = hidden_at_all_corners(mask, partner, factor, bool(move.scale[own, -1] < 0))
                found = reference.hidden(plan.weight[own, 0].double().numpy(), partner)
                misses.append(abs(found - (min(counts) if overlap == "avoid" else max(counts))))
                differ += max(counts) - min(counts) > 1
    assert differ > 3
    assert max(misses) <= 0.5 + 1e-3


@OVERLAPS
def test_the_best_position_differs_clearly_from_the_worst(overlap: str):
    """`avoid` minimises and `cover` maximises the same area: the two are far apart, and `ignore` is between them."""
    masks = torch.zeros(200, 1, 12, 17)
    masks[:, :, 3:7, 2:12] = 1
    hidden = {}
    for rule in ("avoid", "ignore", "cover"):
        plan = plan_of(ObjectPaste(scale=(1.0, 1.0), overlap=rule), masks)  # type: ignore[arg-type]
        hidden[rule] = (plan.weight * masks[plan.partner])[plan.mixed].flatten(1).sum(1)
    assert hidden["avoid"].eq(0).all()
    assert hidden["cover"].eq(40).all()
    assert 0 < hidden["ignore"].mean() < 40


@pytest.mark.parametrize(
    ("overlap", "free"),
    [
        ("avoid", [(row, column) for row in range(6) for column in range(5, 9)]),
        ("cover", [(row, column) for row in range(6) for column in range(4)]),
    ],
)
def test_equal_positions_are_equally_likely(overlap: str, free: list[tuple[int, int]]):
    """The partner's object fills the five left columns and the own object is two columns wide: six rows and ten columns."""
    count = 4000
    masks = torch.zeros(count, 1, 6, 10)
    masks[: count // 2, :, 2:3, 4:6] = 1
    masks[count // 2 :, :, :, :5] = 1
    plan = plan_of(ObjectPaste(scale=(1.0, 1.0), overlap=overlap), masks)  # type: ignore[arg-type]
    move = plan.own_move
    assert move is not None
    rows = plan.mixed & (plan.partner >= count // 2)
    rows[count // 2 :] = False
    corners = (move.offset[rows] + torch.tensor([2, 4])).int()
    found = dict.fromkeys(free, 0)
    for corner in corners.tolist():
        found[tuple(corner)] += 1
    assert all(within(times, len(corners), 1 / len(free), sigmas=5) for times in found.values())


def test_positions_within_half_a_pixel_are_equal_and_others_are_not():
    """One row: the partner's object has weights .4, 0 and .6 in the first three pixels."""
    count = 2000
    masks = torch.zeros(count, 1, 3)
    masks[: count // 2, :, 1] = 1
    masks[count // 2 :] = torch.tensor([0.4, 0.0, 0.6])
    plan = plan_of(ObjectPaste(scale=(1.0, 1.0), overlap="avoid"), masks)
    rows = plan.mixed & (plan.partner >= count // 2)
    rows[count // 2 :] = False
    places = plan.weight[rows, 0].sum(0)
    assert places[2] == 0
    assert within(int(places[0]), int(places.sum()), 0.5)


@OVERLAPS
def test_for_partners_with_full_or_empty_masks_all_positions_are_equal(overlap: str):
    for value in (0.0, 1.0):
        masks = torch.full((40, 1, 6, 9), value)
        masks[::2] = 0
        masks[::2, :, 2:4, 3:6] = 1
        plan = plan_of(ObjectPaste(scale=(1.0, 1.0), overlap=overlap), masks)  # type: ignore[arg-type]
        move = plan.own_move
        assert move is not None
        rows = plan.mixed & (torch.arange(40) % 2 == 0) & (plan.partner % 2 == 1)
        assert len(move.offset[rows].unique(dim=0)) > 5
