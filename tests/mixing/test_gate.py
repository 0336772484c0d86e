"""Test which samples are mixed: `prob`, `per_batch`, samples that are their own partners, small and odd batches."""

from dataclasses import replace

import pytest
import torch

from smix.mixing import CutMix, Cutout, Fallback, Method, Mixup, Plan, SMix, Vanilla
from tests.mixing.cases import EVERY_METHOD, boxes, images, new_generator, within

# Type checks of the tests would take most of the time for so many plans, and other tests include them.
pytestmark = pytest.mark.usefixtures("without_type_checks")
GATED = [CutMix(), SMix(), Fallback(SMix(), Mixup())]


def assert_unmixed_samples_are_untouched(plan: Plan, x: torch.Tensor):
    alone = ~plan.mixed
    itself = torch.arange(len(x))
    assert torch.equal(plan.partner[alone], itself[alone])
    assert plan.weight[alone].eq(1).all()
    assert plan.share[alone].eq(1).all()
    assert torch.equal(plan.blend(x)[alone], x[alone])
    blanked = torch.zeros_like(alone) if plan.fill is None else plan.fill
    assert not plan.mixed[(plan.partner == itself) & ~blanked].any()


@pytest.mark.parametrize("method", GATED, ids=repr)
def test_prob_is_the_fraction_of_mixed_samples_which_are_drawn_independently(method: Method):
    prob, count = 0.3, 500
    x, masks = images(count, (3, 4), 1), boxes(count, (3, 4))
    mixed = trials = 0
    for seed in range(20):
        everyone = method.plan(x, masks=masks, generator=new_generator(seed)).mixed
        plan = replace(method, prob=prob).plan(x, masks=masks, generator=new_generator(seed))
        assert 100 < int(plan.mixed.sum()) < 200
        mixed, trials = mixed + int(plan.mixed.sum()), trials + int(everyone.sum())
        assert_unmixed_samples_are_untouched(plan, x)
    assert trials > 9_900
    assert within(mixed, trials, prob)


def test_every_position_of_the_batch_is_mixed_with_the_same_probability():
    x = images(10, (3, 4), 1)
    mixed = sum(Mixup(prob=0.5).plan(x, generator=new_generator(seed)).mixed.long() for seed in range(200))
    # A sample is its own partner one time in ten.
    assert all(within(times, 200, 0.45) for times in mixed.tolist())


@pytest.mark.parametrize("method", GATED, ids=repr)
def test_per_batch_mixes_all_samples_or_none(method: Method):
    x, masks = images(8, (3, 4), 1), boxes(8, (3, 4))
    method = replace(method, prob=0.3, per_batch=True)
    opened = 0
    for seed in range(150):
        everyone = replace(method, prob=1.0).plan(x, masks=masks, generator=new_generator(seed)).mixed
        plan = method.plan(x, masks=masks, generator=new_generator(seed))
        assert torch.equal(plan.mixed, everyone) or not plan.mixed.any()
        opened += bool(plan.mixed.any())
        assert_unmixed_samples_are_untouched(plan, x)
    assert within(opened, 150, 0.3)


@EVERY_METHOD
def test_prob_0_mixes_no_sample(method: Method):
    x, masks = images(9, (5, 9)), boxes(9, (5, 9))
    plan = replace(method, prob=0.0).plan(x, masks=masks, generator=new_generator(0))
    assert not plan.mixed.any()
    assert_unmixed_samples_are_untouched(plan, x)


@EVERY_METHOD
@pytest.mark.parametrize("count", [1, 2, 7])
def test_samples_that_are_their_own_partners_are_marked_as_unmixed(method: Method, count: int):
    x, masks = images(count, (5, 9)), boxes(count, (5, 9))
    alone = 0
    for seed in range(4):
        plan = method.plan(x, masks=masks, generator=new_generator(seed))
        assert_unmixed_samples_are_untouched(plan, x)
        alone += int((~plan.mixed).sum())
    assert alone > 0 or method == Cutout(length=5)


def test_cutout_needs_no_partner():
    plan = Cutout(length=3).plan(images(1, (5, 9)), generator=new_generator(0))
    assert plan.mixed.all()
    assert plan.share.eq(1).all()


def test_a_batch_of_one_is_not_mixed():
    x = images(1, (5, 9))
    mixed, target = SMix()(x, torch.tensor([3]), masks=boxes(1, (5, 9)), generator=new_generator(0))
    assert torch.equal(mixed, x)
    assert not target.mixed.any()
    assert target.soft(5).tolist() == [[0, 0, 0, 1, 0]]


def test_with_prob_1_partners_are_a_permutation_and_only_fixed_points_are_unmixed():
    x = images(16, (5, 9))
    for seed in range(10):
        plan = Mixup().plan(x, generator=new_generator(seed))
        assert sorted(plan.partner.tolist()) == list(range(16))
        assert torch.equal(plan.mixed, plan.partner != torch.arange(16))


def test_every_pair_is_equally_likely():
    times = torch.zeros(5, 5)
    x = images(5, (2,), 1)
    for seed in range(400):
        times[torch.arange(5), Mixup().plan(x, generator=new_generator(seed)).partner] += 1
    assert all(within(int(count), 400, 0.2) for count in times.flatten())


@pytest.mark.parametrize("prob", [1.0, 0.5])
def test_vanilla_changes_nothing_and_draws_only_partners(prob: float):
    x = images(7, (5, 9))
    plan = Vanilla(prob=prob).plan(x, generator=new_generator(0))
    assert not plan.mixed.any()
    assert_unmixed_samples_are_untouched(plan, x)
