"""Test ResizeMix against the list of all boxes in tests/reference/resizemix.py, and torch's antialiased interpolation."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from smix.mixing import ResizeMix
from tests.mixing.cases import images, new_generator, within
from tests.mixing.listed import assert_drawn_as_listed, draw_maps, equally_likely
from tests.reference import resizemix as reference

pytestmark = pytest.mark.usefixtures("without_type_checks")


@pytest.mark.parametrize("tau", [0.05, 0.3, 0.55, 0.8, 1.0])
@pytest.mark.parametrize("size", [(8, 8), (6, 11), (11, 6), (14,), (4, 5, 6)], ids=str)
def test_all_boxes_inside_the_image_are_drawn_and_no_others(size: tuple[int, ...], tau: float):
    assert_drawn_as_listed(
        draw_maps(ResizeMix(scale=(tau, tau)), 4000, size), equally_likely(reference.maps(size, tau))
    )


@pytest.mark.parametrize(("low", "high"), [("1/10", "4/5"), ("1/4", "1/2"), ("3/5", "1")])
@pytest.mark.parametrize("size", [(12, 20), (20, 12), (15,), (6, 8, 11)], ids=str)
def test_tau_is_uniform_and_the_same_for_all_axes(size: tuple[int, ...], low: str, high: str):
    law = reference.side_probabilities(size, Fraction(low), Fraction(high))
    maps = draw_maps(ResizeMix(scale=(float(Fraction(low)), float(Fraction(high)))), 4000, size).numpy()
    found = Counter(reference.box_of(weight)[1] for weight in maps)
    assert set(found) <= set(law)
    assert all(within(found[sides], len(maps), probability, 4.5) for sides, probability in law.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("size", [(32, 32), (24, 40), (41, 23)], ids=str)
def test_the_patch_is_the_complete_partner_shrunk_by_antialiased_interpolation(
    size: tuple[int, int], dtype: torch.dtype
):
    x = images(40, size).to(dtype)
    plan = ResizeMix().plan(x, generator=new_generator(1))
    mixed = plan.blend(x)
    assert mixed.dtype == dtype
    assert plan.mixed.sum() > 30
    for i in plan.mixed.nonzero().flatten().tolist():
        (top, left), sides = reference.box_of(plan.weight[i, 0].numpy())
        partner = x[plan.partner[i], None].float()
        expected = x[i].clone()
        patch = F.interpolate(partner, sides, mode="bilinear", antialias=True, align_corners=False)[0]
        expected[:, top : top + sides[0], left : left + sides[1]] = patch.to(dtype)
        torch.testing.assert_close(mixed[i], expected, rtol=0, atol=1e-5 if dtype == torch.float32 else 4e-3)
        outside = plan.weight[i, 0] == 1
        assert torch.equal(mixed[i, :, outside], x[i, :, outside])


@pytest.mark.parametrize("size", [(6, 9), (9, 6), (17,), (4, 3, 5)], ids=str)
def test_the_mix_equals_that_of_the_reference(size: tuple[int, ...]):
    x = images(8, size, channels=2)
    plan = ResizeMix(scale=(0.4, 0.9)).plan(x, generator=new_generator(1))
    mixed = plan.blend(x).numpy()
    for i in plan.mixed.nonzero().flatten().tolist():
        box = reference.box_of(plan.weight[i, 0].numpy())
        expected = reference.mix(x[i].numpy(), x[plan.partner[i]].numpy(), *box)
        np.testing.assert_allclose(mixed[i], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(24, 40), (40, 24), (53,), (9, 12, 15)], ids=str)
def test_a_shrunk_constant_image_keeps_its_value_and_the_area_is_that_of_the_box(size: tuple[int, ...]):
    count = 60
    x = torch.arange(1.0, count + 1).view(-1, 1, *[1] * len(size)).expand(count, 1, *size)
    plan = ResizeMix().plan(x, generator=new_generator(2))
    mixed, keep = plan.blend(x), plan.weight == 1
    partners = x[plan.partner]
    torch.testing.assert_close(mixed, torch.where(keep, x, partners), rtol=1e-6, atol=0)
    torch.testing.assert_close(plan.share, keep.flatten(1).float().mean(1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("tau", [0.1, 0.37, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("size", [(32, 32), (24, 40), (40, 24)], ids=str)
def test_the_label_weight_is_the_area_within_a_row_and_a_column_of_tau_squared(size: tuple[int, int], tau: float):
    plan = ResizeMix(scale=(tau, tau)).plan(torch.zeros(30, 1, *size), generator=new_generator(0))
    cut = 1 - plan.share[plan.mixed]
    height, width = reference.sides(size, tau)
    torch.testing.assert_close(cut, torch.full_like(cut, height * width / (size[0] * size[1])), rtol=0, atol=1e-6)
    assert (cut - tau**2).abs().max() <= tau / size[0] + tau / size[1]


def test_at_scale_1_the_partner_replaces_the_image_exactly():
    x = images(12, (9, 14))
    plan = ResizeMix(scale=(1.0, 1.0)).plan(x, generator=new_generator(0))
    assert torch.equal(plan.blend(x), x[plan.partner])
    assert plan.share.tolist() == (~plan.mixed).float().tolist()


def test_per_batch_draws_one_tau_and_place():
    x = images(40, (24, 40))
    plan = ResizeMix(per_batch=True).plan(x, generator=new_generator(0))
    assert plan.partner_move is not None
    for move in (plan.partner_move.scale, plan.partner_move.offset, plan.weight[plan.mixed].flatten(1)):
        assert len(move.unique(dim=0)) == 1
    several = ResizeMix().plan(x, generator=new_generator(0))
    assert several.partner_move is not None
    assert len(several.partner_move.offset.unique(dim=0)) > 30
    assert len(several.partner_move.scale.unique(dim=0)) > 10
