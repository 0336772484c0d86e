"""Test the optimizer, the learning rate of each step, the moving average of the weights, and the choice of precision."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, OneCycleLR

from smix.config import SharedConfig
from smix.training import learner
from smix.training.distributed import ALONE
from smix.training.learner import Learner, learning_rate, precision
from smix.training.optimizer import build_optimizer

STEPS = 7


@pytest.fixture(autouse=True)
def _keep_the_global_generator() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_equals_the_literal_update(nesterov):
    config = SharedConfig(lr=0.5, momentum=0.75, weight_decay=0.25, nesterov=nesterov)
    model = nn.BatchNorm1d(1)  # weight decay applies to its weight and bias as well
    optimizer = build_optimizer(model, config)
    weight, velocity = 1.0, 0.0
    for gradient in (1.0, -2.0, 0.5):
        model.weight.grad, model.bias.grad = torch.tensor([gradient]), torch.zeros(1)
        optimizer.step()
        decayed = gradient + 0.25 * weight
        velocity = 0.75 * velocity + decayed
        weight -= 0.5 * (decayed + 0.75 * velocity if nesterov else velocity)
        assert model.weight.item() == pytest.approx(weight, rel=1e-6)


def test_norms_and_biases_are_decayed_only_if_requested():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 3))
    optimizer = build_optimizer(model, SharedConfig(decay_norm_and_bias=False, weight_decay=0.25))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: decay[id(p)] for name, p in model.named_parameters()} == {
        "0.weight": 0.25,
        "0.bias": 0,
        "1.weight": 0,
        "1.bias": 0,
        "3.weight": 0.25,
        "3.bias": 0,
    }
    (group,) = build_optimizer(model, SharedConfig(weight_decay=0.25)).param_groups
    assert (len(group["params"]), group["weight_decay"]) == (6, 0.25)


def test_frozen_parameters_are_omitted():
    model = nn.Linear(2, 3)
    model.bias.requires_grad_(False)
    assert build_optimizer(model, SharedConfig()).param_groups[0]["params"] == [model.weight]


def rates_of_torch(schedule, epochs: int) -> list[float]:
    found = []
    for _ in range(epochs * STEPS):
        found.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return found


def rates(config: SharedConfig) -> list[float]:
    return [learning_rate(config, step, STEPS) for step in range(config.epochs * STEPS)]


def optimizer(lr: float = 0.4) -> SGD:
    return SGD([nn.Parameter(torch.zeros(1))], lr=lr)


def test_multistep_equals_torch():
    config = SharedConfig(epochs=6, lr=0.4, milestones=(2, 5))
    expected = rates_of_torch(MultiStepLR(optimizer(), [2 * STEPS, 5 * STEPS]), 6)
    assert rates(config) == pytest.approx(expected, rel=1e-9)


def test_the_cosine_equals_torch():
    config = SharedConfig(epochs=5, lr=0.4, schedule="cosine")
    assert rates(config) == pytest.approx(
        rates_of_torch(CosineAnnealingLR(optimizer(), 5 * STEPS), 5), rel=1e-6, abs=1e-9
    )


def test_one_cycle_equals_torch_with_constant_momentum():
    config = SharedConfig(epochs=5, lr=0.4, schedule="onecycle")
    expected = rates_of_torch(OneCycleLR(optimizer(), 0.4, total_steps=5 * STEPS, cycle_momentum=False), 5)
    assert rates(config) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("schedule", ["multistep", "cosine"])
def test_warm_up_is_linear_and_followed_by_the_schedule(schedule):
    config = SharedConfig(epochs=4, lr=0.4, schedule=schedule, warmup_epochs=2)
    found = rates(config)
    assert found[: 2 * STEPS] == pytest.approx([0.4 * (step + 1) / (2 * STEPS) for step in range(2 * STEPS)])
    if schedule == "cosine":
        rest = [0.2 * (1 + math.cos(math.pi * step / (2 * STEPS))) for step in range(2 * STEPS)]
        assert found[2 * STEPS :] == pytest.approx(rest, abs=1e-12)
    else:
        assert config.drops == (1, 3)
        assert found[2 * STEPS :] == pytest.approx([0.04] * STEPS + [0.004] * STEPS)


@pytest.mark.parametrize("schedule", ["multistep", "cosine", "onecycle"])
def test_one_epoch_of_one_step_has_a_learning_rate(schedule):
    config = SharedConfig(epochs=1, lr=0.4, schedule=schedule)
    assert 0 < learning_rate(config, 0, 1) <= 0.4


def test_the_moving_average_equals_the_literal_one_and_is_evaluated():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    one = Learner.of(model, SharedConfig(ema_decay=0.75, lr=0.1), ALONE)
    expected = None
    for _ in range(4):
        model(torch.randn(5, 2)).square().sum().backward()
        one.update(0.1)
        now = [*model[0].weight.detach().flatten().tolist(), *model[1].running_mean.tolist()]
        expected = now if expected is None else [0.75 * a + 0.25 * b for a, b in zip(expected, now, strict=True)]
    assert one.eval_model is not model
    found = [*one.eval_model[0].weight.detach().flatten().tolist(), *one.eval_model[1].running_mean.tolist()]
    assert found == pytest.approx(expected, rel=1e-5)
    assert Learner.of(model, SharedConfig(), ALONE).eval_model is model


def test_precision_is_determined_by_the_hardware(monkeypatch):
    cuda = torch.device("cuda")
    for capability, expected in (((7, 5), torch.float32), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)):
        monkeypatch.setattr(learner.torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert precision(cuda) == expected
    assert precision(torch.device("cpu")) == precision(torch.device("mps")) == torch.float32
