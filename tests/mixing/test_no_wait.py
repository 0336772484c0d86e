"""Test that mixing does not synchronise with the device: it reads no values and copies nothing from the host.

This is checked without a device by fake tensors, which have shapes but no values, and raise an exception if a value is read.
"""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from smix.mixing import Method, Mixup, Plan, Target
from tests.mixing.cases import COMPILED, EVERY_METHOD, boxes, images, new_generator, skip_without_fake_gamma

pytestmark = pytest.mark.usefixtures("without_type_checks")
EVERY_PATH = pytest.mark.parametrize("method", COMPILED, ids=repr)
COUNT, CLASSES = 33, 5
SIZES = [(12, 17), (15,), (4, 5, 6)]


def batch_on(device: str, size: tuple[int, ...]) -> dict[str, Tensor]:
    return {
        "x": torch.zeros(COUNT, 3, *size, device=device),
        "masks": torch.ones(COUNT, *size, device=device),
        "valid": torch.ones(COUNT, dtype=torch.bool, device=device),
        "y": torch.zeros(COUNT, dtype=torch.int64, device=device),
        "logits": torch.zeros(COUNT, CLASSES, device=device),
        "class_weight": torch.ones(CLASSES, device=device),
    }


def run_step(method: Method, batch: dict[str, Tensor]) -> tuple[Tensor, Plan, list[Tensor]]:
    """Run all operations of a training step with a method: the images, the plan, and the outputs of the target."""
    x, logits = batch["x"], batch["logits"]
    plan = method.plan(x, masks=batch["masks"], valid=batch["valid"])
    mixed = plan.blend(x)
    target, rows = plan.target(batch["y"]), plan.target(logits)
    return (
        mixed,
        plan,
        [*use_target(target, batch), target.loss(logits, class_weight=batch["class_weight"]), *use_target(rows, batch)],
    )


def use_target(target: Target, batch: dict[str, Tensor]) -> list[Tensor]:
    logits = batch["logits"]
    half = target[: COUNT // 2]
    return [
        target.loss(logits),
        target.loss(logits, kind="bce", label_smoothing=0.1),
        half.loss(logits[: COUNT // 2], reduction="sum"),
        target.soft(CLASSES),
        target.accuracy(logits),
    ]


@pytest.fixture
def _batched_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the code path of a GPU. On the CPU values may be checked, and FMix may choose its threshold row by row."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)


@pytest.mark.usefixtures("_batched_path")
@EVERY_METHOD
def test_a_step_reads_no_value(method: Method):
    with FakeTensorMode():
        mixed, plan, figures = run_step(method, batch_on("cpu", (12, 17)))
    assert mixed.shape == (COUNT, 3, 12, 17)
    assert plan.share.shape == (COUNT,)
    assert all(figure.shape in ((), (COUNT, CLASSES)) for figure in figures)


class HostTensors(TorchDispatchMode):
    """Record the names of operations that take or return a tensor on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        if any(tensor.device.type == "cpu" for tensor in tensors):
            self.found.append(str(func))
        return result


@pytest.mark.parametrize("size", SIZES, ids=str)
@EVERY_PATH
def test_a_step_on_a_gpu_reads_no_value_and_copies_nothing_from_the_host(method: Method, size: tuple[int, ...]):
    """A copy from pageable memory synchronises as well, for example with a list as an index."""
    skip_without_fake_gamma(method)
    with FakeTensorMode():
        batch = batch_on("cuda", size)
        with HostTensors() as host:
            mixed, plan, figures = run_step(method, batch)
    leaves = [mixed, *pytree.tree_leaves(plan), *figures]
    assert {leaf.device.type for leaf in leaves} == {"cuda"}
    assert host.found == []


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_fake_tensors_detect_synchronisation(device: str):
    with FakeTensorMode():
        x = torch.zeros(4, 3, device=device)
        with pytest.raises(DataDependentOutputException):
            x.sum().item()
        with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
            x[x > 0]
        with HostTensors() as host:
            x[[0, 1]]
    assert host.found


def test_values_are_checked_only_on_the_cpu():
    """This is why the fixture above selects the batched path."""
    with FakeTensorMode():
        x = torch.zeros(COUNT, 3, 12, 17)
        with pytest.raises(DataDependentOutputException):
            Mixup().plan(x)
        Mixup().plan(x.to("cuda"))


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype feature:UserWarning")
@EVERY_METHOD
def test_a_step_does_not_synchronise_with_a_real_gpu(method: Method, gpu: str):
    for size in SIZES:
        batch = batch_on(gpu, size)
        with torch.random.fork_rng(devices=[]):  # a rehearsal uses a generator of the CPU
            run_step(method, batch)  # the first call plans Fourier transforms and compiles kernels
        if gpu != "cuda":
            continue
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            run_step(method, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@EVERY_METHOD
def test_plans_of_a_real_gpu_follow_the_distribution_of_the_cpu(method: Method, gpu: str):
    for size in SIZES:
        x, masks = images(COUNT, size), boxes(COUNT, size)
        here = method.plan(x, masks=masks, generator=new_generator(0))
        generator = torch.Generator(gpu).manual_seed(0)
        there = method.plan(x.to(gpu), masks=masks.to(gpu), generator=generator)
        leaves, structure = pytree.tree_flatten(here)
        others, other_structure = pytree.tree_flatten(there)
        assert structure == other_structure
        assert [(leaf.shape, leaf.dtype) for leaf in leaves] == [(leaf.shape, leaf.dtype) for leaf in others]
        assert {leaf.device.type for leaf in others} == {gpu}
        # One plan on two devices gives the same mix except for the order of sums.
        torch.testing.assert_close(there.blend(x.to(gpu)).cpu(), there.to("cpu").blend(x), rtol=0, atol=1e-4)
        torch.testing.assert_close(here.to(gpu).blend(x.to(gpu)).cpu(), here.blend(x), rtol=0, atol=1e-4)
