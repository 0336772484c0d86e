"""Accuracy and cross-entropy against a second package, and where means of batch means go wrong."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics

from smix.evaluation.accuracy import accuracy, cross_entropy


@pytest.fixture(params=[1, 7, 1000])
def predictions(request) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(request.param)
    logits = generator.normal(0, 3, (request.param, 5)).astype(np.float32)
    return torch.from_numpy(logits), torch.from_numpy(generator.integers(0, 5, request.param))


def test_accuracy_is_that_of_sklearn(predictions):
    logits, labels = predictions
    assert accuracy(logits, labels) == metrics.accuracy_score(labels.numpy(), logits.numpy().argmax(1))


def test_cross_entropy_is_that_of_sklearn(predictions):
    logits, labels = predictions
    shares = np.exp(logits.double().numpy())
    shares /= shares.sum(1, keepdims=True)
    expected = metrics.log_loss(labels.numpy(), shares, labels=range(5))
    assert cross_entropy(logits, labels) == pytest.approx(expected, rel=1e-9)


def test_accuracy_by_hand():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 5.0, 1.0], [0.0, 0.0, -1.0], [1.0, 2.0, 3.0]])
    assert accuracy(logits, torch.tensor([0, 1, 2, 2])) == 0.75
    assert accuracy(logits, torch.tensor([1, 0, 2, 0])) == 0.0


def test_cross_entropy_by_hand():
    uniform = torch.zeros(6, 4)
    assert cross_entropy(uniform, torch.arange(6) % 4) == pytest.approx(math.log(4), rel=1e-12)
    sure = torch.tensor([[100.0, 0.0], [100.0, 0.0]])
    assert cross_entropy(sure, torch.tensor([0, 1])) == pytest.approx(50.0, rel=1e-12)


def test_every_sample_counts_the_same_and_not_every_batch():
    """Ten samples in batches of three: the last batch has one, which a mean of batch means would count three times."""
    logits = torch.nn.functional.one_hot(torch.zeros(10, dtype=torch.long), 2).float() * 4
    labels = torch.tensor([0] * 9 + [1])
    parts = list(zip(logits.split(3), labels.split(3), strict=True))
    assert accuracy(logits, labels) == 0.9
    assert np.mean([accuracy(*part) for part in parts]) == 0.75
    assert cross_entropy(logits, labels) == pytest.approx(
        sum(cross_entropy(*part) * len(part[1]) for part in parts) / 10, rel=1e-12
    )
    assert cross_entropy(logits, labels) < np.mean([cross_entropy(*part) for part in parts]) - 0.5


def test_a_mean_over_many_samples_is_not_lost_in_half_precision():
    logits = torch.tensor([[1.0, 0.0]], dtype=torch.bfloat16).expand(70_000, 2)
    labels = (torch.arange(70_000) >= 69_999).long()
    assert accuracy(logits, labels) == 69_999 / 70_000
    assert cross_entropy(logits, labels) == pytest.approx(math.log(1 + math.exp(-1)) + 1 / 70_000, rel=1e-9)
