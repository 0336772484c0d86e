"""Test accuracy and cross-entropy against scikit-learn, and that each sample has the same weight."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics

from smix.errors import DataError, OptionError
from smix.evaluation.accuracy import (
    Confused,
    accuracy,
    class_accuracy,
    confusion_matrix,
    cross_entropy,
    most_confused,
    top_k_accuracy,
)
from tests.evaluation.predictions import random_predictions


@pytest.fixture(params=[1, 7, 1000])
def predictions(request) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(request.param)
    logits = generator.normal(0, 3, (request.param, 5)).astype(np.float32)
    return torch.from_numpy(logits), torch.from_numpy(generator.integers(0, 5, request.param))


def test_accuracy_equals_sklearn(predictions):
    logits, labels = predictions
    assert accuracy(logits, labels) == metrics.accuracy_score(labels.numpy(), logits.numpy().argmax(1))


def test_cross_entropy_equals_sklearn(predictions):
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


def test_samples_and_not_batches_have_equal_weights():
    """The last of the batches of ten samples has one sample, which a mean of batch means would count three times."""
    logits = torch.nn.functional.one_hot(torch.zeros(10, dtype=torch.long), 2).float() * 4
    labels = torch.tensor([0] * 9 + [1])
    parts = list(zip(logits.split(3), labels.split(3), strict=True))
    assert accuracy(logits, labels) == 0.9
    assert np.mean([accuracy(*part) for part in parts]) == 0.75
    assert cross_entropy(logits, labels) == pytest.approx(
        sum(cross_entropy(*part) * len(part[1]) for part in parts) / 10, rel=1e-12
    )
    assert cross_entropy(logits, labels) < np.mean([cross_entropy(*part) for part in parts]) - 0.5


def test_a_mean_of_half_precision_is_accumulated_in_higher_precision():
    logits = torch.tensor([[1.0, 0.0]], dtype=torch.bfloat16).expand(70_000, 2)
    labels = (torch.arange(70_000) >= 69_999).long()
    assert accuracy(logits, labels) == 69_999 / 70_000
    assert cross_entropy(logits, labels) == pytest.approx(math.log(1 + math.exp(-1)) + 1 / 70_000, rel=1e-9)


# Top k


@pytest.mark.parametrize("k", [1, 2, 4, 5, 100])
def test_top_k_equals_sklearn_and_torchmetrics(predictions, k):
    functional = pytest.importorskip("torchmetrics.functional.classification")
    logits, labels = predictions
    found = top_k_accuracy(logits, labels, k)
    if k >= 5:
        assert found == 1.0
        return
    told = metrics.top_k_accuracy_score(labels, logits, k=k, labels=range(5))
    assert found == pytest.approx(told, abs=1e-12)
    other = functional.multiclass_accuracy(logits, labels, 5, average="micro", top_k=k).item()
    assert found == pytest.approx(other, abs=1e-6)


def test_top_1_is_the_accuracy_even_for_equal_logits():
    logits, labels = random_predictions(2000, 6, scale=1, help=1)
    logits = logits.round()
    assert top_k_accuracy(logits, labels, 1) == accuracy(logits, labels)
    level = torch.zeros(6, 6)
    assert [top_k_accuracy(level, torch.arange(6), k) for k in range(1, 7)] == [n / 6 for n in range(1, 7)]


# Confusion


def test_the_confusion_matrix_with_a_missing_class_equals_sklearn():
    logits, labels = random_predictions(1000, 7)
    labels[labels == 3] = 5
    found = confusion_matrix(logits, labels)
    told = metrics.confusion_matrix(labels, logits.argmax(1), labels=range(7))
    assert np.array_equal(found, told)
    assert found.sum() == 1000
    recalls = class_accuracy(found)
    assert math.isnan(recalls[3])
    expected = metrics.recall_score(labels, logits.argmax(1), average=None, labels=[0, 1, 2, 4, 5, 6])
    np.testing.assert_allclose(recalls[[0, 1, 2, 4, 5, 6]], expected, rtol=1e-12)


def test_the_matrix_for_half_precision_one_sample_and_one_class():
    logits, labels = random_predictions(300, 4)
    assert torch.equal(confusion_matrix(logits.half(), labels), confusion_matrix(logits.half().double(), labels))
    assert confusion_matrix(torch.tensor([[0.0, 1.0]]), torch.tensor([0])).tolist() == [[0, 1], [0, 0]]
    single = confusion_matrix(torch.tensor([[2.0], [1.0]]), torch.tensor([0, 0]))
    assert single.tolist() == [[2]]
    assert class_accuracy(single).tolist() == [1.0]
    assert most_confused(single, ["all"]) == []


def test_the_most_confused_pairs_by_hand():
    confusion = torch.tensor([[5, 3, 0], [1, 8, 1], [3, 0, 7]])
    assert most_confused(confusion, ["cat", "dog", "cow"], 3) == [
        Confused("cat", "dog", 3, 3 / 8),
        Confused("cow", "cat", 3, 3 / 10),
        Confused("dog", "cat", 1, 1 / 10),
    ]
    assert len(most_confused(confusion, ["cat", "dog", "cow"])) == 4
    assert confusion.diagonal().tolist() == [5, 8, 7]


def test_invalid_input_is_refused_in_one_line():
    with pytest.raises(OptionError, match=r"^k: expected 1 or more, got 0; k=5 is typical$"):
        top_k_accuracy(torch.zeros(1, 2), torch.tensor([0]), 0)
    with pytest.raises(DataError, match=r"^classes: expected 2 names, got 1; [^\n]*$"):
        most_confused(torch.eye(2, dtype=torch.long), ["one"])
    for function in (top_k_accuracy, confusion_matrix):
        with pytest.raises(DataError, match=r"^logits: expected finite numbers, got nan in sample 1; [^\n]*$"):
            function(torch.tensor([[1.0, 0.0], [math.nan, 0.0]]), torch.tensor([0, 0]))
        with pytest.raises(DataError, match=r"^labels: expected classes 0 to 1, got 2; [^\n]*$"):
            function(torch.zeros(1, 2), torch.tensor([2]))
