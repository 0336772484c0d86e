"""Test ObjectPaste: size, position and pixels of the object, against tests/reference/objectpaste.py."""

import itertools

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from smix.mixing import ObjectPaste, Plan
from tests.mixing.cases import boxes, images, new_generator, within
from tests.reference import objectpaste as reference

pytestmark = pytest.mark.usefixtures("without_type_checks")
SIZES = pytest.mark.parametrize("size", [(6, 9), (9, 6), (11,), (4, 5, 6)], ids=str)
COUNT = 12
AS_IT_IS = (1.0, 1.0)


def blobs(count: int, size: tuple[int, ...], seed: int = 0, full: float = 0.6) -> Tensor:
    """Return bool masks (count, 1, *size): random pixels of random boxes; the first mask empty, the second full."""
    masks = boxes(count, size, seed)
    masks[2:] &= torch.rand(masks[2:].shape, generator=new_generator(seed)) < full
    return masks


def plan_of(method: ObjectPaste, masks: Tensor, seed: int = 0) -> Plan:
    return method.plan(images(len(masks), tuple(masks.shape[2:])), masks=masks, generator=new_generator(seed))


def mixed_pairs(plan: Plan) -> list[tuple[int, int]]:
    return [(own, other) for own, other in enumerate(plan.partner.tolist()) if plan.mixed[own]]


def corner_of(plan: Plan, masks: Tensor, row: int) -> tuple[float, ...]:
    """Return the first pixel of the box in whose centre the object is placed."""
    move = plan.own_move
    assert move is not None
    mask = masks[row, 0].numpy()
    scales, offsets = move.scale[row].tolist(), move.offset[row].tolist()
    corner = []
    for scale, offset, (first, last), side in zip(
        scales, offsets, reference.extent(mask), reference.sides(mask, abs(scales[0])), strict=True
    ):
        middle = (side - abs(scale) * (last - first)) / 2
        corner.append(scale * (last if scale < 0 else first) + offset - middle)
    return tuple(corner)


@SIZES
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_at_scale_1_the_object_is_copied_exactly(size: tuple[int, ...], flip: float):
    x = images(COUNT, size)
    for seed in range(4):
        masks = blobs(COUNT, size, seed)
        plan = plan_of(ObjectPaste(scale=AS_IT_IS, flip=flip), masks, seed)
        mixed = plan.blend(x)
        for own, other in mixed_pairs(plan):
            corner = corner_of(plan, masks, own)
            assert corner in reference.corners(masks[own, 0].numpy(), 1.0)
            place = tuple(map(int, corner))
            expected = reference.copy_object(x[own].numpy(), masks[own, 0].numpy(), x[other].numpy(), place, flip == 1)
            assert np.array_equal(mixed[own].numpy(), expected)
            weight = reference.paste_mask(masks[own, 0].double().numpy(), 1.0, place, flip == 1)
            assert np.array_equal(plan.weight[own, 0].numpy(), weight)
            assert plan.share[own].item() == pytest.approx(masks[own].float().mean().item(), abs=1e-6)


@SIZES
@pytest.mark.parametrize("factor", [0.3, 0.5, 0.75, 1.4, 30.0])
def test_scaled_soft_objects_equal_those_of_the_reference(size: tuple[int, ...], factor: float):
    masks = blobs(COUNT, size).float() * torch.rand(COUNT, 1, *size, generator=new_generator(1)).clamp(min=0.01)
    plan = plan_of(ObjectPaste(scale=(factor, factor), flip=0.5), masks)
    move = plan.own_move
    assert move is not None
    for own, _ in mixed_pairs(plan):
        mask, corner = masks[own, 0].double().numpy(), corner_of(plan, masks, own)
        fitting = reference.largest_fitting(mask, factor)
        assert move.scale[own].abs().tolist() == pytest.approx([fitting] * len(size), rel=1e-6)
        nearest = tuple(map(round, corner))
        assert corner == pytest.approx(nearest, abs=1e-4)
        assert nearest in reference.corners(mask, fitting)
        expected = reference.paste_mask(mask, fitting, nearest, bool(move.scale[own, -1] < 0))
        np.testing.assert_allclose(plan.weight[own, 0].numpy(), expected, rtol=0, atol=1e-4)
        assert plan.share[own].item() == pytest.approx(expected.mean(), abs=1e-4)
    assert 0 < (move.scale[plan.mixed, -1] < 0).sum() < plan.mixed.sum()


@pytest.mark.parametrize("column", [0, 3, 15])
def test_an_object_far_smaller_than_a_pixel_is_pasted(column: int):
    masks = torch.zeros(6, 1, 16, 16)
    masks[:, :, 3:5, column] = 1
    plan = plan_of(ObjectPaste(scale=(0.3, 0.3)), masks)
    assert (plan.share[plan.mixed] > 0.2 * 0.3 * 0.3 * 2 / 256).all()


@SIZES
@pytest.mark.parametrize("overlap", ["ignore", "avoid", "cover"])
@pytest.mark.parametrize("scale", [(0.4, 0.9), (1.0, 3.0)], ids=str)
def test_the_object_is_completely_in_the_frame(size: tuple[int, ...], overlap: str, scale: tuple[float, float]):
    for seed in range(4):
        masks = blobs(COUNT, size, seed, full=1.0)
        plan = plan_of(ObjectPaste(scale=scale, flip=0.5, overlap=overlap), masks, seed)  # type: ignore[arg-type]
        move = plan.own_move
        assert move is not None
        for own, _ in mixed_pairs(plan):
            corner = corner_of(plan, masks, own)
            factor = move.scale[own, 0].abs().item()
            assert factor <= scale[1]
            for start, length, (first, last) in zip(corner, size, reference.extent(masks[own, 0].numpy()), strict=True):
                assert start >= -1e-4
                assert start + factor * (last - first) <= length + 2e-3


def test_the_size_of_the_object_is_the_factor_times_its_box():
    masks = torch.zeros(200, 1, 40, 60)
    masks[:, :, 10:30, 20:44] = 1
    for factor, rows, columns in ((0.25, 5, 6), (0.5, 10, 12), (0.8, 16, 20), (1.5, 30, 36)):
        plan = plan_of(ObjectPaste(scale=(factor, factor)), masks)
        weight = plan.weight[plan.mixed, 0]
        assert (weight > 0).amax(2).sum(1).eq(rows).all()
        assert (weight > 0).amax(1).sum(1).eq(columns).all()
        # Its edge is soft and cropped to these pixels.
        for total in weight.flatten(1).sum(1).tolist():
            assert 20 * 24 * factor**2 * 0.9 < total < 20 * 24 * factor**2 * 1.01


@SIZES
def test_an_object_that_would_not_fit_is_pasted_as_large_as_possible(size: tuple[int, ...]):
    masks = blobs(COUNT, size, full=1.0)
    plan = plan_of(ObjectPaste(scale=(50.0, 60.0)), masks)
    move = plan.own_move
    assert move is not None
    for own, _ in mixed_pairs(plan):
        sides = [last - first for first, last in reference.extent(masks[own, 0].numpy())]
        spans = [move.scale[own, 0].item() * side for side in sides]
        assert max(span / length for span, length in zip(spans, size, strict=True)) == pytest.approx(1, abs=1e-5)


def test_factors_are_uniform_between_the_ends_of_scale():
    masks = torch.zeros(4000, 1, 2, 9)
    masks[:, :, :1, 3:6] = 1
    move = plan_of(ObjectPaste(scale=(0.6, 1.7)), masks).own_move
    assert move is not None
    factors = move.scale[:, 0].numpy()
    factors = factors[factors != 1]
    assert len(factors) > 3990
    assert scipy.stats.kstest(factors, scipy.stats.uniform(0.6, 1.1).cdf).pvalue > 0.01


@SIZES
@pytest.mark.parametrize("scale", [AS_IT_IS, (0.4, 2.0)], ids=str)
def test_image_and_mask_are_moved_alike(size: tuple[int, ...], scale: tuple[float, float]):
    """The image equals its mask and the partner is black, so the mix must be the square of the moved mask."""
    masks = blobs(2, size, full=1.0).float()
    masks[0] = torch.rand(masks[0].shape, generator=new_generator(2))
    turned = 0
    for seed in range(12):
        plan = plan_of(ObjectPaste(scale=scale, flip=0.5), masks, seed)
        if plan.mixed[0]:
            x = torch.stack([masks[0], torch.zeros_like(masks[1])])
            torch.testing.assert_close(plan.blend(x)[0], plan.weight[0] ** 2, rtol=0, atol=1e-5)
            turned += bool(plan.own_move.scale[0, -1] < 0)  # type: ignore[union-attr]
    assert 0 < turned < 12


def test_flip_is_a_probability_and_mirrors_only_the_last_axis():
    masks = torch.ones(3000, 1, 2, 3)
    move = plan_of(ObjectPaste(scale=AS_IT_IS, flip=0.3), masks).own_move
    assert move is not None
    assert move.scale[:, 0].eq(1).all()
    assert move.scale[:, 1].abs().eq(1).all()
    assert within(int((move.scale[:, 1] < 0).sum()), 2999, 0.3)
    unturned = plan_of(ObjectPaste(scale=AS_IT_IS, flip=0.0), masks).own_move
    assert unturned is not None
    assert unturned.scale.eq(1).all()


@pytest.mark.parametrize("size", [(7, 6), (9,), (4, 4, 5)], ids=str)
@pytest.mark.parametrize(("overlap", "factor"), [("ignore", 1.0), ("ignore", 0.5), ("avoid", 1.0), ("cover", 1.0)])
def test_all_legal_positions_are_equally_likely(size: tuple[int, ...], overlap: str, factor: float):
    """With `avoid` and `cover`: if no partner has an object, all positions are equal."""
    count, total = 3000, 0
    masks = torch.zeros(count, 1, *size)
    masks[(slice(0, count // 2), slice(None), *(slice(1, 4) for _ in size))] = 1
    plan = plan_of(ObjectPaste(scale=(factor, factor), overlap=overlap), masks)  # type: ignore[arg-type]
    places = dict.fromkeys(reference.corners(masks[0, 0].numpy(), factor), 0)
    for own, other in mixed_pairs(plan):
        if own < count // 2 and (overlap == "ignore" or other >= count // 2):
            places[tuple(map(round, corner_of(plan, masks, own)))] += 1
            total += 1
    assert total > 600
    assert len(places) == np.prod([length - (2 if factor == 1 else 1) for length in size])
    assert all(within(found, total, 1 / len(places), sigmas=5) for found in places.values())


def test_positions_along_the_axes_are_independent():
    masks = torch.zeros(3000, 1, 12, 12)
    masks[:, :, :2, :2] = 1
    move = plan_of(ObjectPaste(scale=AS_IT_IS), masks).own_move
    assert move is not None
    assert abs(np.corrcoef(move.offset.numpy().T)[0, 1]) < 4 / 3000**0.5


@SIZES
@pytest.mark.parametrize("overlap", ["ignore", "avoid", "cover"])
def test_without_an_object_the_mix_is_the_partner(size: tuple[int, ...], overlap: str):
    x, masks = images(COUNT, size), torch.zeros(COUNT, *size)
    plan = ObjectPaste(overlap=overlap).plan(x, masks=masks, generator=new_generator(0))  # type: ignore[arg-type]
    assert plan.mixed.sum() > COUNT / 2
    assert plan.share[plan.mixed].eq(0).all()
    assert torch.equal(plan.blend(x), x[plan.partner])


@SIZES
@pytest.mark.parametrize("overlap", ["ignore", "avoid", "cover"])
def test_a_full_mask_at_scale_1_gives_the_own_image(size: tuple[int, ...], overlap: str):
    x, masks = images(COUNT, size), torch.ones(COUNT, *size)
    plan = ObjectPaste(scale=AS_IT_IS, overlap=overlap).plan(x, masks=masks, generator=new_generator(0))  # type: ignore[arg-type]
    assert plan.mixed.sum() > COUNT / 2
    assert plan.share.eq(1).all()
    assert torch.equal(plan.blend(x), x)


def test_the_mask_is_that_of_the_own_image_not_of_the_partner():
    x, masks = images(COUNT, (6, 9)), blobs(COUNT, (6, 9), seed=3)
    plan = plan_of(ObjectPaste(scale=AS_IT_IS), masks)
    area = masks.float().flatten(1).mean(1)
    assert (area[plan.partner] - area)[plan.mixed].abs().max() > 0.1
    torch.testing.assert_close(plan.share[plan.mixed], area[plan.mixed])
    assert not torch.equal(plan.blend(x), x)


@pytest.mark.parametrize("overlap", ["ignore", "avoid", "cover"])
def test_per_batch_draws_once(overlap: str):
    """Equal masks are pasted alike; objects of other sizes get the same factor as far as they fit."""
    masks = torch.zeros(COUNT, 1, 8, 11)
    masks[:, :, 2:4, 3:6] = 1
    moves = set()
    for seed in range(8):
        plan = plan_of(ObjectPaste(flip=0.5, overlap=overlap, per_batch=True), masks, seed)  # type: ignore[arg-type]
        move = plan.own_move
        assert move is not None
        rows = torch.cat([move.scale, move.offset], 1)[plan.mixed].unique(dim=0)
        assert len(rows) == 1
        moves.add(tuple(rows[0].tolist()))
    assert len(moves) == 8
    several = plan_of(ObjectPaste(overlap=overlap), masks).own_move  # type: ignore[arg-type]
    assert several is not None
    assert len(several.scale.unique(dim=0)) > COUNT / 2


def test_the_extent_of_an_object_is_that_of_its_pixels():
    masks = blobs(6, (5, 7), full=1.0)
    for mask in masks[2:, 0].numpy():
        if mask.any():
            rows, columns = np.nonzero(mask)
            assert reference.extent(mask) == [
                (rows.min(), rows.max() + 1),
                (columns.min(), columns.max() + 1),
            ]
    assert list(itertools.chain(*reference.extent(masks[0, 0].numpy()))) == [0, 5, 0, 7]
