"""Test `blend` with buffers, gradients, autocast and large batches."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.utils import _pytree as pytree

from smix.errors import DataError
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
    SaliencyMix,
    SMix,
    Vanilla,
)
from tests.mixing.cases import EVERY_METHOD, boxes, images, new_generator, same

pytestmark = pytest.mark.usefixtures("without_type_checks")
COUNT, SIZE = 6, (5, 7)
LABELS = torch.arange(COUNT)
FORMATS = {(12, 17): torch.channels_last, (5, 6, 7): torch.channels_last_3d}
# One method per path through `blend`: plain, filled, own image moved, partner moved, all combined.
PATHS: list[Method] = [
    Vanilla(),
    Mixup(),
    CutMix(),
    SMix(alpha=(2.0, 3.0), labels="area"),
    Cutout(length=3),
    ResizeMix(scale=(0.4, 0.9)),
    ObjectPaste(flip=0.5),
    Fallback(ObjectPaste(), ResizeMix()),
    RandomChoice((Cutout(length=3), ObjectPaste(scale=(0.5, 2.0)), ResizeMix(), FMix(strength=0.7))),
]
EVERY_PATH = pytest.mark.parametrize("method", PATHS, ids=repr)


def plan_of(method: Method, size: tuple[int, ...] = SIZE, count: int = COUNT, seed: int = 0) -> Plan:
    return method.plan(images(count, size), masks=boxes(count, size), generator=new_generator(seed))


@EVERY_METHOD
def test_the_result_is_in_the_buffer_and_the_same_as_without_a_buffer(method: Method):
    x, masks = images(COUNT, SIZE), boxes(COUNT, SIZE)
    expected, target = method(x, LABELS, masks=masks, generator=new_generator(0))
    out = torch.full_like(x, float("nan"))
    before = x.clone()
    mixed, again = method(x, LABELS, masks=masks, generator=new_generator(0), out=out)
    assert mixed is out
    assert torch.equal(out, expected)
    assert same(again, target)
    assert torch.equal(x, before)


@EVERY_PATH
@pytest.mark.parametrize("size", FORMATS, ids=["2-D", "3-D"])
@pytest.mark.parametrize(("images_last", "buffer_last"), [(True, True), (True, False), (False, True)])
def test_buffers_of_any_memory_format_are_accepted(
    method: Method, size: tuple[int, ...], images_last: bool, buffer_last: bool
):
    plain, plan = images(COUNT, size), plan_of(method, size)
    x = plain.to(memory_format=FORMATS[size]) if images_last else plain
    out = torch.empty_like(x, memory_format=FORMATS[size] if buffer_last else torch.contiguous_format)
    strides = out.stride()
    assert plan.blend(x, out) is out
    assert out.stride() == strides
    assert torch.equal(out, plan.blend(plain))


@EVERY_PATH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_buffers_of_every_dtype_are_accepted(method: Method, dtype: torch.dtype):
    x, plan = images(COUNT, SIZE).to(dtype), plan_of(method)
    out = torch.empty_like(x)
    plan.blend(x, out)
    assert torch.equal(out, plan.blend(x))


@EVERY_PATH
def test_a_buffer_may_be_a_view_and_be_reused(method: Method):
    ring, x = torch.full((3, COUNT, 3, *SIZE), 7.0), images(COUNT, SIZE)
    plans = [plan_of(method, seed=seed) for seed in range(2)]
    for plan in plans:
        plan.blend(x, ring[1])
    assert torch.equal(ring[1], plans[1].blend(x))
    assert ring[0].eq(7).all()
    assert ring[2].eq(7).all()


def test_a_buffer_that_requires_grad_is_refused():
    x, plan = images(COUNT, SIZE), plan_of(Mixup())
    with pytest.raises(
        DataError, match=r"^out: a buffer cannot be used with autograd, and the buffer requires grad; omit out="
    ):
        plan.blend(x, torch.empty_like(x, requires_grad=True))


def test_images_that_require_grad_go_into_a_buffer_under_no_grad():
    x, plan = images(COUNT, SIZE), plan_of(CutMix())
    with torch.no_grad():
        out = plan.blend(x.clone().requires_grad_(), torch.empty_like(x))
    assert not out.requires_grad
    assert torch.equal(out, plan.blend(x))


@EVERY_PATH
@pytest.mark.parametrize("size", [(4, 3), (7,), (2, 3, 2)], ids=str)
def test_the_gradient_equals_finite_differences(method: Method, size: tuple[int, ...]):
    plan = plan_of(method, size, count=4)
    x = images(4, size, channels=1).double().requires_grad_()
    assert torch.autograd.gradcheck(plan.blend, (x,), atol=1e-6)


@EVERY_PATH
def test_gradients_reach_both_images_with_their_weights(method: Method):
    """Blending is linear, so the gradient for any cotangent is the transposed mix."""
    x, plan = images(COUNT, SIZE), plan_of(method)
    leaf = x.clone().requires_grad_()
    mixed = plan.blend(leaf)
    assert torch.equal(mixed, plan.blend(x))
    cotangent = images(COUNT, SIZE, seed=5)
    mixed.backward(cotangent)
    assert leaf.grad is not None
    other = images(COUNT, SIZE, seed=6)
    forward = (plan.blend(other) * cotangent).sum()
    torch.testing.assert_close((leaf.grad * other).sum(), forward, rtol=1e-4, atol=1e-4)


@EVERY_PATH
def test_gradients_pass_through_blended_hidden_layers(method: Method):
    """In manifold mixup the blended tensor is not a leaf, and gradients must reach the layers before it."""
    plan, x = plan_of(method), images(COUNT, SIZE)
    layer = images(4, (1, 1), seed=8).requires_grad_()
    plan.blend(F.conv2d(x, layer).relu()).square().sum().backward()
    assert layer.grad is not None
    assert layer.grad.isfinite().all()
    assert layer.grad.abs().sum() > 0


@EVERY_PATH
@pytest.mark.parametrize("gradient", [False, True])
def test_images_are_never_changed(method: Method, gradient: bool):
    x, plan = images(COUNT, SIZE).requires_grad_(gradient), plan_of(method)
    before, version = x.detach().clone(), x._version
    mixed = plan.blend(x)
    assert mixed.data_ptr() != x.data_ptr()
    assert x._version == version
    assert torch.equal(x, before)
    assert mixed.requires_grad == gradient


@EVERY_METHOD
def test_masks_are_never_changed_even_if_they_need_no_conversion(method: Method):
    x, masks = images(COUNT, SIZE), boxes(COUNT, SIZE).float()
    before, version = masks.clone(), masks._version
    plan = method.plan(x, masks=masks, generator=new_generator(0))
    plan.blend(x)
    assert masks._version == version
    assert torch.equal(masks, before)
    assert plan.weight.untyped_storage().data_ptr() != masks.untyped_storage().data_ptr()


@EVERY_PATH
def test_every_row_of_a_batch_that_is_moved_in_chunks_is_correct(method: Method):
    count, size = 729, (24, 40)  # 2 x 364 + 1: 2**20 values are 364 images
    x, plan = images(count, size), plan_of(method, size, count)
    mixed = plan.blend(x)
    for row in (0, 1, 31, 32, 340, 363, 364, 365, 640, 727, 728):
        pair = [row, int(plan.partner[row])]
        alone = pytree.tree_map(lambda leaf, pair=pair: leaf[pair], plan)
        alone = replace(alone, partner=torch.tensor([1, 0]) if pair[0] != pair[1] else torch.tensor([0, 1]))
        torch.testing.assert_close(alone.blend(x[pair])[0], mixed[row], rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", [*PATHS, SMix(labels="area", feather=1.5), SaliencyMix()], ids=repr)
def test_autocast_does_not_reduce_the_precision_of_plans_and_pixels(method: Method):
    """Neither the mix nor its label may be rounded to bfloat16 inside `with torch.autocast`."""
    x, masks = images(COUNT, (12, 17)), boxes(COUNT, (12, 17))
    mixed, target = method(x, LABELS, masks=masks, generator=new_generator(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside, labels = method(x, LABELS, masks=masks, generator=new_generator(0))
    assert inside.dtype == torch.float32
    assert labels.share.dtype == torch.float32
    torch.testing.assert_close(inside, mixed, rtol=0, atol=1e-5)
    torch.testing.assert_close(labels.share, target.share, rtol=0, atol=1e-6)


@EVERY_PATH
def test_the_memory_format_is_kept_with_gradients(method: Method):
    x = images(COUNT, (12, 17)).to(memory_format=torch.channels_last).requires_grad_()
    assert plan_of(method, (12, 17)).blend(x).is_contiguous(memory_format=torch.channels_last)


@pytest.fixture
def _every_warning() -> Iterator[None]:
    """Show every warning. Torch emits most of its warnings only once per process."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@pytest.mark.usefixtures("_every_warning")
@EVERY_PATH
def test_images_that_require_grad_are_mixed_without_a_warning(method: Method):
    """Adversarial training mixes images that require grad; warnings are errors in this test."""
    x = images(COUNT, SIZE)
    mixed, target = method(x.clone().requires_grad_(), LABELS, masks=boxes(COUNT, SIZE), generator=new_generator(0))
    expected, labels = method(x, LABELS, masks=boxes(COUNT, SIZE), generator=new_generator(0))
    assert torch.equal(mixed, expected)
    assert same(target, labels)


@pytest.mark.usefixtures("_every_warning")
def test_label_rows_get_their_gradient_without_a_warning():
    """For example rows of a teacher: own rows get the label weight, the partners' rows the remainder."""
    plan, y = plan_of(Mixup()), torch.rand(COUNT, 4, generator=new_generator(3)).softmax(1).requires_grad_()
    logits = images(COUNT, (4,), channels=1)[:, 0]
    plan.target(y).loss(logits, reduction="sum").backward()
    assert y.grad is not None
    rows = -logits.log_softmax(1)
    expected = plan.share[:, None] * rows
    expected = expected.index_add(0, plan.partner, (1 - plan.share[:, None]) * rows)
    torch.testing.assert_close(y.grad, expected)
