"""Test Fallback: the hybrid of the report (eq. 10), which samples fall back, and that both methods share one partner."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smix.mixing import CutMix, Fallback, FMix, Method, Mixup, SMix, Validity, Vanilla
from tests.mixing.cases import boxes, images, new_generator
from tests.reference import smix as reference

COUNT, SIZE = 15, (8, 13)
ANY_SHAPE = {"max_roughness": 0.0, "min_free_border": 0.0}
LARGE = Validity(min_coverage=0.1, max_coverage=0.9, **ANY_SHAPE)


def expected_valid(masks: torch.Tensor) -> list[bool]:
    return [0.1 <= share <= 0.9 for share in reference.coverage(masks[:, 0].numpy())]


@pytest.mark.parametrize(("alpha", "strength"), [(0.4, 1.0), (1.0, 0.6), (0.7, 0.25)])
def test_the_hybrid_is_equation_10(alpha: float, strength: float):
    x, masks = images(COUNT, SIZE), boxes(COUNT, SIZE)
    valid = expected_valid(masks)
    assert 3 < sum(valid) < COUNT - 3
    hybrid = Fallback(SMix(alpha=alpha), FMix(strength=strength), valid=LARGE)
    plan = hybrid.plan(x, masks=masks, generator=new_generator(0))
    # SMix with a fixed alpha draws nothing, so a separate FMix draws the same clouds.
    clouds = FMix().plan(x, generator=new_generator(0))
    assert torch.equal(plan.partner, clouds.partner)
    expected = reference.hybrid(
        x.numpy(), masks[:, 0].numpy(), clouds.weight[:, 0].numpy(), valid, plan.partner.tolist(), alpha, strength
    )
    # The plan of an unmixed sample has no cloud; both of its images are the same.
    np.testing.assert_allclose(plan.blend(x).numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("second", [FMix(), Mixup(), CutMix(per_batch=True), Vanilla(), FMix(prob=0.0)], ids=repr)
def test_fell_back_marks_the_samples_of_the_second_method(second: Method):
    """This includes samples that the second method does not mix. Training logs show the count."""
    x, masks = images(COUNT, SIZE), boxes(COUNT, SIZE)
    plan = Fallback(SMix(), second, valid=LARGE).plan(x, masks=masks, generator=new_generator(0))
    paired = SMix().plan(x, generator=new_generator(0), masks=masks).mixed
    assert torch.equal(plan.fell_back, paired & ~torch.tensor(expected_valid(masks)))
    assert plan.fell_back.any()
    assert torch.equal(plan.target(torch.arange(COUNT)).fell_back, plan.fell_back)


def test_a_valid_mask_is_mixed_by_the_first_method_alone():
    x, masks = images(COUNT, SIZE), boxes(COUNT, SIZE)
    plan = Fallback(SMix(alpha=0.7), Mixup(), valid=LARGE).plan(x, masks=masks, generator=new_generator(0))
    first = SMix(alpha=0.7).plan(x, masks=masks, generator=new_generator(0))
    kept = plan.mixed & ~plan.fell_back
    assert kept.any()
    assert torch.equal(plan.weight[kept], first.weight[kept])
    assert torch.equal(plan.share[kept], first.share[kept])


def test_no_sample_falls_back_if_every_mask_is_valid():
    x, masks = images(COUNT, SIZE), boxes(COUNT, SIZE)
    anything = Validity(min_coverage=0.0, max_coverage=1.0, **ANY_SHAPE)
    plan = Fallback(SMix(), FMix(), valid=anything).plan(x, masks=masks, generator=new_generator(0))
    alone = SMix().plan(x, masks=masks, generator=new_generator(0))
    assert not plan.fell_back.any()
    assert torch.equal(plan.weight, alone.weight)


def test_the_verdict_of_a_store_is_combined_with_the_criteria():
    x, masks = images(COUNT, SIZE), boxes(COUNT, SIZE)
    verdict = torch.arange(COUNT) % 2 == 0
    measured = torch.tensor(expected_valid(masks))
    assert {(True, True), (True, False), (False, True), (False, False)} == set(
        zip(verdict.tolist(), measured.tolist(), strict=True)
    )
    plan = Fallback(SMix(), FMix(), valid=LARGE).plan(x, masks=masks, valid=verdict, generator=new_generator(0))
    paired = plan.partner != torch.arange(COUNT)
    assert torch.equal(plan.fell_back, paired & ~(verdict & measured))


def test_the_partner_is_drawn_once_for_both():
    x, masks = images(COUNT, SIZE), boxes(COUNT, SIZE)
    for seed in range(10):
        plan = Fallback(SMix(), FMix(), valid=LARGE).plan(x, masks=masks, generator=new_generator(seed))
        assert sorted(plan.partner.tolist()) == list(range(COUNT))
        assert torch.equal(plan.partner, SMix().plan(x, masks=masks, generator=new_generator(seed)).partner)


def test_the_prob_of_both_methods_and_of_the_fallback_are_applied():
    x, masks = images(COUNT, SIZE), boxes(COUNT, SIZE)
    valid = torch.tensor(expected_valid(masks))
    never_first = Fallback(SMix(prob=0.0), FMix(), valid=LARGE).plan(x, masks=masks, generator=new_generator(0))
    assert torch.equal(never_first.mixed, never_first.fell_back)
    never = Fallback(SMix(), FMix(), valid=LARGE, prob=0.0).plan(x, masks=masks, generator=new_generator(0))
    assert not never.mixed.any()
    assert not never.fell_back.any()
    never_second = Fallback(SMix(), FMix(prob=0.0), valid=LARGE).plan(x, masks=masks, generator=new_generator(0))
    assert not (never_second.mixed & ~valid).any()
    assert (never_second.mixed & valid).any()


def test_per_batch_draws_one_cloud_for_all_samples_that_fall_back():
    x, masks = images(COUNT, SIZE), torch.zeros(COUNT, 1, *SIZE, dtype=torch.bool)
    method = Fallback(SMix(), FMix(), per_batch=True)
    for chosen, clouds in ((method, 1), (replace(method, per_batch=False), COUNT - 3)):
        plan = chosen.plan(x, masks=masks, generator=new_generator(0))
        assert plan.weight[plan.mixed].flatten(1).unique(dim=0).shape[0] in range(clouds, clouds + 4)
    shared = method.plan(x, masks=masks, generator=new_generator(0))
    assert shared.weight[shared.mixed].flatten(1).unique(dim=0).shape[0] == 1


@pytest.mark.parametrize("pixels", [0, 1, 104])
def test_empty_single_pixel_and_full_masks_fall_back_and_keep_a_clean_label(pixels: int):
    x = images(COUNT, SIZE)
    masks = (torch.arange(104) < pixels).view(1, 1, *SIZE).expand(COUNT, 1, *SIZE)
    plan = Fallback(SMix(), FMix()).plan(x, masks=masks, generator=new_generator(0))
    assert torch.equal(plan.fell_back, plan.mixed)
    assert plan.mixed.any()
    torch.testing.assert_close(plan.share, plan.weight.flatten(1).mean(1))


def test_fallbacks_can_be_nested():
    x, masks = images(COUNT, SIZE), boxes(COUNT, SIZE)
    inner = Fallback(SMix(alpha=0.7), Mixup(), valid=LARGE)
    plan = Fallback(inner, Vanilla(), valid=Validity(min_coverage=0.0, **ANY_SHAPE)).plan(
        x, masks=masks, generator=new_generator(0)
    )
    alone = inner.plan(x, masks=masks, generator=new_generator(0))
    full = masks.flatten(1).float().mean(1) > 0.95
    assert torch.equal(plan.weight[~full], alone.weight[~full].broadcast_to(plan.weight[~full].shape))
    assert not plan.mixed[full].any()


def test_a_fallback_inside_a_fallback_is_recorded_too():
    never, always = Validity(min_coverage=0.0, max_coverage=0.0), Validity(min_coverage=0.0, max_coverage=1.0)
    method = Fallback(Fallback(SMix(), FMix(), never), CutMix(), always)
    plan = method.plan(images(COUNT, SIZE), masks=torch.ones(COUNT, *SIZE), generator=new_generator(0))
    assert plan.mixed.any()
    assert torch.equal(plan.fell_back, plan.mixed)
