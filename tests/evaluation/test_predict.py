"""Test predictions, and that predicting leaves the model unchanged."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from smix.data.batches import Batches, Normalisation
from smix.evaluation.accuracy import accuracy, cross_entropy
from smix.evaluation.predict import predict
from tests.conftest import make_set


@pytest.fixture
def model() -> nn.Module:
    """Return a network with dropout, and with batch norm whose statistics differ from the initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(384, 4))
        net(torch.randn(8, 3, 10, 14))
    return net


@pytest.fixture
def batches() -> Batches:
    return Batches.of(make_set(10), Normalisation((0.5,) * 3, (0.25,) * 3), torch.device("cpu"))


class FirstPixels(nn.Module):
    """Network whose logits are four unchanged pixels, so that results are the same to the last bit for any batch size."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :4]


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_is_restored(model, batches, training):
    model.train(training)
    predict(model, batches.in_order())
    assert [module.training for module in model.modules()] == [training] * 6


def test_the_mode_is_restored_when_the_model_fails(model, batches):
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert not self.training
            raise ZeroDivisionError

    failing = Fails().train()
    with pytest.raises(ZeroDivisionError):
        predict(failing, batches.in_order())
    assert failing.training


def test_predictions_are_those_of_evaluation_mode_and_reproducible(model, batches):
    model.train()
    first, labels = predict(model, batches.in_order())
    second, _ = predict(model, replace(batches, at_once=10).in_order())
    with torch.no_grad():
        expected = model.eval()(batches.normalise(batches.images))
    assert torch.equal(first, second)
    torch.testing.assert_close(first, expected)
    assert torch.equal(labels, batches.labels)


def test_predicting_changes_neither_weights_nor_statistics_and_leaves_no_gradients(model, batches):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    logits, _ = predict(model.train(), replace(batches, at_once=3).in_order())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not logits.requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 500])
def test_predictions_do_not_depend_on_the_batch_size(batches, batch_size):
    logits, labels = predict(FirstPixels(), replace(batches, at_once=batch_size).in_order())
    expected = batches.normalise(batches.images).flatten(1)[:, :4]
    assert torch.equal(logits, expected)
    assert torch.equal(labels, batches.labels)
    assert accuracy(logits, labels) == accuracy(expected, batches.labels)
    assert cross_entropy(logits, labels) == cross_entropy(expected, batches.labels)


def test_half_precision_logits_are_returned_as_float32(batches):
    class Half(FirstPixels):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).bfloat16()

    logits, _ = predict(Half(), batches.in_order())
    assert logits.dtype == torch.float32
    assert np.isfinite(logits.numpy()).all()
