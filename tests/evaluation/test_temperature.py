"""Test the fitted temperature against a search by scipy, and cases without a temperature."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from smix.errors import DataError
from smix.evaluation.calibration import calibration
from smix.evaluation.softmax import top_class
from smix.evaluation.temperature import fit_temperature, temperature_scaling
from tests.evaluation.predictions import random_predictions


def sample_labels(count: int, classes: int, true: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw labels from softmax(logits / true)."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 4, (count, classes))
    labels = (logits / true + generator.gumbel(size=logits.shape)).argmax(1)
    return torch.from_numpy(logits), torch.from_numpy(labels)


@pytest.mark.parametrize("seed", range(5))
def test_no_temperature_has_a_smaller_loss(seed):
    logits, labels = random_predictions(400, 7, seed, scale=1 + seed)
    found = fit_temperature(logits, labels)
    told = minimize_scalar(
        lambda place: torch.nn.functional.cross_entropy(logits.double() / math.exp(place), labels).item(),
        bracket=(-1, 1),
        tol=1e-12,
    )
    assert found == pytest.approx(
        math.exp(told.x), rel=1e-5
    )  # a minimum is found only to the square root of the precision
    least = calibration(logits, labels, temperature=found).nll
    assert all(calibration(logits, labels, temperature=found * by).nll > least for by in (0.999, 1.001))


def test_the_temperature_equals_torch_uncertainty():
    scaler = pytest.importorskip("torch_uncertainty.post_processing.calibration")
    logits, labels = random_predictions(500, 5)
    fitted = scaler.TemperatureScaler(model=torch.nn.Identity(), max_iter=500)
    with torch.random.fork_rng(devices=[]):
        fitted.fit(torch.utils.data.DataLoader(list(zip(logits, labels, strict=True)), batch_size=500), progress=False)
    assert fit_temperature(logits, labels) == pytest.approx(
        fitted.temperature[0].detach().item(), rel=5e-3
    )  # torch-uncertainty stops early


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_of_sampled_labels_is_recovered(true):
    assert fit_temperature(*sample_labels(20_000, 5, true)) == pytest.approx(true, rel=0.05)


@pytest.mark.parametrize("factor", [1e-30, 1e-3, 1e4, 1e30])
def test_the_temperature_is_proportional_to_the_logits(factor):
    logits, labels = random_predictions(300, 5)
    logits = logits.double()
    assert fit_temperature(logits * factor, labels) == pytest.approx(fit_temperature(logits, labels) * factor, rel=1e-8)


def test_calibration_before_and_after_scaling():
    logits, labels = sample_labels(8000, 5, 3.0)
    found = temperature_scaling(logits[:4000], labels[:4000], logits[4000:], labels[4000:])
    assert found.temperature == fit_temperature(logits[4000:], labels[4000:])
    assert repr(found.before) == repr(calibration(logits[:4000], labels[:4000]))
    expected = calibration(logits[:4000] / found.temperature, labels[:4000])
    assert (found.after.ece, found.after.nll) == pytest.approx((expected.ece, expected.nll), rel=1e-9)
    assert found.before.overconfidence > 0.1
    assert abs(found.after.overconfidence) < 0.03
    assert found.after.ece < found.before.ece / 3
    assert found.after.nll < found.before.nll
    assert found.after.accuracy == found.before.accuracy


def test_a_split_without_errors_has_no_temperature():
    logits, labels = torch.eye(4) * 3, torch.arange(4)
    found = temperature_scaling(logits, labels, logits, labels)
    assert (found.temperature, found.after) == (0.0, None)
    assert fit_temperature(torch.ones(2, 1), torch.zeros(2, dtype=torch.long)) == 0.0
    assert fit_temperature(torch.zeros(3, 4), torch.tensor([0, 1, 2])) == 0.0


def test_a_network_worse_than_chance_has_no_temperature():
    logits, labels = -torch.eye(4) * 3, torch.arange(4)
    found = temperature_scaling(logits, labels, logits, labels)
    assert (found.temperature, found.after) == (math.inf, None)


def test_an_infinite_temperature_makes_all_classes_equal():
    logits, labels = random_predictions(50, 4)
    found = calibration(logits, labels, temperature=math.inf)
    assert found.confidence == 0.25
    assert found.nll == pytest.approx(math.log(4))
    assert torch.equal(top_class(logits, labels, math.inf).predicted, logits.argmax(1))


def test_a_single_wrong_sample_in_half_precision():
    logits = torch.tensor([[2.0, 1.0], [2.0, 1.0], [1.0, 2.0]], dtype=torch.float16)
    assert fit_temperature(logits, torch.tensor([0, 1, 1])) == pytest.approx(1 / math.log(2), rel=1e-9)


def test_nan_is_refused():
    with pytest.raises(DataError, match=r"^logits: expected finite numbers, got nan in sample 0;"):
        fit_temperature(torch.tensor([[math.nan, 1.0]]), torch.tensor([0]))
