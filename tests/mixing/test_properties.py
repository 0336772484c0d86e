"""What holds for every method, batch size, image size, type and label: examples that hypothesis chooses."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from smix.mixing import Fallback, Method, Plan, RandomChoice, SMix, Target
from tests.mixing.cases import same, seeded
from tests.mixing.test_parse import named

pytestmark = [pytest.mark.usefixtures("as_users_run_it"), pytest.mark.slow]
REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=150)
CLASSES = 4

# A feather far below a pixel is a test of its own, at the end.
named_methods = named().map(lambda case: case[1]).filter(lambda method: not 0 < getattr(method, "feather", 0) < 1e-3)
methods = st.one_of(
    named_methods,
    named_methods,
    st.builds(Fallback, named_methods, named_methods, prob=st.sampled_from([0.5, 1.0]), per_batch=st.booleans()),
    st.builds(
        lambda first, second, part, per_batch: RandomChoice((first, second), (part, 1.0), per_batch=per_batch),
        named_methods,
        named_methods,
        st.floats(0, 3),
        st.booleans(),
    ),
)
# Batches of one and axes of length 1 more often than by chance.
counts = st.sampled_from([1, 2, 3]) | st.integers(1, 130)
sizes = st.lists(st.just(1) | st.integers(1, 20), min_size=1, max_size=3).map(tuple)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@dataclass(frozen=True)
class Case:
    method: Method
    x: Tensor
    y: Tensor
    masks: Tensor
    valid: Tensor | None
    seed: int

    def plan(self, seed: int | None = None) -> Plan:
        generator = seeded(self.seed if seed is None else seed)
        return self.method.plan(self.x, masks=self.masks, valid=self.valid, generator=generator)

    def mix(self) -> tuple[Tensor, Target]:
        return self.method(self.x, self.y, masks=self.masks, valid=self.valid, generator=seeded(self.seed))


def label_of(kind: str, count: int, generator: torch.Generator) -> Tensor:
    numbers = torch.randint(CLASSES, (count,), generator=generator)
    if kind == "class numbers":
        return numbers
    if kind == "one-hot":
        return torch.eye(CLASSES)[numbers]
    return (torch.rand(count, CLASSES, generator=generator) > 0.5).float()


def mask_of(kind: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """With or without a channel: object pixels one by one, soft ones, none at all, or all."""
    noise = torch.rand(shape, generator=generator)
    each = torch.rand((len(noise), *[1] * (noise.ndim - 1)), generator=generator)
    objects = noise < each
    return {
        "bool": objects,
        "uint8": objects.to(torch.uint8),
        "soft": noise * objects,
        "half": (noise * objects).half(),
        "empty": torch.zeros(shape),
        "full": torch.ones(shape, dtype=torch.bool),
    }[kind]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count, size, channels = draw(counts), draw(sizes), draw(st.integers(1, 3))
    generator = seeded(draw(st.integers(0, 2**20)))
    x = torch.randn(count, channels, *size, generator=generator).to(draw(st.sampled_from(DTYPES)))
    y = label_of(draw(st.sampled_from(["class numbers", "one-hot", "several classes"])), count, generator)
    shape = (count, 1, *size) if draw(st.booleans()) else (count, *size)
    masks = mask_of(draw(st.sampled_from(["bool", "uint8", "soft", "half", "empty", "full"])), shape, generator)
    valid = torch.rand(count, generator=generator) < 0.7 if draw(st.booleans()) else None
    return Case(draw(methods), x, y, masks, valid, draw(st.integers(0, 2**20)))


def in_unit(values: Tensor) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())  # false for NaN


@REPEATABLE
@given(cases())
def test_mixes_and_labels_have_the_shapes_types_and_ranges_of_the_design(case: Case):
    plan = case.plan()
    mixed, target = case.mix()
    count, axes = len(case.x), case.x.ndim - 2
    assert (mixed.shape, mixed.dtype, mixed.device) == (case.x.shape, case.x.dtype, case.x.device)
    assert mixed.isfinite().all()
    # Mixing leaves the range of the pixels; filling and moving may add 0.
    assert mixed.abs().max() <= case.x.abs().max() * 1.01
    assert plan.weight.shape in {(count, 1, *case.x.shape[2:]), (count, 1, *[1] * axes)}
    assert plan.weight.dtype == plan.share.dtype == torch.float32
    assert plan.share.shape == plan.partner.shape == plan.mixed.shape == plan.fell_back.shape == (count,)
    assert in_unit(plan.weight)
    assert in_unit(plan.share)
    assert ((plan.partner >= 0) & (plan.partner < count)).all()
    filled = torch.zeros_like(plan.mixed) if plan.fill is None else plan.fill
    assert not (plan.mixed & ~filled & (plan.partner == torch.arange(count))).any()
    assert torch.equal(mixed[~plan.mixed], case.x[~plan.mixed])
    assert plan.share[~plan.mixed].eq(1).all()
    rows = target.soft(CLASSES)
    assert rows.shape == (count, CLASSES)
    assert in_unit(rows)
    if case.y.ndim == 1 or case.y.sum(1).eq(1).all():
        torch.testing.assert_close(rows.sum(1), torch.ones(count), rtol=0, atol=1e-6)


@REPEATABLE
@given(cases())
def test_the_same_seed_gives_the_same_bits_whatever_else_is_drawn(case: Case):
    plan = case.plan()
    mixed, target = case.mix()
    python_state, torch_state = random.getstate(), torch.random.get_rng_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(case.seed + 1)
        again, target_again = case.mix()
        assert same(case.plan(), plan)
    assert torch.equal(again, mixed)
    assert same(target_again, target)
    assert torch.equal(plan.blend(case.x), mixed)
    assert same(plan.target(case.y), target)
    assert random.getstate() == python_state
    assert torch.equal(torch.random.get_rng_state(), torch_state)


@REPEATABLE
@given(cases())
def test_the_input_is_not_changed(case: Case):
    given_tensors = [case.x, case.y, case.masks, *([] if case.valid is None else [case.valid])]
    before = [tensor.clone() for tensor in given_tensors]
    versions = [tensor._version for tensor in given_tensors]
    mixed, target = case.mix()
    mixed.fill_(3)
    target.share.fill_(0.5)
    assert all(map(torch.equal, given_tensors, before))
    assert [tensor._version for tensor in given_tensors] == versions


@REPEATABLE
@given(cases(), st.sampled_from([torch.float32, torch.float64]))
def test_the_area_rule_follows_the_contribution_of_the_own_image(case: Case, dtype: torch.dtype):
    """In a batch of constant images, whose number is their brightness, the brightness of the mix says the shares."""
    assume(all(getattr(method, "labels", "area") == "area" for method in parts_of(case.method)))
    count = len(case.x)
    brightness = torch.arange(1, count + 1).to(dtype)
    x = brightness.view(-1, *[1] * (case.x.ndim - 1)).expand(count, 1, *case.x.shape[2:]).contiguous()
    plan = case.method.plan(x, masks=case.masks, valid=case.valid, generator=seeded(case.seed))
    filled = torch.zeros_like(plan.mixed) if plan.fill is None else plan.fill
    expected = plan.share * brightness + (1 - plan.share) * brightness[plan.partner]
    shown = plan.blend(x).flatten(1).mean(1)
    torch.testing.assert_close(shown[~filled].double(), expected[~filled].double(), rtol=2e-5, atol=2e-4)


def parts_of(method: Any) -> list[Method]:
    """The methods that a method is made of."""
    inner: Callable[..., list[Method]] = lambda *several: [part for one in several for part in parts_of(one)]  # noqa: E731
    if isinstance(method, Fallback):
        return inner(method.first, method.second)
    return inner(*method.methods) if isinstance(method, RandomChoice) else [method]


@pytest.mark.parametrize("feather", [1e-3, 1e-30, 1e-50, 5e-324])
def test_a_feather_far_below_a_pixel_leaves_the_mask_as_it_is(feather: float):
    x, masks = torch.zeros(5, 1, 4, 6), mask_of("bool", (5, 4, 6), seeded(0))
    sharp, feathered = (SMix(feather=f).plan(x, masks=masks, generator=seeded(0)) for f in (0.0, feather))
    assert same(feathered, sharp)
