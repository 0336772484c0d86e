"""Test labels="visible" against tests/reference/visible.py: label weights follow the visible part of each object."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from smix.mixing import (
    CutMix,
    Cutout,
    Fallback,
    FMix,
    Method,
    ObjectPaste,
    Plan,
    RandomChoice,
    ResizeMix,
    SMix,
)
from smix.mixing.share import label_share
from tests.mixing.cases import VISIBLE, boxes, images, new_generator
from tests.reference import visible as reference

pytestmark = pytest.mark.usefixtures("without_type_checks")
COUNT = 12
UNMOVED = [method for method in VISIBLE if not isinstance(method, ObjectPaste | ResizeMix)]


def soft(masks: Tensor) -> Tensor:
    return masks * (0.05 + 0.95 * torch.rand(masks.shape, generator=new_generator(9)))


def object_masks(size: tuple[int, ...], kind: str, seed: int = 0) -> Tensor:
    """Return the first mask empty, the second full and the others boxes, or only empty or only full masks."""
    masks = boxes(COUNT, size, seed).float()
    return {"boxes": masks, "soft": soft(masks), "all empty": 0 * masks, "all full": 1 + 0 * masks}[kind]


def literal_share(plan: Plan, masks: Tensor) -> list[float]:
    """Compute the label weights of a plan without moves; 1 for unmixed samples."""
    things = [reference.image_if_empty(mask[0].numpy()) for mask in masks]
    weight = plan.weight.expand(COUNT, *masks.shape[1:])[:, 0].double().numpy()
    return [
        reference.share(weight[own], things[own], things[other]) if mixed else 1.0
        for own, (other, mixed) in enumerate(zip(plan.partner.tolist(), plan.mixed.tolist(), strict=True))
    ]


@pytest.mark.parametrize("kind", ["boxes", "soft", "all empty", "all full"])
@pytest.mark.parametrize("size", [(7, 10), (15,), (3, 4, 5)], ids=str)
@pytest.mark.parametrize("method", UNMOVED, ids=repr)
def test_the_share_follows_the_visible_part_of_each_object(method: Method, size: tuple[int, ...], kind: str):
    masks = object_masks(size, kind)
    for seed in range(2):
        plan = method.plan(images(COUNT, size), masks=masks, generator=new_generator(seed))
        assert plan.mixed[:2].any()
        assert plan.share.tolist() == pytest.approx(literal_share(plan, masks), abs=1e-5)


@pytest.mark.parametrize("method", UNMOVED, ids=repr)
def test_without_objects_the_label_weight_is_the_area(method: Method):
    """Each image then counts completely as object."""
    plan = method.plan(images(COUNT, (7, 10)), masks=torch.zeros(COUNT, 7, 10), generator=new_generator(0))
    area = plan.weight.flatten(1).mean(1)
    torch.testing.assert_close(plan.share, area, rtol=0, atol=1e-5)


def share_of_pair(weight: Tensor, own: Tensor, other: Tensor) -> float:
    """Return the label weight of the first of two images."""
    masks = torch.stack([own, other])[:, None]
    return label_share("visible", weight.expand(2, 1, *own.shape), masks, torch.tensor([1, 0]), None, None)[0].item()


def span(first: int, last: int) -> Tensor:
    """Return a (4, 10) mask that is 1 in columns first to last - 1."""
    columns = torch.arange(10)
    return ((columns >= first) & (columns < last)).float().expand(4, 10)


@pytest.mark.parametrize(
    ("weight", "own", "other", "expected"),
    [
        (span(0, 5), span(0, 5), span(5, 10), 1 / 2),  # both completely visible
        (span(0, 5), span(0, 4), span(4, 8), 1 / (1 + 3 / 4)),
        (span(0, 5), span(5, 10), span(5, 8), 0.0),  # own object hidden
        (span(0, 5), span(3, 5), span(0, 5), 1.0),  # partner's object hidden
        (span(0, 3), span(3, 6), span(0, 2), 0.3),  # both hidden: area
        (span(0, 3), span(0, 0), span(0, 2), 1.0),  # no own object: 3 / 10 of the image; partner's object hidden
        (span(0, 3), span(0, 0), span(2, 4), 0.3 / (0.3 + 1 / 2)),
        (span(0, 3), span(2, 4), span(0, 0), 0.5 / (0.5 + 0.7)),  # no object in the partner
        (span(0, 3), span(0, 0), span(0, 0), 0.3),
        (span(0, 3), span(0, 10), span(0, 10), 0.3),
        (0.25 * span(0, 4), span(0, 8), 0.5 * span(0, 4), (1 / 8) / (1 / 8 + 3 / 4)),  # soft map, soft mask
        (0 * span(0, 1), span(0, 4), span(2, 9), 0.0),
        (1 + 0 * span(0, 1), span(0, 4), span(2, 9), 1.0),
        (span(0, 3), 1e-3 * span(0, 4), span(4, 8), (3 / 4) / (3 / 4 + 1)),  # a faint object counts as an object
        (span(0, 5), span(0, 4), 1e-3 * span(4, 8), 1 / (1 + 3 / 4)),
    ],
)
def test_label_weights_by_hand(weight: Tensor, own: Tensor, other: Tensor, expected: float):
    assert share_of_pair(weight, own, other) == pytest.approx(expected, abs=1e-6)
    assert share_of_pair(1 - weight, other, own) == pytest.approx(1 - expected, abs=1e-6)
    found = reference.share(weight.numpy(), *(reference.image_if_empty(mask.numpy()) for mask in (own, other)))
    assert found == pytest.approx(expected, abs=1e-6)


def shift_mask(mask: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Shift a mask by whole pixels with slices, mirrored if the scale is -1."""
    for axis, (factor, shift) in enumerate(zip(scale.tolist(), offset.tolist(), strict=True)):
        assert abs(factor) == 1
        assert shift == int(shift)
        length = mask.shape[axis]
        if factor < 0:
            mask, shift = mask.flip(axis), shift - length
        first, last = max(int(shift), 0), min(length + int(shift), length)
        result = torch.zeros_like(mask)
        result.narrow(axis, first, last - first).copy_(mask.narrow(axis, first - int(shift), last - first))
        mask = result
    return mask


@pytest.mark.parametrize("kind", ["boxes", "soft", "all full"])
@pytest.mark.parametrize("size", [(7, 10), (15,), (3, 4, 5)], ids=str)
@pytest.mark.parametrize("overlap", ["ignore", "cover"])
def test_the_own_object_counts_where_it_is_pasted(overlap: str, size: tuple[int, ...], kind: str):
    masks = object_masks(size, kind)
    method = ObjectPaste(scale=(1.0, 1.0), flip=0.5, overlap=overlap, labels="visible")  # type: ignore[arg-type]
    plan = method.plan(images(COUNT, size), masks=masks, generator=new_generator(0))
    move, expected = plan.own_move, []
    assert move is not None
    for own, (other, mixed) in enumerate(zip(plan.partner.tolist(), plan.mixed.tolist(), strict=True)):
        if not mixed:
            expected.append(1.0)
        elif not masks[own].any():
            expected.append(0.0)  # nothing is pasted, and the partner is completely visible
        else:
            pasted = shift_mask(masks[own, 0], move.scale[own], move.offset[own]).double().numpy()
            assert np.array_equal(plan.weight[own, 0].double().numpy(), pasted)
            expected.append(reference.share(pasted, pasted, reference.image_if_empty(masks[other, 0].numpy())))
    assert plan.share.tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", ["boxes", "soft", "all empty", "all full"])
@pytest.mark.parametrize("size", [(12, 18), (30,)], ids=str)
def test_the_partners_object_counts_where_it_is_pasted(size: tuple[int, ...], kind: str):
    """The expected object is shrunk by torch's antialiased interpolation, which has one scale for all axes."""
    masks = object_masks(size, kind)
    method = ResizeMix(scale=(0.5, 0.5), labels="visible")
    plan = method.plan(images(COUNT, size), masks=masks, generator=new_generator(0))
    things = torch.stack([torch.from_numpy(reference.image_if_empty(mask.numpy())) for mask in masks])
    flat = things if len(size) == 2 else things[:, :, None]
    half = tuple(length // 2 for length in size)
    small = F.interpolate(flat, half if len(size) == 2 else (1, *half), mode="bilinear", antialias=True)
    for own, (other, mixed) in enumerate(zip(plan.partner.tolist(), plan.mixed.tolist(), strict=True)):
        if not mixed:
            assert plan.share[own] == 1
            continue
        box = plan.weight[own, 0] == 0
        pasted = torch.zeros(size)
        pasted[box] = small[other].flatten()
        expected = reference.share(plan.weight[own, 0].numpy(), things[own, 0].numpy(), pasted.numpy())
        assert plan.share[own].item() == pytest.approx(expected, abs=1e-4)


def test_a_hidden_object_has_no_label_even_if_its_image_has_most_of_the_area(fix_lambda: Callable[[float], None]):
    """This is the purpose of the rule: CutMix may cover the object."""
    fix_lambda(0.75)
    size = (8, 8)
    masks = torch.zeros(COUNT, *size)
    masks[:, 3:5, 3:5] = 1
    plan = CutMix(labels="visible").plan(images(COUNT, size), masks=masks, generator=new_generator(2))
    hidden = plan.mixed & plan.weight[:, 0, 3:5, 3:5].flatten(1).eq(0).all(1)
    assert hidden.any()
    assert plan.share[hidden].eq(0).all()
    assert plan.weight[hidden].flatten(1).mean(1).min() >= 0.75


# With seed 0 neither of the first two samples, whose masks are empty and full, is its own partner.
@pytest.mark.parametrize(
    ("method", "empty", "full"),
    [
        (SMix(labels="visible"), 0, 0.4),
        (SMix(alpha=1.0, labels="visible"), 0, 1),
        (SMix(alpha=0.7, labels="half", feather=1.0), 0.5, 0.5),
        (SMix(alpha=0.7, labels="coverage", feather=1.0), 0, 1),
        (SMix(alpha=0.7, labels="area", feather=1.0), 0, 0.7),
        (ObjectPaste(scale=(1.0, 1.0), labels="visible"), 0, 1),
        (ObjectPaste(scale=(1.0, 1.0)), 0, 1),
        (Cutout(length=5), 1, 1),
    ],
    ids=repr,
)
def test_label_weight_of_empty_and_full_masks(method: Method, empty: float, full: float):
    x, masks = images(COUNT, (7, 10)), boxes(COUNT, (7, 10))
    plan = method.plan(x, masks=masks, generator=new_generator(0))
    assert plan.mixed[:2].all()
    torch.testing.assert_close(plan.share[:2], torch.tensor([empty, full]).float())


@pytest.mark.parametrize("second", [FMix(labels="visible"), Cutout(length=5)], ids=repr)
def test_methods_of_a_combination_keep_their_own_rule(second: Method):
    x, masks = images(COUNT, (7, 10)), boxes(COUNT, (7, 10)).float()
    for method in (Fallback(SMix(), second), RandomChoice((SMix(), second))):
        plan = method.plan(x, masks=masks, generator=new_generator(1))
        by_second = plan.fell_back if isinstance(method, Fallback) else plan.mixed & plan.share.ne(0.5)
        if plan.fill is not None:
            assert torch.equal(plan.fill, by_second)
            assert plan.share[by_second].eq(1).all()
        else:
            expected = torch.tensor(literal_share(plan, masks))
            torch.testing.assert_close(plan.share[by_second], expected[by_second], rtol=0, atol=1e-5)
        assert plan.share[plan.mixed & ~by_second].eq(0.5).all()
        assert by_second.any()
        assert (plan.mixed & ~by_second).any()


def test_visible_label_weights_are_float32_for_masks_of_any_dtype():
    x, masks = images(COUNT, (7, 10)), boxes(COUNT, (7, 10))
    plans = [
        CutMix(labels="visible").plan(x, masks=masks.to(dtype), generator=new_generator(0))
        for dtype in (torch.bool, torch.uint8, torch.float16, torch.float64)
    ]
    assert all(plan.share.dtype == torch.float32 for plan in plans)
    assert all(torch.equal(plan.share, plans[0].share) for plan in plans)
