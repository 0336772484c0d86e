"""Test gradient accumulation, epochs without mixing, training on all images, and accuracy under mixing."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from smix import rng
from smix.data.batches import Batches
from smix.mixing import Mixup, Target, parse_method
from smix.training import loop
from smix.training.distributed import ALONE
from smix.training.inputs import PROBE, prepare
from smix.training.learner import Learner
from smix.training.loop import forward_backward
from smix.training.runs import train
from tests.training.small import EPOCHS, OPTIONS, STEPS, metrics, small_config

COUNT, CLASSES = 11, 5


def network(*more: nn.Module) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), *more, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, CLASSES)
        )


def mixed_batch(method: str = "mixup") -> tuple[Tensor, Target]:
    draws = rng.generator(3, "test")
    images = torch.randn(COUNT, 3, 7, 9, generator=draws)
    labels = torch.randint(CLASSES, (COUNT,), generator=draws)
    masks = torch.rand(COUNT, 7, 9, generator=draws) < 0.3
    return parse_method(method)(images, labels, masks=masks, valid=torch.arange(COUNT) % 2 == 0, generator=draws)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("method", ["mixup", "smix+fmix"])
@pytest.mark.parametrize(
    ("grad_accum_steps", "sizes"),
    [(2, [6, 5]), (3, [4, 4, 3]), (4, [3, 3, 3, 2]), (11, [2, 2, 2, 2, 3]), (16, [1] * 11)],
)
def test_gradient_accumulation_gives_gradients_loss_and_accuracy_of_the_complete_batch(
    grad_accum_steps, sizes, method, smoothing
):
    mixed, target = mixed_batch(method)
    config = small_config("unused", label_smoothing=smoothing)
    whole, parts = (Learner.of(network(), config, ALONE) for _ in range(2))
    expected = forward_backward(whole, mixed, target, config)
    seen = []
    parts.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    found = forward_backward(parts, mixed, target, replace(config, grad_accum_steps=grad_accum_steps))
    assert [len(part) for part in seen] == sizes
    assert torch.equal(torch.cat(seen), mixed)
    torch.testing.assert_close(found, expected)
    for one, other in zip(parts.model.parameters(), whole.model.parameters(), strict=True):
        assert one.grad.abs().max() > 0
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-7)


def test_forward_backward_returns_the_literal_means_over_the_batch():
    mixed, target = mixed_batch("smix+fmix")
    model = network()
    with torch.no_grad():
        logits = model(mixed).double()
    logs = logits.log_softmax(1)
    rows = torch.arange(COUNT)
    loss = -(target.share * logs[rows, target.y] + (1 - target.share) * logs[rows, target.y_partner]).mean()
    best = logits.argmax(1)
    right = (target.share * (best == target.y) + (1 - target.share) * (best == target.y_partner)).mean()
    config = small_config("unused", grad_accum_steps=4)
    found = forward_backward(Learner.of(model, config, ALONE), mixed, target, config)
    norm = torch.stack([parameter.grad.double().square().sum() for parameter in model.parameters()]).sum().sqrt()
    expected = [loss.item(), right.item(), target.fell_back.float().mean().item(), norm.item()]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    assert 0 < found[2] < 1


@dataclass(frozen=True, kw_only=True, repr=False)
class RecordingMixup(Mixup):
    """Method that keeps the mixed batches."""

    seen: list[Tensor] = field(default_factory=list)

    def __call__(self, x: Tensor, y: Tensor, **others: Any) -> tuple[Tensor, Target]:
        mixed, target = super().__call__(x, y, **others)
        self.seen.append(mixed)
        return mixed, target


def mixed_batches_of_run(data: str, **changes: Any) -> list[Tensor]:
    """Return the mixed batches of a complete run."""
    method, config = RecordingMixup(), small_config(data, method="mixup", **changes)
    material = prepare(config, OPTIONS)
    train_on = material.training_loader(torch.device("cpu"), OPTIONS)
    validation = material.loader(material.validation, torch.device("cpu"), OPTIONS)
    learner = Learner.of(material.model, config, ALONE)
    with torch.random.fork_rng(devices=[]):
        list(loop.fit(learner, method, train_on, validation, config, loop.Progress(), lambda: False))
    return method.seen


@pytest.mark.slow
def test_the_batch_is_mixed_before_it_is_split(data):
    whole, parts = (mixed_batches_of_run(data, grad_accum_steps=grad_accum_steps) for grad_accum_steps in (1, 3))
    assert len(whole) == len(parts) == EPOCHS * STEPS
    assert all(torch.equal(one, other) for one, other in zip(whole, parts, strict=True))


@pytest.mark.parametrize("plain", [0, 1, 3])
def test_the_last_epochs_are_not_mixed(data, plain):
    assert len(mixed_batches_of_run(data, mix_off_epochs=plain)) == (EPOCHS - plain) * STEPS


@pytest.mark.slow
def test_epochs_without_mixing_equal_those_of_vanilla(data, tmp_path):
    """With the same initial weights, training without any mixing is vanilla."""
    train(small_config(data, method="mixup", mix_off_epochs=EPOCHS), tmp_path / "mixup", OPTIONS)
    train(small_config(data, method="vanilla"), tmp_path / "vanilla", OPTIONS)
    assert metrics(tmp_path / "mixup") == metrics(tmp_path / "vanilla")


def test_without_a_validation_split_training_uses_all_images_and_the_run_records_it(data, tmp_path, monkeypatch):
    shown = []
    real = Batches.shuffled

    def record_call(self: Batches, *args: Any) -> Any:
        for batch in real(self, *args):
            shown.append(batch.labels)
            yield batch

    monkeypatch.setattr(Batches, "shuffled", record_call)
    train(small_config(data, method="vanilla", val_fraction=0, epochs=1, crop_padding=0), tmp_path, OPTIONS)
    made = json.loads((tmp_path / "config.json").read_text())["data"]
    assert made["images"] == {"training": 80, "validation": 80, "test": 24}
    assert made["validated_on"] == "training images"
    assert sum(map(len, shown)) == 80
    assert torch.cat(shown).bincount().tolist() == [20] * 4


def test_at_most_a_thousand_training_images_are_evaluated(data, monkeypatch):
    monkeypatch.setattr("smix.training.inputs.PROBE", 12)
    material = prepare(small_config(data, val_fraction=0), OPTIONS)
    assert (len(material.training), len(material.validation), PROBE) == (80, 12, 1000)
    assert set(material.validation.index) <= set(material.training.index)
    assert np.bincount(material.validation.labels).tolist() == [3] * 4
