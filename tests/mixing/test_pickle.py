"""Test methods, plans and targets that are pickled, copied, or saved by torch."""

import copy
import io
import pickle

import pytest
import torch
from torch.utils import _pytree as pytree

from smix.mixing import CutMix, Method, Mixup, Plan, Target, Validity
from tests.mixing.cases import EVERY_METHOD, boxes, images, new_generator, same

pytestmark = pytest.mark.usefixtures("without_type_checks")
X, MASKS, LABELS = images(7, (6, 9)), boxes(7, (6, 9)), torch.arange(7)
PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)


def plan_of(method: Method) -> Plan:
    return method.plan(X, masks=MASKS, generator=new_generator(0))


def plan_and_targets(method: Method) -> list[Plan | Target]:
    """Return a plan, and targets of class indices and of label rows."""
    plan = plan_of(method)
    return [plan, plan.target(LABELS), plan.target(torch.eye(9)[:7])]


@EVERY_METHOD
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_methods_are_equal_after_a_round_trip_and_draw_the_same(method: Method, protocol: int):
    again = pickle.loads(pickle.dumps(method, protocol))
    assert type(again) is type(method)
    assert again == method
    assert hash(again) == hash(method)
    assert repr(again) == repr(method)
    assert same(plan_of(again), plan_of(method))
    assert copy.deepcopy(method) == copy.copy(method) == method


def test_methods_that_differ_in_one_option_differ_after_a_round_trip():
    several = [Mixup(), Mixup(alpha=0.5), Mixup(prob=0.5), Mixup(per_batch=True), CutMix(), CutMix(edge="inside")]
    again = pickle.loads(pickle.dumps(several))
    assert len(set(again)) == len(several)
    assert again == several
    assert pickle.loads(pickle.dumps(Validity.published())) == Validity.published() != Validity()


@EVERY_METHOD
def test_plans_and_targets_are_equal_after_a_round_trip(method: Method):
    for original in plan_and_targets(method):
        again = pickle.loads(pickle.dumps(original))
        assert type(again) is type(original)
        assert same(again, original)
        copied = copy.deepcopy(original)
        assert same(copied, original)
        assert not {leaf.data_ptr() for leaf in pytree.tree_leaves(copied)} & {
            leaf.data_ptr() for leaf in pytree.tree_leaves(original)
        }


@EVERY_METHOD
def test_a_plan_that_was_saved_repeats_the_mix(method: Method):
    plan, file = plan_of(method), io.BytesIO()
    torch.save(plan, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert torch.equal(again.blend(X), plan.blend(X))
    assert same(again.target(LABELS), plan.target(LABELS))
