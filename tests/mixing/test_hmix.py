"""Test HMix against the map of every centre in tests/reference/hmix.py, and against its two limits."""

from collections.abc import Callable

import pytest
import torch

from smix.mixing import CutMix, HMix, Mixup
from tests.mixing.cases import images, new_generator
from tests.mixing.listed import assert_drawn_as_listed, draw_maps, equally_likely
from tests.reference import cutmix
from tests.reference import hmix as reference

pytestmark = pytest.mark.usefixtures("without_type_checks")

SIZES = pytest.mark.parametrize("size", [(8, 8), (6, 11), (11, 6), (14,), (4, 5, 6)], ids=str)


@pytest.mark.parametrize(("kept", "ratio"), [(0.05, 0.5), (0.37, 0.5), (0.37, 0.9), (0.9, 0.5), (0.2, 1.0)])
@SIZES
def test_all_maps_of_the_paper_are_drawn_and_no_others(
    size: tuple[int, ...], kept: float, ratio: float, fix_lambda: Callable[[float], None]
):
    fix_lambda(kept)
    assert_drawn_as_listed(draw_maps(HMix(ratio=ratio), 4000, size), equally_likely(reference.maps(size, kept, ratio)))


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.83, 1.0])
@SIZES
def test_the_mean_is_lambda_for_any_clipping(
    size: tuple[int, ...], kept: float, ratio: float, fix_lambda: Callable[[float], None]
):
    fix_lambda(kept)
    plan = HMix(ratio=ratio).plan(torch.zeros(300, 1, *size), generator=new_generator(0))
    torch.testing.assert_close(plan.share[plan.mixed], torch.full((int(plan.mixed.sum()),), kept), rtol=0, atol=2e-6)
    assert plan.weight.min() >= 0
    assert plan.weight.max() <= 1
    if kept > 0 and min(cutmix.sides(size, 1 - (1 - kept) * ratio)) > 1:
        assert len((plan.weight[plan.mixed] == 0).flatten(1).sum(1).unique()) > 1, "no box was clipped"


@pytest.mark.parametrize("per_batch", [False, True])
@SIZES
def test_ratio_0_is_mixup(size: tuple[int, ...], per_batch: bool):
    x = images(50, size)
    plan = HMix(alpha=0.7, ratio=0.0, per_batch=per_batch).plan(x, generator=new_generator(3))
    mixup = Mixup(alpha=0.7, per_batch=per_batch).plan(x, generator=new_generator(3))
    assert torch.equal(plan.weight, mixup.weight.expand_as(plan.weight))
    assert torch.equal(plan.blend(x), mixup.blend(x))


@SIZES
def test_ratio_1_is_cutmix_except_for_compensation_of_clipping(size: tuple[int, ...]):
    x = torch.zeros(300, 1, *size)
    plan, boxes, lambdas = (
        method.plan(x, generator=new_generator(3)) for method in (HMix(ratio=1.0), CutMix(), Mixup())
    )
    assert torch.equal(plan.weight == 0, boxes.weight == 0)
    # Rounding and clipping leave more than lambda of the own image; HMix compensates for the difference outside the box.
    outside = plan.weight.flatten(1).amax(1)
    torch.testing.assert_close(outside * boxes.share, lambdas.share)
    assert (outside < 0.8).any()


@pytest.mark.parametrize(("kept", "value"), [(0.0, 0.0), (1.0, 1.0)])
def test_lambda_0_gives_the_partner_and_lambda_1_the_own_image(
    kept: float, value: float, fix_lambda: Callable[[float], None]
):
    fix_lambda(kept)
    for ratio in (0.0, 0.5, 1.0):
        assert draw_maps(HMix(ratio=ratio), 200, (6, 10)).eq(value).all()
