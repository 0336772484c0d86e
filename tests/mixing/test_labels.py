"""Test that labels describe the mixed images.

Image i is constant, one-hot over the channels, and of class i. The channel means of a mixed image are therefore its true label row.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from smix.mixing import (
    METHODS,
    CutMix,
    Fallback,
    FMix,
    GMix,
    HMix,
    Method,
    Mixup,
    ObjectPaste,
    RandomChoice,
    ResizeMix,
    SaliencyMix,
    SMix,
)
from tests.mixing.cases import EVERY_METHOD, HARD_AREA, METHODS_OF_ALL_KINDS, SIZES, SOFT_AREA, boxes, new_generator

# Type checks of the tests would take most of the time for so many plans, and other tests include them.
pytestmark = pytest.mark.usefixtures("without_type_checks")
COUNT = 16


def one_hot_images(size: tuple[int, ...]) -> Tensor:
    return torch.eye(COUNT).view(COUNT, COUNT, *[1] * len(size)).expand(COUNT, COUNT, *size).contiguous()


def test_the_cases_include_every_named_method():
    assert set(METHODS.values()) <= {type(method) for method in METHODS_OF_ALL_KINDS}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    ("method", "tolerance"), [*((m, 1e-6) for m in HARD_AREA), *((m, 1e-5) for m in SOFT_AREA)], ids=repr
)
def test_label_rows_are_the_composition_of_the_images(method: Method, tolerance: float, size: tuple[int, ...]):
    """At least 300 samples per method in two dimensions, fewer in one and three."""
    x = one_hot_images(size)
    rows, composition, mixed = [], [], []
    for seed in range(20 if len(size) == 2 else 4):
        out, target = method(x, torch.arange(COUNT), masks=boxes(COUNT, size, seed), generator=new_generator(seed))
        rows.append(target.soft(COUNT))
        composition.append(out.double().flatten(2).mean(2))
        mixed.append(target.mixed)
    assert torch.stack(rows).sub(torch.stack(composition)).abs().max() <= tolerance
    assert torch.cat(mixed).any() == (method != METHODS["vanilla"]())


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "method",
    [
        SMix(alpha=0.4, labels="area"),
        SMix(alpha=1.0, labels="area", feather=1.0),
        ObjectPaste(scale=(0.3, 1.5), flip=0.5),
        ObjectPaste(scale=(0.3, 0.7), overlap="avoid"),
    ],
    ids=repr,
)
def test_label_rows_are_correct_for_soft_masks(method: Method, size: tuple[int, ...]):
    x, masks = one_hot_images(size), torch.rand(COUNT, 1, *size, generator=new_generator(1))
    masks = masks * boxes(COUNT, size, seed=3)
    for seed in range(4):
        out, target = method(x, torch.arange(COUNT), masks=masks, generator=new_generator(seed))
        torch.testing.assert_close(target.soft(COUNT).double(), out.double().flatten(2).mean(2), rtol=0, atol=1e-5)


@EVERY_METHOD
def test_images_and_labels_come_from_the_same_pair(method: Method):
    """This also holds if the label weight is not the area: no third image contributes to the image or to the label."""
    size = (24, 40)
    x = one_hot_images(size)
    plan = method.plan(x, masks=boxes(COUNT, size), generator=new_generator(0))
    own = torch.eye(COUNT, dtype=torch.bool)
    pair = own | own[plan.partner]
    assert plan.blend(x).flatten(2).mean(2)[~pair].eq(0).all()
    assert plan.target(torch.arange(COUNT)).soft(COUNT)[~pair].eq(0).all()


@pytest.mark.parametrize(
    "method",
    [
        Mixup(),
        CutMix(),
        CutMix(edge="inside"),
        FMix(),
        HMix(),
        GMix(),
        SaliencyMix(),
        ResizeMix(scale=(0.3, 0.3)),
        RandomChoice((Mixup(), CutMix())),
        SMix(alpha=(2.0, 3.0), labels="area"),
    ],
    ids=repr,
)
def test_lambda_of_nine_tenths_shows_mostly_the_own_image(method: Method, fix_lambda: Callable[[float], None]):
    fix_lambda(0.9)
    size = (24, 40)
    x, masks = one_hot_images(size), torch.ones(COUNT, *size, dtype=torch.bool)
    out, target = method(x, torch.arange(COUNT), masks=masks, generator=new_generator(0))
    shown = out.flatten(2).mean(2).diagonal()[target.mixed]
    assert shown.min() >= 0.89
    assert target.share[target.mixed].min() >= 0.89
    assert target.mixed.sum() >= COUNT - 4


def test_each_half_of_a_fallback_keeps_its_own_label_rule():
    size = (24, 40)
    x, masks = one_hot_images(size), boxes(COUNT, size)
    plan = Fallback(SMix(labels="half"), FMix()).plan(x, masks=masks, generator=new_generator(0))
    by_object = plan.mixed & ~plan.fell_back
    by_cloud = plan.mixed & plan.fell_back
    assert by_object.any()
    assert by_cloud.any()
    assert plan.share[by_object].eq(0.5).all()
    torch.testing.assert_close(plan.share[by_cloud], plan.weight[by_cloud].flatten(1).mean(1), rtol=0, atol=0)
