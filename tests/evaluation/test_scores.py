"""Test that all scores of predictions equal those of their own functions, and by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import log_loss, top_k_accuracy_score
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from smix.errors import DataError
from smix.evaluation.accuracy import confusion_matrix, top_k_accuracy
from smix.evaluation.calibration import BINS, calibration
from smix.evaluation.confidence import SURE, errors_above, errors_by_confidence, risk_coverage
from smix.evaluation.scores import MISTAKES, Mistake, compute_scores
from smix.evaluation.softmax import top_class
from smix.evaluation.temperature import fit_temperature, temperature_scaling
from tests.evaluation.predictions import random_predictions

HAND = torch.tensor([[0.0, math.log(3)], [math.log(3), 0.0], [math.log(9), 0.0], [0.0, 0.0]])
"""Confidences 3/4, 3/4, 9/10, 1/2 in classes 1, 0, 0, 0."""


def test_every_score_equals_that_of_its_own_function():
    logits, labels = random_predictions(500, 7)
    validation = random_predictions(300, 7, seed=1)
    found = compute_scores(logits, labels, validation)
    said = top_class(logits, labels)
    assert found.top5 == top_k_accuracy(logits, labels, 5)
    assert torch.equal(found.confusion, confusion_matrix(logits, labels))
    assert repr(found.calibration) == repr(calibration(logits, labels))
    assert repr(found.levels) == repr(errors_by_confidence(said.confidence, said.correct))
    assert found.sure == tuple(errors_above(said.confidence, said.correct, threshold) for threshold in SURE)
    assert found.risk.aurc == risk_coverage(said.confidence, said.correct).aurc
    assert repr(found.temperature) == repr(temperature_scaling(logits, labels, *validation))


def test_scores_equal_those_of_independent_implementations():
    logits, labels = random_predictions(400, 6)
    probabilities = logits.double().softmax(1)
    found = compute_scores(logits, labels, random_predictions(400, 6, seed=1)).numbers()
    assert found["accuracy"] == pytest.approx(multiclass_accuracy(logits, labels, 6, average="micro").item())
    assert found["top5"] == pytest.approx(top_k_accuracy_score(labels, probabilities, k=5))
    assert found["nll"] == pytest.approx(log_loss(labels, probabilities))
    assert found["ece"] == pytest.approx(multiclass_calibration_error(logits, labels, 6, BINS).item(), abs=1e-6)
    assert found["mce"] == pytest.approx(
        multiclass_calibration_error(logits, labels, 6, BINS, norm="max").item(), abs=1e-6
    )
    truth = torch.nn.functional.one_hot(labels, 6)
    assert found["brier"] == pytest.approx((probabilities - truth).square().sum(1).mean().item())
    confidence = probabilities.amax(1)
    wrong = probabilities.argmax(1) != labels
    assert found["confidence"] == pytest.approx(confidence.mean().item())
    assert found["overconfidence"] == pytest.approx((confidence.mean() - (~wrong).double().mean()).item())
    assert found["errors_above_0.9"] == ((confidence > 0.9) & wrong).double().mean().item()
    assert found["errors_above_0.99"] == ((confidence > 0.99) & wrong).double().mean().item()
    assert 0 < found["errors_above_0.99"] < found["errors_above_0.9"]
    scaled = logits.double() / found["temperature"]
    assert found["nll_scaled"] == pytest.approx(log_loss(labels, scaled.softmax(1)))
    assert found["ece_scaled"] == pytest.approx(
        multiclass_calibration_error(scaled.float(), labels, 6, BINS).item(), abs=1e-5
    )


def test_scores_by_hand():
    found = compute_scores(HAND, torch.tensor([1, 1, 0, 0])).numbers()
    assert found["accuracy"] == 3 / 4
    assert found["top5"] == 1  # there are fewer than five classes
    assert found["confidence"] == pytest.approx((0.75 + 0.75 + 0.9 + 0.5) / 4)
    assert found["overconfidence"] == pytest.approx(0.725 - 0.75)
    # Bins of 0.75 (two, one of them right), 0.9 and 0.5 (both right).
    assert found["ece"] == pytest.approx((2 * 0.25 + 0.1 + 0.5) / 4)
    assert found["mce"] == pytest.approx(0.5)
    assert found["brier"] == pytest.approx((2 / 16 + 2 * 9 / 16 + 2 / 100 + 2 / 4) / 4)
    assert found["nll"] == pytest.approx(-(math.log(0.75) + math.log(0.25) + math.log(0.9) + math.log(0.5)) / 4)
    # The most confident first: 9/10 right; then two of 3/4, of which one is wrong, in either order; then 1/2, right.
    assert found["aurc"] == pytest.approx((0 + 0.5 / 2 + 1 / 3 + 1 / 4) / 4)
    assert found["errors_above_0.9"] == found["errors_above_0.99"] == 0
    assert "temperature" not in found


def test_the_confusion_matrix_has_a_row_per_class_and_agrees_with_the_accuracy():
    labels = torch.tensor([1, 1, 0, 0])
    found = compute_scores(HAND, labels)
    assert found.confusion.tolist() == [[2, 0], [1, 1]] == sklearn_confusion(labels, [1, 0, 0, 0]).tolist()
    assert found.class_accuracy.tolist() == [1.0, 0.5]
    missing = compute_scores(torch.eye(3)[[0, 0]], torch.tensor([0, 2]))
    assert missing.class_accuracy[0] == 1
    assert missing.class_accuracy[1].isnan()  # without samples
    assert missing.class_accuracy[2] == 0


def test_mistakes_are_the_most_confident_first_and_of_equal_ones_the_earlier_row():
    confidence = [0.6, 0.9, 0.9, 0.7, 0.9, 0.8]
    logits = torch.tensor([[math.log(c / (1 - c)), 0.0] for c in confidence])
    found = compute_scores(logits, torch.tensor([1, 1, 0, 1, 1, 1])).mistakes
    assert [one.row for one in found] == [1, 4, 5, 3, 0]
    assert [(one.label, one.predicted) for one in found] == [(1, 0)] * 5
    assert [one.confidence for one in found] == pytest.approx([0.9, 0.9, 0.8, 0.7, 0.6])


def test_mistakes_are_kept_up_to_the_number_that_a_report_shows():
    logits, labels = random_predictions(900, 9)
    said = top_class(logits, labels)
    wrong = np.flatnonzero(~said.correct.numpy()).tolist()
    expected = sorted(wrong, key=lambda row: (-said.confidence[row].item(), row))[:MISTAKES]
    found = compute_scores(logits, labels).mistakes
    assert len(wrong) > len(found) == MISTAKES
    assert [one.row for one in found] == expected
    assert found[0] == Mistake(
        expected[0], int(labels[expected[0]]), int(logits[expected[0]].argmax()), said.confidence[expected[0]].item()
    )


def test_a_perfect_network_has_no_mistakes():
    found = compute_scores(5 * torch.eye(4), torch.arange(4))
    assert found.mistakes == ()
    assert found.numbers()["accuracy"] == 1
    assert found.numbers()["aurc"] == 0


@pytest.mark.parametrize(("classes", "expected"), [(1, 1.0), (2, 1.0), (5, 1.0), (6, 5 / 6)])
def test_top_5_with_few_classes(classes, expected):
    # All samples have the same logits: with six classes only class 0 is outside the top 5.
    logits = torch.arange(float(classes)).repeat(classes, 1)
    assert compute_scores(logits, torch.arange(classes)).top5 == pytest.approx(expected)


def test_the_temperature_depends_on_the_validation_images_alone():
    logits, labels = random_predictions(300, 5)
    validation = random_predictions(300, 5, seed=1, scale=1.0)
    found = compute_scores(logits, labels, validation)
    assert found.temperature is not None
    assert found.temperature.temperature == fit_temperature(*validation) != fit_temperature(logits, labels)
    assert found.numbers()["temperature"] == found.temperature.temperature
    # Predictions and confidences stay those of the unscaled logits.
    without = compute_scores(logits, labels)
    assert without.temperature is None
    assert repr(found.calibration) == repr(without.calibration)
    assert found.mistakes == without.mistakes


def test_a_temperature_that_does_not_exist_is_null():
    right = 3 * torch.eye(3), torch.arange(3)
    found = compute_scores(*random_predictions(50, 3), right)
    assert found.temperature is not None
    assert found.temperature.after is None
    assert not {"temperature", "ece_scaled", "nll_scaled"} & found.numbers().keys()


def test_all_scores_are_finite():
    for logits, labels in (
        random_predictions(1, 1),
        random_predictions(1, 8),
        random_predictions(3, 2),
        (torch.zeros(4, 3), torch.zeros(4, dtype=torch.long)),
    ):
        assert all(math.isfinite(value) for value in compute_scores(logits, labels).numbers().values())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["test", "validation"])
def test_logits_that_are_nan_are_refused(value, place):
    good, broken = random_predictions(20, 3), random_predictions(20, 3)
    broken[0][7, 1] = value
    pair = (broken, good) if place == "test" else (good, broken)
    with pytest.raises(DataError, match=r"logits: expected finite numbers, got -?(nan|inf) in sample 7"):
        compute_scores(*pair[0], pair[1])


def test_labels_out_of_range_and_empty_predictions_are_refused():
    logits, _ = random_predictions(4, 3)
    with pytest.raises(DataError, match="expected classes 0 to 2, got 3"):
        compute_scores(logits, torch.tensor([0, 1, 2, 3]))
    with pytest.raises(DataError, match="check that the split has images"):
        compute_scores(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
