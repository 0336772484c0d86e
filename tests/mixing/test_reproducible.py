"""Test seeds, inputs, dtypes and memory formats."""

import random

import pytest
import torch

from smix.mixing import Method
from tests.mixing.cases import EVERY_METHOD, boxes, images, new_generator, same

LABELS = torch.arange(9)
SIZE = (12, 17)


@EVERY_METHOD
def test_the_same_seed_gives_the_same_bits_and_another_seed_differs(method: Method):
    x, masks = images(9, SIZE), boxes(9, SIZE)
    (one, target), (again, target_again) = (
        method(x, LABELS, masks=masks, generator=new_generator(4)) for _ in range(2)
    )
    assert torch.equal(one, again)
    assert same(target, target_again)
    others = [method(x, LABELS, masks=masks, generator=new_generator(seed))[0] for seed in range(5, 9)]
    changes = any(not torch.equal(one, other) for other in others)
    assert changes == target.mixed.any().item() or method.prob < 1


@EVERY_METHOD
def test_a_generator_advances_from_batch_to_batch(method: Method):
    x, masks, generator = images(9, SIZE), boxes(9, SIZE), new_generator(4)
    plans = [method.plan(x, masks=masks, generator=generator) for _ in range(4)]
    if plans[0].mixed.any():
        assert not all(same(plans[0], plan) for plan in plans[1:])


@pytest.mark.usefixtures("without_type_checks")  # type checks draw from `random`
@EVERY_METHOD
def test_a_generator_is_independent_of_the_global_generators(method: Method):
    x, masks = images(9, SIZE), boxes(9, SIZE)
    state, torch_state = random.getstate(), torch.random.get_rng_state()
    plan = method.plan(x, masks=masks, generator=new_generator(4))
    assert random.getstate() == state
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert same(method.plan(x, masks=masks, generator=new_generator(4)), plan)


@EVERY_METHOD
def test_without_a_generator_the_global_generator_is_used(method: Method):
    x, masks = images(9, SIZE), boxes(9, SIZE)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        plan = method.plan(x, masks=masks)
    assert same(plan, method.plan(x, masks=masks, generator=new_generator(4)))


@EVERY_METHOD
def test_inputs_are_not_changed_even_if_they_are_views(method: Method):
    store, masks, y = images(20, SIZE), boxes(20, SIZE), torch.arange(20)
    before = store.clone(), masks.clone(), y.clone()
    mixed, _ = method(store[3:12], y[3:12], masks=masks[3:12], generator=new_generator(0))
    mixed.add_(1)
    assert torch.equal(store, before[0])
    assert torch.equal(masks, before[1])
    assert torch.equal(y, before[2])


@EVERY_METHOD
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_images_keep_their_dtype_and_label_weights_are_float32(method: Method, dtype: torch.dtype):
    x, masks = images(9, SIZE), boxes(9, SIZE)
    y = torch.tensor([257, 999, 0, 1, 2, 3, 4, 5, 6])
    mixed, target = method(x.to(dtype), y, masks=masks, generator=new_generator(0))
    reference, reference_target = method(x, y, masks=masks, generator=new_generator(0))
    assert mixed.dtype == dtype
    assert target.share.dtype == torch.float32
    assert same(target, reference_target)
    assert target.y.tolist() == y.tolist()
    tolerance = {torch.float16: 4e-3, torch.bfloat16: 4e-2, torch.float64: 1e-5}[dtype]
    torch.testing.assert_close(mixed.float(), reference, rtol=0, atol=tolerance)


@EVERY_METHOD
@pytest.mark.parametrize(
    ("size", "layout"), [((12, 17), torch.channels_last), ((5, 6, 7), torch.channels_last_3d)], ids=["2-D", "3-D"]
)
def test_the_memory_format_is_kept(method: Method, size: tuple[int, ...], layout: torch.memory_format):
    x, masks = images(9, size), boxes(9, size)
    plain, _ = method(x, LABELS, masks=masks, generator=new_generator(0))
    mixed, _ = method(x.to(memory_format=layout), LABELS, masks=masks, generator=new_generator(0))
    assert plain.is_contiguous()
    assert mixed.is_contiguous(memory_format=layout)
    assert torch.equal(mixed, plain)


@EVERY_METHOD
@pytest.mark.parametrize("size", [(12, 17), (31,), (5, 6, 7)], ids=str)
def test_plans_have_the_shapes_and_ranges_of_the_design(method: Method, size: tuple[int, ...]):
    plan = method.plan(images(9, size), masks=boxes(9, size), generator=new_generator(0))
    assert [plan.partner.dtype, plan.mixed.dtype, plan.fell_back.dtype] == [torch.int64, torch.bool, torch.bool]
    assert plan.partner.shape == plan.share.shape == plan.mixed.shape == plan.fell_back.shape == (9,)
    assert plan.weight.shape in ((9, 1, *size), (9, 1, *[1] * len(size)))
    for values in (plan.weight, plan.share):
        assert values.dtype == torch.float32
        assert values.min() >= 0
        assert values.max() <= 1


@EVERY_METHOD
def test_methods_can_be_hashed_compared_and_pasted(method: Method):
    import smix.mixing

    pasted = eval(repr(method), vars(smix.mixing))
    assert pasted == method
    assert hash(pasted) == hash(method)
