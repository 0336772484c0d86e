"""Test calibration metrics against torchmetrics, scikit-learn and torch-uncertainty, and by hand where those differ or fail."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.calibration import calibration_curve

from smix.errors import DataError, OptionError
from smix.evaluation.calibration import (
    BINS,
    calibration,
    class_wise_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
    reliability,
)
from smix.evaluation.softmax import top_class
from tests.evaluation.predictions import random_predictions, with_confidence

CASES = [(1000, 10, 3.0), (1000, 10, 0.3), (300, 2, 2.0), (16, 100, 5.0), (1, 3, 1.0)]


@pytest.mark.parametrize(("count", "classes", "scale"), CASES)
def test_ece_and_mce_equal_torchmetrics_away_from_edges(count, classes, scale):
    functional = pytest.importorskip("torchmetrics.functional.classification")
    logits, labels = random_predictions(count, classes, scale=scale)
    found = calibration(logits, labels)
    shares = logits.double().softmax(1)
    for norm, value in (("l1", found.ece), ("max", found.mce)):
        value_of = functional.multiclass_calibration_error(shares, labels, classes, n_bins=BINS, norm=norm)
        assert value == pytest.approx(value_of.item(), abs=2e-6)  # torchmetrics sums in float32


@pytest.mark.slow
@pytest.mark.parametrize(("count", "classes", "scale"), CASES)
def test_all_metrics_equal_torch_uncertainty(count, classes, scale):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pytest.importorskip("torch_uncertainty.metrics.classification")
        from torch_uncertainty.metrics.classification import calibration as module
    logits, labels = random_predictions(count, classes, scale=scale)
    found = calibration(logits, labels)
    shares = logits.double().softmax(1)

    def value_of(metric) -> float:
        metric.update(shares.float() if "Class" in type(metric).__name__ else shares, labels)
        return metric.compute().item()

    assert found.brier == pytest.approx(value_of(theirs.BrierScore(num_classes=classes)), abs=1e-6)
    assert found.nll == pytest.approx(value_of(theirs.CategoricalNLL()), rel=1e-6)
    if count >= BINS:
        adaptive = theirs.AdaptiveCalibrationError(task="multiclass", num_classes=classes, num_bins=BINS)
        assert found.ece_mass == pytest.approx(value_of(adaptive), abs=2e-6)
    name = next(name for name in dir(module) if name.lower().startswith("classwise") and name[0] == "C")
    class_wise = getattr(module, name)(num_classes=classes, num_bins=BINS)
    assert found.class_wise == pytest.approx(value_of(class_wise), abs=2e-6)


@pytest.mark.parametrize(("count", "classes", "scale"), CASES)
def test_brier_and_nll_equal_sklearn(count, classes, scale):
    logits, labels = random_predictions(count, classes, scale=scale)
    shares = logits.double().softmax(1).numpy()
    found = calibration(logits, labels)
    assert found.nll == pytest.approx(metrics.log_loss(labels, shares, labels=range(classes)), rel=1e-9)
    truth = np.eye(classes)[labels]
    assert found.brier == pytest.approx(((shares - truth) ** 2).sum(1).mean(), rel=1e-9)
    assert found.accuracy == metrics.accuracy_score(labels, shares.argmax(1))
    assert found.overconfidence == pytest.approx(shares.max(1).mean() - found.accuracy, abs=1e-12)
    assert found.samples == count


def test_brier_of_two_classes_is_twice_that_of_sklearn():
    logits, labels = random_predictions(200, 2)
    value_of = metrics.brier_score_loss(labels, logits.double().softmax(1)[:, 1])
    assert calibration(logits, labels).brier == pytest.approx(2 * value_of, rel=1e-9)


@pytest.mark.parametrize(("equal", "strategy"), [("width", "uniform"), ("mass", "quantile")])
def test_the_curve_equals_sklearn(equal, strategy):
    found = top_class(*random_predictions(3000, 4))
    curve = [one for one in reliability(found.confidence, found.correct, 10, equal) if one.count]
    accuracy, confidence = calibration_curve(found.correct, found.confidence, n_bins=10, strategy=strategy)
    assert sum(one.count for one in curve) == 3000
    close = 1e-9 if equal == "width" else 0.02  # sklearn interpolates between samples
    np.testing.assert_allclose([one.accuracy for one in curve], accuracy, atol=close)
    np.testing.assert_allclose([one.confidence for one in curve], confidence, atol=close)


def slow_class_wise(shares: np.ndarray, labels: np.ndarray, bins: int) -> float:
    """Return the mean calibration error of the classes by definition, each with its own reliability curve."""
    errors = []
    for k in range(shares.shape[1]):
        curve = reliability(torch.from_numpy(shares[:, k].copy()), torch.from_numpy(labels == k), bins)
        errors.append(expected_calibration_error(curve))
    return float(np.mean(errors))


@pytest.mark.parametrize("bins", [1, 2, 15])
@pytest.mark.parametrize(("count", "classes", "scale"), CASES)
def test_the_class_wise_error_equals_its_definition(count, classes, scale, bins):
    logits, labels = random_predictions(count, classes, scale=scale)
    shares = logits.double().softmax(1)
    expected = slow_class_wise(shares.numpy(), labels.numpy(), bins)
    assert class_wise_calibration_error(shares, labels, bins) == pytest.approx(expected, abs=1e-12)
    assert calibration(logits, labels, bins).class_wise == pytest.approx(expected, abs=1e-12)


def test_metrics_by_hand():
    """Two classes with confidences 0.8 (right, wrong) and 0.6 (right). Bins have width 1/2, and the upper one holds all three."""
    logits = torch.tensor([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6]], dtype=torch.float64).log()
    found = calibration(logits, torch.tensor([0, 1, 1]), bins=2)
    gap = 2.2 / 3 - 2 / 3
    assert found.ece == pytest.approx(gap)
    assert found.mce == pytest.approx(gap)
    assert found.overconfidence == pytest.approx(gap)
    assert found.brier == pytest.approx((2 * 0.2**2 + 2 * 0.8**2 + 2 * 0.4**2) / 3)
    assert found.nll == pytest.approx(-(math.log(0.8) + math.log(0.2) + math.log(0.6)) / 3)
    # Class 0 above a half: 0.8 (right), 0.8 (wrong); below: 0.4 (wrong). Class 1 mirrored: 0.6 right; 0.2, 0.2, of which one.
    assert found.class_wise == pytest.approx((((1.6 - 1) + 0.4) + (abs(0.6 - 1) + abs(0.4 - 1))) / 3 / 2)
    assert [one.count for one in found.curve_mass] == [3, 0]  # a cut after two samples would separate equal confidences
    assert found.ece_mass == pytest.approx(gap)


def test_bins_of_equal_mass_by_hand():
    curve = reliability(*with_confidence([0.9, 0.6, 0.7, 0.5, 0.8], [True, True, False, False, False]), 2, "mass")
    assert [(one.low, one.high, one.count) for one in curve] == [(0.0, 0.7, 3), (0.7, 1.0, 2)]
    assert [one.accuracy for one in curve] == pytest.approx([1 / 3, 1 / 2])
    assert expected_calibration_error(curve) == pytest.approx((0.8 + 0.7) / 5)
    assert maximum_calibration_error(curve) == pytest.approx(0.35)


def test_an_underconfident_network_has_a_negative_sign():
    logits, labels = torch.eye(10) * 0.1, torch.arange(10)
    assert calibration(logits, labels).overconfidence < -0.8


# Edges


@pytest.mark.parametrize("bins", [1, 2, 3, 7, 10, 15, 49, 100])
def test_zero_is_in_the_first_bin_an_edge_in_the_bin_below_and_one_in_the_last(bins):
    edges = [m / bins for m in range(bins + 1)]
    curve = reliability(*with_confidence(edges, [True] * len(edges)), bins)
    assert [one.count for one in curve] == [2] + [1] * (bins - 1)
    assert (curve[0].low, curve[-1].high) == (0.0, 1.0)
    assert [one.high for one in curve] == edges[1:]
    above = [math.nextafter(edge, 1) for edge in edges[:-1]]
    assert [one.count for one in reliability(*with_confidence(above, [True] * bins), bins)] == [1] * bins


@pytest.mark.parametrize("classes", [2, 3, 5, 6, 10, 15])
def test_equal_logits_have_a_confidence_exactly_on_an_edge(classes):
    found = calibration(torch.zeros(4, classes), torch.zeros(4, dtype=torch.long), bins=30)
    [place] = [n for n, one in enumerate(found.curve) if one.count]
    assert found.curve[place].high == found.confidence == 1 / classes
    assert found.accuracy == 1.0  # the first of equal logits counts


def test_confidence_one_is_in_the_last_bin_and_not_in_an_extra_bin():
    """See torchmetrics#3510. Confidences 0.95 (right) and 1 (wrong) are in one bin with a gap of 0.475; in separate bins the gaps would
    be 0.05 and 1.
    """
    functional = pytest.importorskip("torchmetrics.functional.classification")
    confidence, correct = with_confidence([0.95, 1.0], [True, False])
    assert expected_calibration_error(reliability(confidence, correct)) == pytest.approx(0.475)
    shares = torch.stack([confidence, 1 - confidence], 1)
    value_of = functional.multiclass_calibration_error(shares, torch.tensor([0, 1]), 2, n_bins=15)
    assert value_of.item() == pytest.approx(0.525) or value_of.item() == pytest.approx(
        0.475
    )  # the latter once it is fixed


def test_class_probabilities_of_exactly_0_and_1():
    shares = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    assert class_wise_calibration_error(shares, torch.tensor([0, 1, 0, 1])) == 0.0
    assert class_wise_calibration_error(shares, torch.tensor([0, 1, 1, 1])) == pytest.approx(0.25)


# Bins of equal mass


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=60), st.integers(1, 20), st.randoms())
def test_bins_of_equal_mass_never_separate_equal_confidences(eighths, bins, random):
    pairs = [(value / 8, random.random() < 0.5) for value in eighths]
    curve = reliability(*with_confidence(*map(list, zip(*pairs, strict=True))), bins, "mass")
    assert sum(one.count for one in curve) == len(pairs)
    shuffled = random.sample(pairs, len(pairs))
    again = reliability(*with_confidence(*map(list, zip(*shuffled, strict=True))), bins, "mass")
    assert [one.count for one in again] == [one.count for one in curve]
    assert expected_calibration_error(again) == pytest.approx(expected_calibration_error(curve), abs=1e-12)
    if len(set(eighths)) == len(eighths):
        sizes = [one.count for one in curve]
        assert max(sizes) - min(sizes) <= 1


# Saturated, small, half


@pytest.mark.parametrize("size", [50.0, 1e4, 1e30])
def test_a_saturated_softmax_has_finite_metrics(size):
    logits = torch.tensor([[size, 0.0, 0.0], [size, 0.0, -size], [0.0, size, 0.0]])
    found = calibration(logits, torch.tensor([0, 1, 1]))
    assert found.confidence == pytest.approx(1.0, abs=1e-12)
    assert (found.ece, found.mce, found.ece_mass) == pytest.approx((1 / 3,) * 3)
    assert found.brier == pytest.approx(2 / 3)
    assert found.nll == pytest.approx(size / 3, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_metrics_of_half_precision_equal_those_of_the_same_numbers_in_float32(dtype):
    logits, labels = random_predictions(5000, 20)
    logits = logits.to(dtype)
    # Compared as text, because empty bins are NaN: from Python 3.13 on data classes compare them as numbers.
    assert repr(calibration(logits, labels)) == repr(calibration(logits.double(), labels))


def test_metrics_do_not_depend_on_the_chunk_size(monkeypatch):
    logits, labels = random_predictions(1000, 10)
    whole = calibration(logits, labels)
    monkeypatch.setattr("smix.evaluation.softmax.CHUNK", 10)
    cut = calibration(logits, labels)
    for name in ("accuracy", "confidence", "ece", "ece_mass", "mce", "class_wise", "brier", "nll"):
        assert getattr(cut, name) == pytest.approx(getattr(whole, name), rel=1e-10)


def test_one_sample_of_one_class():
    found = calibration(torch.tensor([[3.0]]), torch.tensor([0]))
    assert (found.accuracy, found.confidence, found.ece, found.class_wise, found.brier, found.nll) == (1, 1, 0, 0, 0, 0)


def test_a_class_without_samples():
    logits, labels = random_predictions(500, 4)
    labels[labels == 2] = 3
    found = calibration(logits, labels)
    assert all(math.isfinite(value) for value in (found.ece, found.class_wise, found.brier, found.nll))
    shares = logits.double().softmax(1).numpy()
    assert found.class_wise == pytest.approx(slow_class_wise(shares, labels.numpy(), BINS), abs=1e-12)


def test_empty_bins_have_no_accuracy():
    curve = reliability(*with_confidence([0.95, 0.97], [True, False]), 10)
    assert [one.count for one in curve] == [0] * 9 + [2]
    assert all(math.isnan(one.accuracy) and math.isnan(one.confidence) for one in curve[:-1])


# Invalid input


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_refused_in_one_line(value):
    logits, labels = random_predictions(5000, 100)
    logits[4321, 7] = value
    with pytest.raises(DataError, match=f"^logits: expected finite numbers, got {value} in sample 4321; .*$") as error:
        calibration(logits, labels)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_out_of_range_are_refused(label):
    with pytest.raises(DataError, match=f"^labels: expected classes 0 to 2, got {label}; .*$"):
        calibration(torch.zeros(2, 3), torch.tensor([0, label]))


def test_empty_predictions_are_refused():
    with pytest.raises(DataError, match=r"^predictions: expected at least one sample and one class, got"):
        calibration(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))


@pytest.mark.parametrize("value", [math.nan, -0.1, 1.1])
def test_invalid_confidences_are_refused(value):
    with pytest.raises(DataError, match=r"^confidence: expected probabilities from 0 to 1, got .*$"):
        reliability(*with_confidence([0.5, value], [True, True]))
    with pytest.raises(DataError, match=r"^confidence: expected probabilities from 0 to 1, got .*$"):
        class_wise_calibration_error(torch.tensor([[0.5, value]]), torch.tensor([0]))


def test_options_out_of_range_are_refused():
    with pytest.raises(OptionError, match=r"^bins: expected 1 or more, got 0; bins=15 is typical$"):
        calibration(*random_predictions(3, 3), bins=0)
    for temperature in (0.0, -1.0, math.nan):
        with pytest.raises(OptionError, match=r"^temperature: expected a number above 0, got"):
            calibration(*random_predictions(3, 3), temperature=temperature)
