"""Test RandomChoice, and how it and Fallback combine rows of several plans, also if only some of them move or fill."""

import itertools
from dataclasses import fields, replace

import pytest
import torch

from smix.mixing import (
    CutMix,
    Cutout,
    Fallback,
    FMix,
    Method,
    Mixup,
    ObjectPaste,
    Plan,
    RandomChoice,
    ResizeMix,
    SMix,
    StochasticMixup,
    Vanilla,
)
from tests.mixing.cases import boxes, images, new_generator, same, within

pytestmark = pytest.mark.usefixtures("without_type_checks")
COUNT, SIZE = 9, (6, 9)
X, MASKS = images(COUNT, SIZE), boxes(COUNT, SIZE)
# A single weight, a map, no mixing, a fill, a move of the partner, a move of the own image.
KINDS = [Mixup(), CutMix(), Vanilla(), Cutout(length=5), ResizeMix(), ObjectPaste(flip=0.5)]
PAIRS = list(itertools.product(KINDS, KINDS))


def plan_of(method: Method, seed: int = 0, **options: torch.Tensor) -> Plan:
    return method.plan(X, masks=MASKS, generator=new_generator(seed), **options)


def rows(plan: Plan) -> dict[str, torch.Tensor]:
    """Return the fields that every plan has, with one row per sample."""
    names = ("partner", "share", "mixed", "fell_back")
    return {name: getattr(plan, name) for name in names}


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=repr)
def test_where_blends_each_row_like_its_original_plan(one: Method, other: Method):
    first, second = plan_of(one), plan_of(other, seed=1)
    for chosen in (torch.arange(COUNT) % 2 == 0, torch.zeros(COUNT, dtype=torch.bool), torch.ones(COUNT) > 0):
        both = first.where(chosen, second)
        expected = torch.where(chosen.view(-1, 1, 1, 1), first.blend(X), second.blend(X))
        assert torch.equal(both.blend(X), expected)
        mine, others, found = rows(first), rows(second), rows(both)
        assert all(torch.equal(found[name], torch.where(chosen, mine[name], others[name])) for name in found)


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=repr)
def test_a_field_is_absent_only_if_both_plans_lack_it(one: Method, other: Method):
    first, second = plan_of(one), plan_of(other, seed=1)
    both = first.where(torch.arange(COUNT) < 4, second)
    for name in ("own_move", "partner_move", "fill"):
        absent = getattr(first, name) is None and getattr(second, name) is None
        assert (getattr(both, name) is None) == absent


@pytest.mark.parametrize(
    "method", [*KINDS, RandomChoice(tuple(KINDS)), Fallback(ObjectPaste(), Cutout(length=3))], ids=repr
)
def test_only_leaves_other_rows_unchanged(method: Method):
    plan, gate = plan_of(method), torch.arange(COUNT) % 3 != 1
    gated = plan.gated(gate)
    assert torch.equal(gated.blend(X), torch.where(gate.view(-1, 1, 1, 1), plan.blend(X), X))
    assert torch.equal(gated.share, torch.where(gate, plan.share, 1.0))
    assert torch.equal(gated.mixed, plan.mixed & gate)
    assert torch.equal(gated.fell_back, plan.fell_back & gate)
    assert torch.equal(gated.partner, torch.where(gate, plan.partner, torch.arange(COUNT)))
    assert same(plan.gated(torch.ones_like(gate)), plan)


def test_three_plans_nest_in_any_order():
    plans = [plan_of(method, seed) for seed, method in enumerate((Cutout(length=5), ResizeMix(), ObjectPaste()))]
    label = torch.arange(COUNT) % 3
    blends = torch.stack([plan.blend(X) for plan in plans])
    for a, b, c in itertools.permutations(range(3)):
        nested = plans[a].where(label == a, plans[b].where(label == b, plans[c]))
        assert torch.equal(nested.blend(X), blends[label, torch.arange(COUNT)])


MIXED_CHOICE = (Vanilla(), Cutout(length=3), SMix(), Mixup(per_batch=True))


def method_of_each_sample(plan: Plan) -> torch.Tensor:
    """Return the index in MIXED_CHOICE of the method of each sample, derived from shares and fills."""
    assert plan.fill is not None
    kinds = torch.full((len(plan.share),), 3)
    kinds[plan.share == 0.5] = 2
    kinds[plan.fill] = 1
    kinds[~plan.mixed] = 0
    return kinds


@pytest.mark.parametrize("weights", [None, (1, 1, 1, 1), (0.1, 0.4, 0.2, 0.3), (5, 0, 3, 2), (0, 0, 0, 7)])
def test_each_method_is_chosen_as_often_as_its_weight_requires(weights: tuple[float, ...] | None):
    count = 4000
    x, masks = torch.zeros(count, 1, 3, 4), torch.ones(count, 3, 4)
    plan = RandomChoice(MIXED_CHOICE, weights).plan(x, masks=masks, generator=new_generator(0))
    other = plan.partner != torch.arange(count)
    kinds = method_of_each_sample(plan)[other | plan.mixed]
    parts = weights or (1, 1, 1, 1)
    for kind, part in enumerate(parts):
        found = int((kinds == kind).sum())
        if kind == 0:  # unmixed samples are their own partners; they count as the remainder
            found += count - len(kinds)
        assert within(found, count, part / sum(parts), sigmas=4.5) or abs(found - count * part / sum(parts)) <= 2


def test_choices_of_consecutive_samples_are_independent():
    x, masks = torch.zeros(4000, 1, 3, 4), torch.ones(4000, 3, 4)
    kinds = method_of_each_sample(RandomChoice(MIXED_CHOICE).plan(x, masks=masks, generator=new_generator(0)))
    pairs = torch.bincount(kinds[:-1] * 4 + kinds[1:], minlength=16)
    assert all(within(times, 3999, 1 / 16, sigmas=4.5) for times in pairs.tolist())


def test_per_batch_chooses_one_method_for_the_batch():
    chosen = []
    for seed in range(200):
        plan = plan_of(RandomChoice((Cutout(length=3), SMix()), weights=(3, 1), per_batch=True), seed)
        assert plan.fill is not None
        paired = plan.partner != torch.arange(COUNT)
        assert plan.fill.all() or not plan.fill.any()
        assert plan.fill.all() or torch.equal(plan.mixed, paired)
        chosen.append(bool(plan.fill.all()))
    assert within(sum(chosen), 200, 3 / 4)


def test_per_batch_also_applies_to_the_draws_of_each_method():
    for seed in range(8):
        plan = plan_of(RandomChoice((CutMix(), FMix()), per_batch=True), seed)
        assert plan.weight[plan.mixed].flatten(1).unique(dim=0).shape[0] == 1


@pytest.mark.parametrize("order", [1, -1])
def test_a_method_may_draw_once_per_batch_while_the_choice_is_per_sample(order: int):
    x, methods = images(64, SIZE), (Mixup(per_batch=True), StochasticMixup())
    plan = RandomChoice(methods[::order]).plan(x, generator=new_generator(0))
    maps = plan.weight[plan.mixed].flatten(1)
    flat = maps.eq(maps[:, :1]).all(1)
    assert 10 < int(flat.sum()) < 54
    assert maps[flat].unique(dim=0).shape[0] == 1


def test_all_methods_have_the_same_partners():
    for seed in range(10):
        plan = plan_of(RandomChoice((Mixup(), ObjectPaste(), FMix())), seed)
        assert torch.equal(plan.partner, plan_of(CutMix(), seed).partner)


def test_a_choice_between_two_equal_methods_is_that_method():
    """This also holds if one has all the weight; only the position in the random stream differs."""
    x = images(3000, (2, 3), 1)
    shares = {}
    for name, method in {
        "alone": Mixup(alpha=0.3),
        "twice": RandomChoice((Mixup(alpha=0.3), Mixup(alpha=0.3))),
        "weight": RandomChoice((Vanilla(), Mixup(alpha=0.3)), weights=(0, 2)),
    }.items():
        plan = method.plan(x, generator=new_generator(0))
        assert plan.mixed.sum() > 2990
        shares[name] = plan.share[plan.mixed].sort().values
    for other in ("twice", "weight"):
        assert (
            shares[other].quantile(torch.tensor([0.2, 0.4])) - shares["alone"].quantile(torch.tensor([0.2, 0.4]))
        ).abs().max() < 0.05


def test_masks_are_needed_if_any_method_needs_them():
    without = RandomChoice((Mixup(), CutMix()))
    assert not without.needs_masks
    assert without.plan(X, generator=new_generator(0)).mixed.any()
    for method in (SMix(), ObjectPaste(), CutMix(labels="visible"), Fallback(SMix(), FMix())):
        assert RandomChoice((Mixup(), method)).needs_masks
        assert RandomChoice((Mixup(), RandomChoice((Vanilla(), method)))).needs_masks


@pytest.mark.parametrize("order", [1, -1])
def test_prob_is_applied_before_the_prob_of_each_method(order: int):
    count = 4000
    x, methods = torch.zeros(count, 1, 2, 3), (Mixup(prob=0.5), Cutout(length=1))
    plan = RandomChoice(methods[::order], weights=(1, 3)[::order], prob=0.4).plan(x, generator=new_generator(0))
    assert plan.fill is not None
    assert within(int(plan.fill.sum()), count, 0.4 * 0.75)
    assert within(int((plan.mixed & ~plan.fill).sum()), count, 0.4 * 0.25 * 0.5)


def test_a_fallback_inside_a_choice_records_which_samples_fell_back():
    masks = torch.zeros(64, *SIZE)
    plan = RandomChoice((Fallback(SMix(), CutMix()), Cutout(length=3))).plan(
        images(64, SIZE), masks=masks, generator=new_generator(0)
    )
    assert plan.fill is not None
    paired = plan.partner != torch.arange(64)
    assert torch.equal(plan.fell_back, paired & ~plan.fill)
    assert 10 < int(plan.fill.sum()) < 54


def test_validity_reaches_a_fallback_inside_a_choice():
    method = RandomChoice((Fallback(SMix(), Mixup()), Fallback(SMix(), CutMix())))
    plan = plan_of(method, valid=torch.zeros(COUNT, dtype=torch.bool))
    assert torch.equal(plan.fell_back, plan.mixed)
    assert plan.mixed.any()


def test_a_choice_can_be_hashed_compared_and_replaced():
    method = RandomChoice((Mixup(), CutMix()), weights=(1, 3))
    assert hash(method) == hash(RandomChoice((Mixup(), CutMix()), weights=(1, 3)))
    assert method != RandomChoice((Mixup(), CutMix()))
    assert method != RandomChoice((CutMix(), Mixup()), weights=(1, 3))
    assert replace(method, prob=0.5).prob == 0.5
    assert [field.name for field in fields(method)][-2:] == ["methods", "weights"]
