"""Test errors by confidence and the risk-coverage curve by definition, by hand, and against torch-uncertainty."""

import math
import warnings
from itertools import permutations

import numpy as np
import pytest
import torch

from smix.errors import DataError, OptionError
from smix.evaluation.confidence import LEVELS, SURE, errors_above, errors_by_confidence, risk_coverage
from smix.evaluation.softmax import top_class
from tests.evaluation.predictions import random_predictions, with_confidence


def test_levels_against_their_definition():
    found = top_class(*random_predictions(3000, 6))
    levels = errors_by_confidence(found.confidence, found.correct)
    for level in levels:
        inside = (found.confidence > level.low) & (found.confidence <= level.high)
        assert level.count == int(inside.sum())
        assert level.wrong == int((inside & ~found.correct).sum())
        assert level.error_rate == pytest.approx(1 - found.correct[inside].double().mean().item())
    assert sum(level.count for level in levels) == levels[0].samples == 3000


def test_every_bound_is_in_the_level_below_and_zero_in_the_first():
    levels = errors_by_confidence(*with_confidence(list(LEVELS), [False] * len(LEVELS)))
    assert [level.count for level in levels] == [2] + [1] * (len(LEVELS) - 2)
    assert [level.wrong for level in levels] == [level.count for level in levels]


def test_a_level_without_samples_has_no_error_rate():
    levels = errors_by_confidence(*with_confidence([0.3, 0.99], [True, True]))
    assert [level.count for level in levels] == [1, 0, 0, 0, 0, 0, 1, 0]
    assert math.isnan(levels[1].error_rate)


def test_errors_above_a_threshold():
    confidence, correct = with_confidence([0.5, 0.9, 0.91, 0.99, 0.995, 1.0], [False, False, True, False, True, False])
    sure, surest = (errors_above(confidence, correct, threshold) for threshold in SURE)
    assert (sure.count, sure.wrong, sure.samples) == (4, 2, 6)
    assert (surest.count, surest.wrong) == (2, 1)


def test_the_curve_by_hand():
    curve = risk_coverage(*with_confidence([0.6, 0.9, 0.8, 0.7], [True, True, False, True]))
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve.risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4])
    assert curve.aurc == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert [curve.accuracy_at(share) for share in (0.01, 0.25, 0.3, 0.5, 1.0)] == pytest.approx([1, 1, 0.5, 0.5, 0.75])


def test_equal_confidences_are_averaged_over_their_orders():
    wrong = np.array([0, 1, 1, 0, 1])
    confidence = [0.9, 0.7, 0.7, 0.7, 0.4]
    risks = [np.cumsum(wrong[[0, *middle, 4]]) / np.arange(1, 6) for middle in permutations((1, 2, 3))]
    curve = risk_coverage(*with_confidence(confidence, (wrong == 0).tolist()))
    np.testing.assert_allclose(curve.risk, np.mean(risks, 0), atol=1e-12)
    turned = risk_coverage(*with_confidence(confidence[::-1], (wrong == 0).tolist()[::-1]))
    assert torch.equal(turned.risk, curve.risk)


def test_all_saturated_confidences_are_one_group():
    curve = risk_coverage(*with_confidence([1.0] * 10, [True] * 7 + [False] * 3))
    assert curve.aurc == pytest.approx(0.3)
    assert curve.accuracy_at(0.1) == pytest.approx(0.7)


def test_the_area_equals_torch_uncertainty():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pytest.importorskip("torch_uncertainty.metrics.classification")
    logits, labels = random_predictions(2000, 10)
    metric = theirs.AURC()
    metric.update(logits.double().softmax(1), labels)
    found = top_class(logits, labels)
    risk = risk_coverage(found.confidence, found.correct).risk.numpy()
    trapezoid = np.trapezoid(risk, np.arange(1, 2001) / 2000) / (
        1 - 1 / 2000
    )  # torch-uncertainty's definition; smix takes the mean
    assert trapezoid == pytest.approx(metric.compute().item(), rel=1e-5)


def test_the_best_order_has_the_smallest_area():
    found = top_class(*random_predictions(200, 5))
    areas = [
        risk_coverage(confidence, found.correct).aurc
        for confidence in (found.correct.double(), found.confidence, 1 - found.correct.double())
    ]
    assert areas == sorted(areas)


@pytest.mark.parametrize("right", [True, False])
def test_one_sample(right):
    curve = risk_coverage(*with_confidence([0.7], [right]))
    assert (curve.coverage.tolist(), curve.aurc, curve.accuracy_at(1.0)) == ([1.0], 1.0 - right, float(right))


def test_half_precision_and_one_class():
    logits, labels = random_predictions(100, 3)
    half = top_class(logits.half(), labels)
    assert half.confidence.dtype == torch.float64
    assert torch.equal(half.confidence, top_class(logits.half().float(), labels).confidence)
    single = top_class(torch.tensor([[5.0]]), torch.tensor([0]))
    assert (single.confidence.item(), single.correct.item()) == (1.0, True)


def test_invalid_input_is_refused_in_one_line():
    confidence, correct = with_confidence([0.5, math.nan], [True, True])
    for refuse in (errors_by_confidence, risk_coverage, lambda *both: errors_above(*both, 0.9)):
        with pytest.raises(DataError, match=r"^confidence: expected probabilities from 0 to 1, got nan; [^\n]*$"):
            refuse(confidence, correct)
    fine, right = with_confidence([0.5], [True])
    for bounds in ((0.0,), (0.1, 1.0), (0.0, 0.9), (0.0, 0.5, 0.5, 1.0)):
        with pytest.raises(OptionError, match=r"^bounds: expected numbers that increase from 0 to 1, got"):
            errors_by_confidence(fine, right, bounds)
    with pytest.raises(OptionError, match=r"^threshold: expected a number in \[0, 1\), got 1"):
        errors_above(fine, right, 1.0)
    with pytest.raises(OptionError, match=r"^coverage: expected a fraction in \(0, 1\], got 0"):
        risk_coverage(fine, right).accuracy_at(0.0)
