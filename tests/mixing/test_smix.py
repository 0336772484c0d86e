"""Test SMix against the equations of the report (tests/reference/smix.py), and its edge cases."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch

from smix.mixing import SMix
from smix.mixing.smix import blur
from tests.mixing.cases import boxes, images, new_generator
from tests.reference import smix as reference

COUNT, CLASSES = 7, 5
LABELS = torch.tensor([0, 3, 1, 1, 4, 2, 0])


def soft_masks(size: tuple[int, ...]) -> torch.Tensor:
    return torch.rand(COUNT, *size, generator=new_generator(9))


@pytest.mark.parametrize("alpha", [0.4, 1.0])
@pytest.mark.parametrize("size", [(5, 9), (13,), (3, 4, 5)], ids=str)
def test_the_mix_equals_equation_2_pixel_by_pixel(size: tuple[int, ...], alpha: float):
    x = images(COUNT, size)
    for masks in (soft_masks(size), boxes(COUNT, size)[:, 0]):
        plan = SMix(alpha=alpha).plan(x, masks=masks, generator=new_generator(0))
        expected = reference.smix(x.numpy(), masks.numpy(), plan.partner.tolist(), alpha)
        np.testing.assert_allclose(plan.blend(x).numpy(), expected, rtol=0, atol=1e-6)


def test_alpha_1_pastes_the_object_onto_the_partner():
    x, masks = images(COUNT, (5, 9)), boxes(COUNT, (5, 9))
    plan = SMix(alpha=1.0).plan(x, masks=masks, generator=new_generator(0))
    assert torch.equal(plan.blend(x), torch.where(masks, x, x[plan.partner]))


def test_the_loss_equals_equation_3():
    x, logits = images(COUNT, (5, 9)), images(COUNT, (CLASSES,))[:, 0]
    _, target = SMix()(x, LABELS, masks=boxes(COUNT, (5, 9)), generator=new_generator(0))
    partner = SMix().plan(x, masks=boxes(COUNT, (5, 9)), generator=new_generator(0)).partner
    assert target.mixed.any()
    expected = reference.half_loss(logits.tolist(), LABELS.tolist(), partner.tolist())
    assert target.loss(logits).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["boxes", "soft"])
@pytest.mark.parametrize("alpha", [0.4, 1.0])
def test_coverage_labels_equal_equation_11_for_any_alpha(alpha: float, kind: str):
    x, logits = images(COUNT, (5, 9)), images(COUNT, (CLASSES,))[:, 0]
    masks = boxes(COUNT, (5, 9))[:, 0] if kind == "boxes" else soft_masks((5, 9))
    method = SMix(alpha=alpha, labels="coverage")
    plan = method.plan(x, masks=masks, generator=new_generator(0))
    own = torch.tensor(reference.coverage(masks.numpy()))
    torch.testing.assert_close(plan.share[plan.mixed], own.float()[plan.mixed], rtol=0, atol=1e-6)
    expected = reference.coverage_loss(logits.tolist(), LABELS.tolist(), plan.partner.tolist(), masks.numpy())
    assert plan.target(LABELS).loss(logits).item() == pytest.approx(expected, abs=1e-6)


# With seed 0 neither of the first two samples, whose masks are empty and full, is its own partner.
@pytest.mark.parametrize(("labels", "empty", "full"), [("half", 0.5, 0.5), ("coverage", 0, 1), ("area", 0, 0.4)])
def test_label_weight_of_empty_and_full_masks(labels: str, empty: float, full: float):
    x, masks = images(COUNT, (5, 9)), boxes(COUNT, (5, 9))
    plan = SMix(alpha=0.4, labels=labels).plan(x, masks=masks, generator=new_generator(0))  # type: ignore[arg-type]
    assert plan.mixed[:2].all()
    torch.testing.assert_close(plan.share[:2], torch.tensor([empty, full]).float())
    assert torch.equal(plan.blend(x)[0], x[plan.partner[0]])


def test_the_loss_under_coverage_uses_one_label_for_empty_and_full_masks():
    x, logits = images(COUNT, (5, 9)), images(COUNT, (CLASSES,))[:, 0]
    plan = SMix(labels="coverage").plan(x, masks=boxes(COUNT, (5, 9)), generator=new_generator(0))
    each = plan.target(LABELS).loss(logits, reduction="none").tolist()
    rows = logits.tolist()
    assert each[0] == pytest.approx(reference.cross_entropy(rows[0], int(LABELS[plan.partner[0]])), abs=1e-6)
    assert each[1] == pytest.approx(reference.cross_entropy(rows[1], int(LABELS[1])), abs=1e-6)


def test_the_mask_is_that_of_the_own_image_not_of_the_partner():
    x, masks = images(COUNT, (5, 9)), boxes(COUNT, (5, 9), seed=3)
    plan = SMix(alpha=0.4).plan(x, masks=masks, generator=new_generator(0))
    assert plan.mixed.any()
    assert torch.equal(plan.weight[plan.mixed], 0.4 * masks[plan.mixed].float())


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("axis", ["with", "without"])
def test_every_dtype_and_shape_of_a_mask_gives_the_same_plan(dtype: torch.dtype, axis: str):
    x, masks = images(COUNT, (5, 9)), boxes(COUNT, (5, 9))
    given = (masks if axis == "with" else masks[:, 0]).to(dtype)
    assert torch.equal(
        SMix().plan(x, masks=given, generator=new_generator(0)).weight,
        SMix().plan(x, masks=masks, generator=new_generator(0)).weight,
    )


def test_a_pair_as_alpha_draws_one_strength_per_sample_from_that_beta():
    count = 5000
    x, masks = torch.zeros(count, 1, 2, 3), torch.ones(count, 2, 3)
    masks[:, 0, 0] = 0
    plan = SMix(alpha=(2.0, 5.0)).plan(x, masks=masks, generator=new_generator(0))
    weight = plan.weight[plan.mixed].flatten(1)
    assert weight[:, 0].eq(0).all()
    assert weight[:, 1:].eq(weight[:, 1:2]).all()
    assert scipy.stats.kstest(weight[:, 1].numpy(), scipy.stats.beta(2, 5).cdf).pvalue > 0.01


def test_a_pair_as_alpha_draws_one_strength_per_batch():
    x, masks = images(COUNT, (5, 9)), torch.ones(COUNT, 5, 9)
    plan = SMix(alpha=(2.0, 5.0), per_batch=True).plan(x, masks=masks, generator=new_generator(0))
    assert plan.weight[plan.mixed].unique().numel() == 1


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5, 6])
@pytest.mark.parametrize("size", [(12, 17), (31,), (7, 9, 11)], ids=str)
def test_feather_equals_the_gaussian_of_scipy(size: tuple[int, ...], sigma: float):
    masks = boxes(5, size, seed=2).float()
    radius = int(np.ceil(3 * sigma))
    expected = [
        scipy.ndimage.gaussian_filter(mask.double().numpy(), sigma, mode="nearest", radius=radius)
        for mask in masks[:, 0]
    ]
    np.testing.assert_allclose(blur(masks, float(sigma))[:, 0].numpy(), np.stack(expected), rtol=0, atol=2e-6)


def test_feather_changes_the_weight_and_the_area_but_not_the_coverage():
    size = (12, 17)
    x, masks = images(COUNT, size), boxes(COUNT, size)
    by_area, by_coverage = (
        SMix(alpha=0.5, labels=labels, feather=1.5).plan(x, masks=masks, generator=new_generator(0))  # type: ignore[arg-type]
        for labels in ("area", "coverage")
    )
    mixed = by_area.mixed
    soft = np.stack(
        [scipy.ndimage.gaussian_filter(m.numpy(), 1.5, mode="nearest", radius=5) for m in masks.double()[:, 0]]
    )
    np.testing.assert_allclose(by_area.weight[mixed, 0].numpy(), 0.5 * soft[mixed], rtol=0, atol=2e-6)
    np.testing.assert_allclose(by_area.share[mixed].numpy(), 0.5 * soft.mean((1, 2))[mixed], rtol=0, atol=2e-6)
    torch.testing.assert_close(by_coverage.share[mixed], masks[mixed].float().flatten(1).mean(1))


def test_feather_0_is_the_mask_itself():
    x, masks = images(COUNT, (5, 9)), boxes(COUNT, (5, 9))
    weight = SMix(alpha=1.0, feather=0.0).plan(x, masks=masks, generator=new_generator(0)).weight
    assert set(weight.unique().tolist()) == {0.0, 1.0}
