"""Test Plan and Target, and the loss against tests/reference/labels.py."""

import math
from dataclasses import FrozenInstanceError, fields

import pytest
import torch
import torch.nn.functional as F
from torch.utils import _pytree as pytree

from smix.mixing import CutMix, Mixup, Plan, SMix, Target, Vanilla
from tests.mixing.cases import boxes, images, new_generator, same
from tests.reference import labels as reference

COUNT, CLASSES = 8, 5
LABELS = torch.tensor([0, 3, 1, 1, 1, 4, 2, 0])
LABEL_ROWS = {
    "class numbers": LABELS,
    "one-hot": torch.eye(CLASSES)[LABELS],
    "rows": torch.rand(COUNT, CLASSES, generator=new_generator(5)).softmax(1),
    "several classes": (torch.rand(COUNT, CLASSES, generator=new_generator(6)) > 0.5).float(),
}
LOGITS = torch.randn(COUNT, CLASSES, generator=new_generator(7))


def a_plan(seed: int = 0) -> Plan:
    return CutMix(prob=0.8).plan(images(COUNT, (6, 9)), generator=new_generator(seed))


def a_target(y: torch.Tensor = LABELS) -> Target:
    return Mixup(prob=0.8).plan(images(COUNT, (6, 9)), generator=new_generator(0)).target(y)


def literal_rows(target: Target) -> list[list[float]]:
    return [
        reference.soft(own, partner, share, CLASSES)
        for own, partner, share in zip(target.y.tolist(), target.y_partner.tolist(), target.share.tolist(), strict=True)
    ]


@pytest.mark.parametrize("y", LABEL_ROWS.values(), ids=LABEL_ROWS)
@pytest.mark.parametrize("kind", ["ce", "bce"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_equals_the_literal_formula(y: torch.Tensor, kind: str, smoothing: float):
    target = a_target(y)
    assert 3 < int(target.mixed.sum()) < COUNT
    formula = {"ce": reference.cross_entropy, "bce": reference.binary_cross_entropy}[kind]
    rows = literal_rows(target)
    if kind == "ce" and y is LABEL_ROWS["several classes"]:
        # Not a probability distribution, but the formula still holds.
        assert any(sum(row) > 1 for row in rows)
    expected = [
        formula(logits, reference.smooth(row, smoothing)) for logits, row in zip(LOGITS.tolist(), rows, strict=True)
    ]
    each = target.loss(LOGITS, kind=kind, label_smoothing=smoothing, reduction="none")  # type: ignore[arg-type]
    assert each.tolist() == pytest.approx(expected, abs=1e-5)
    mean = target.loss(LOGITS, kind=kind, label_smoothing=smoothing)  # type: ignore[arg-type]
    assert mean.item() == pytest.approx(sum(expected) / COUNT, abs=1e-5)
    total = target.loss(LOGITS, kind=kind, label_smoothing=smoothing, reduction="sum")  # type: ignore[arg-type]
    assert total.item() == pytest.approx(sum(expected), abs=1e-4)


def test_the_gradient_of_the_loss_equals_that_of_the_soft_labels():
    target, logits = a_target(), LOGITS.clone().requires_grad_()
    target.loss(logits).backward()
    torch.testing.assert_close(logits.grad, (LOGITS.softmax(1) - torch.tensor(literal_rows(target))) / COUNT)


def test_class_weights_multiply_each_label_weight():
    """Expected values are computed by hand for probabilities (1/4, 3/4) and (1/2, 1/2), class weights 1 and 3."""
    no = torch.zeros(2, dtype=torch.bool)
    target = Target(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([0.75, 0.5]), ~no, no)
    logits, weight = torch.tensor([[1.0, 3.0], [2.0, 2.0]]).log(), torch.tensor([1.0, 3.0])
    each = [0.75 * 1 * math.log(4) + 0.25 * 3 * math.log(4 / 3), 0.5 * 3 * math.log(2) + 0.5 * 1 * math.log(2)]
    losses = target.loss(logits, class_weight=weight, reduction="none")
    assert losses.tolist() == pytest.approx(each, abs=1e-6)
    assert target.loss(logits, class_weight=weight, reduction="sum").item() == pytest.approx(sum(each), abs=1e-6)
    # Weighted labels: 3/4 of 1 and 1/4 of 3; half of 3 and half of 1.
    assert target.loss(logits, class_weight=weight).item() == pytest.approx(sum(each) / 3.5, abs=1e-6)
    assert sum(each) / 3.5 == pytest.approx(0.7547933, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_class_weights_of_unmixed_labels_work_as_in_torch(reduction: str, smoothing: float):
    weight = torch.rand(CLASSES, generator=new_generator(8)) + 0.1
    target = Vanilla().plan(images(COUNT, (6, 9)), generator=new_generator(0)).target(LABELS)
    found = target.loss(LOGITS, label_smoothing=smoothing, reduction=reduction, class_weight=weight)  # type: ignore[arg-type]
    expected = F.cross_entropy(LOGITS, LABELS, weight=weight, label_smoothing=smoothing, reduction=reduction)
    torch.testing.assert_close(found, expected)


def test_equal_class_weights_do_not_change_the_mean():
    target, weight = a_target(), torch.full((CLASSES,), 2.5)
    torch.testing.assert_close(target.loss(LOGITS, class_weight=weight), target.loss(LOGITS))
    torch.testing.assert_close(
        target.loss(LOGITS, class_weight=weight, reduction="sum"), 2.5 * target.loss(LOGITS, reduction="sum")
    )


@pytest.mark.parametrize("y", LABEL_ROWS.values(), ids=LABEL_ROWS)
def test_soft_labels_are_s_y_plus_1_minus_s_of_y_partner(y: torch.Tensor):
    target = a_target(y)
    torch.testing.assert_close(target.soft(CLASSES), torch.tensor(literal_rows(target)), rtol=0, atol=1e-6)


def test_soft_labels_sum_to_1_also_for_pairs_of_the_same_class():
    y = torch.tensor([2, 2, 2, 2, 2, 2, 1, 1])
    target = a_target(y)
    assert (target.mixed & (target.y == target.y_partner) & (target.share < 1)).any()
    torch.testing.assert_close(target.soft(CLASSES).sum(1), torch.ones(COUNT))
    alike = target.y == target.y_partner
    torch.testing.assert_close(target.soft(CLASSES)[alike], torch.eye(CLASSES)[y[alike]])


def test_accuracy_is_the_label_weight_of_the_predicted_class():
    target = a_target()
    expected = [
        row[max(range(CLASSES), key=logits.__getitem__)]
        for row, logits in zip(literal_rows(target), LOGITS.tolist(), strict=True)
    ]
    assert 0 < sum(expected) / COUNT < 1
    assert target.accuracy(LOGITS).item() == pytest.approx(sum(expected) / COUNT, abs=1e-6)


def test_accuracy_counts_own_and_partner_with_their_label_weights():
    no = torch.zeros(2, dtype=torch.bool)
    target = Target(torch.tensor([0, 1]), torch.tensor([2, 2]), torch.tensor([0.75, 0.75]), ~no, no)
    assert target.accuracy(torch.eye(3)[[0, 1]]).item() == pytest.approx(0.75)
    assert target.accuracy(torch.eye(3)[[2, 2]]).item() == pytest.approx(0.25)
    assert target.accuracy(torch.eye(3)[[1, 0]]).item() == 0


def test_micro_batches_add_up_to_the_batch():
    target = a_target()
    parts = [slice(0, 3), slice(3, 6), slice(6, COUNT)]
    whole = target.loss(LOGITS, reduction="sum")
    torch.testing.assert_close(sum(target[part].loss(LOGITS[part], reduction="sum") for part in parts), whole)
    assert [len(target[part]) for part in parts] == [3, 3, 2]
    rows = torch.tensor([5, 0, 2])
    torch.testing.assert_close(target[rows].soft(CLASSES), target.soft(CLASSES)[rows])


def test_the_target_contains_the_labels_of_the_pairs_of_the_plan():
    plan = a_plan()
    target = plan.target(LABELS)
    assert target.y is LABELS
    assert torch.equal(target.y_partner, LABELS[plan.partner])
    assert torch.equal(target.share, plan.share)
    assert torch.equal(target.mixed, plan.mixed)


def test_a_call_of_a_method_blends_and_labels_by_its_plan():
    x, masks = images(COUNT, (6, 9)), boxes(COUNT, (6, 9))
    mixed, target = SMix(prob=0.6)(x, LABELS, masks=masks, generator=new_generator(3))
    plan = SMix(prob=0.6).plan(x, masks=masks, generator=new_generator(3))
    assert torch.equal(mixed, plan.blend(x))
    assert same(target, plan.target(LABELS))


@pytest.mark.parametrize(
    ("one", "other"), [(CutMix(), Mixup()), (Mixup(), CutMix()), (Mixup(), Mixup(alpha=9.0))], ids=repr
)
def test_where_takes_each_row_from_one_of_two_plans(one: CutMix | Mixup, other: CutMix | Mixup):
    x = images(COUNT, (6, 9))
    first, second = one.plan(x, generator=new_generator(0)), other.plan(x, generator=new_generator(1))
    chosen = torch.arange(COUNT) % 3 == 0
    both = first.where(chosen, second)
    assert torch.equal(both.blend(x), torch.where(chosen.view(-1, 1, 1, 1), first.blend(x), second.blend(x)))
    for name in ("partner", "share", "mixed", "fell_back"):
        expected = torch.where(chosen, getattr(first, name), getattr(second, name))
        assert torch.equal(getattr(both, name), expected)


@pytest.mark.parametrize("make", [a_plan, a_target])
def test_to_moves_every_field(make):
    moved = make().to("meta")
    assert type(moved) is type(make())
    assert {leaf.device.type for leaf in pytree.tree_leaves(moved)} == {"meta"}
    assert same(make().to("cpu"), make())


@pytest.mark.gpu
@pytest.mark.parametrize("make", [a_plan, a_target])
def test_pin_memory_pins_every_field(make, gpu):
    if gpu != "cuda":
        pytest.skip("memory cannot be pinned without a CUDA device")
    pinned = make().pin_memory()
    assert all(leaf.is_pinned() for leaf in pytree.tree_leaves(pinned))


@pytest.mark.parametrize("make", [a_plan, a_target])
def test_plans_and_targets_are_pytrees(make):
    original = make()
    leaves, structure = pytree.tree_flatten(original)
    values = [getattr(original, field.name) for field in fields(original)]
    assert [id(leaf) for leaf in leaves] == [id(value) for value in values if value is not None]
    rebuilt = pytree.tree_unflatten(leaves, structure)
    assert type(rebuilt) is type(original)
    assert same(rebuilt, original)


@pytest.mark.parametrize("make", [a_plan, a_target])
def test_plans_and_targets_are_immutable_and_compared_by_identity(make):
    one = make()
    with pytest.raises(FrozenInstanceError):
        one.share = one.share
    assert one == one
    assert (one == make()) is False


def test_a_plan_on_another_device_gives_the_same_mix():
    x, plan = images(COUNT, (6, 9)), a_plan()
    assert torch.equal(plan.to("cpu").blend(x), plan.blend(x))
