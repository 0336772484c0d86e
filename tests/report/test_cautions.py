"""Test the rules by which a comparison is too small to name a best method, each with made records."""

import dataclasses

import numpy as np
import pytest

from smix.evaluation.statistics import summary
from smix.report.cautions import at_chance, few_images, few_seeds, impossible_intervals, unconverged
from smix.report.comparison import summarise
from smix.report.verdict import headline
from tests.report.comparisons import compared
from tests.report.runs import made_runs

CLEAR = {"vanilla": [0.60, 0.63, 0.64], "smix": [0.80, 0.82, 0.84]}


def losses(epochs: int, curve) -> list[list[float]]:
    """Return the losses of two seeds, `curve` of the progress from 0 to 1, with a little noise."""
    draws = np.random.default_rng(0)
    return [(curve(np.linspace(0, 1, epochs)) + draws.normal(0, 0.01, epochs)).tolist() for _ in range(2)]


@pytest.mark.parametrize(("seeds", "few"), [(1, True), (2, True), (3, False), (10, False)])
def test_few_seeds(seeds, few):
    assert bool(few_seeds(seeds)) == few


def test_one_seed_is_singular():
    assert few_seeds(1).text.startswith("1 seed cannot")
    assert few_seeds(2).text.startswith("2 seeds cannot")


@pytest.mark.parametrize(("images", "few"), [(1, True), (20, True), (49, True), (50, False), (10_000, False)])
def test_few_images(images, few):
    assert bool(few_images(images)) == few


def test_the_weight_of_an_image_is_named():
    assert few_images(20).text.startswith("one of only 20 test images is 5.0 points")


@pytest.mark.parametrize(
    ("values", "outside"),
    [([99.0, 99.1, 99.2], False), ([99.0, 99.9, 97.0], True), ([0.5, 8.0, 1.0], True), ([50.0], False)],
)
def test_impossible_intervals(values, outside):
    assert bool(impossible_intervals({"smix": summary(values)})) == outside


def test_the_method_with_an_impossible_interval_is_named():
    values = {"vanilla": summary([50.0, 51.0, 50.5]), "smix": summary([99.0, 99.9, 97.0])}
    assert "interval of smix exceeds" in impossible_intervals(values).text


@pytest.mark.parametrize(
    ("highest", "chance", "images", "guessed"),
    [
        (0.10, 0.1, 1000, True),
        (0.118, 0.1, 1000, True),  # below two standard errors, 0.119
        (0.125, 0.1, 1000, False),
        (0.60, 0.5, 50, True),
        (0.90, 0.9, 1000, True),  # nine of ten images are of one class
        (0.95, 0.1, 20, False),
    ],
)
def test_accuracy_at_chance_level(highest, chance, images, guessed):
    assert bool(at_chance(highest, chance, images)) == guessed


@pytest.mark.parametrize("epochs", [5, 30, 200])
@pytest.mark.parametrize(
    ("curve", "falling"),
    [
        (lambda t: 2.3 * np.exp(-5 * t) + 0.2, False),
        (lambda t: 2.3 - 2.0 * t**0.7, False),
        (lambda t: np.where(t < 1 / 3, 1.5, np.where(t < 2 / 3, 0.7, 0.5)) + (t == 0), False),  # multistep
        (lambda t: 2.3 - 1.5 * t**3, True),  # faster and faster
        (lambda t: 2.3 - 2.0 * t, True),  # as fast at the end as on average
        (lambda t: 2.3 + 0.5 * t, False),  # not learning at all: that is chance level
    ],
)
def test_a_loss_that_still_falls_clearly(epochs, curve, falling):
    assert bool(unconverged({"vanilla": losses(epochs, curve)})) == falling


def test_methods_that_have_not_converged_are_named():
    good, bad = losses(50, lambda t: np.exp(-5 * t)), losses(50, lambda t: 2.3 - t**3)
    assert "loss of smix was still falling" in unconverged({"vanilla": good, "smix": bad}).text
    assert "loss of a, b, c and 2 more was" in unconverged(dict.fromkeys("abcde", bad)).text


def test_too_few_epochs_unless_the_network_was_pre_trained():
    assert unconverged({"vanilla": [[2.0], [2.1]]}).text.endswith("only 1 epoch")
    assert unconverged({"vanilla": [[2.0, 1.0]]}).text.endswith("only 2 epochs")
    assert not unconverged({"vanilla": [[2.0, 1.0]]}, pretrained=True)


def test_the_last_epochs_without_mixing_do_not_count():
    """Their loss is lower since the images are easier, which is no sign of learning."""
    runs = made_runs(CLEAR)
    runs = [
        dataclasses.replace(run, config=dataclasses.replace(run.config, epochs=10, mix_off_epochs=3)) for run in runs
    ]
    for run in runs:
        epoch, values = run.metrics[0], [2.0, 1.2, 1.0, 0.95, 0.93, 0.92, 0.91, 0.3, 0.2, 0.1]
        run.metrics[:] = [dataclasses.replace(epoch, epoch=n, train_loss=loss) for n, loss in enumerate(values, 1)]
    assert summarise(runs).cautions == ()


def test_clear_comparisons_have_no_cautions():
    accuracy = summarise(made_runs(CLEAR))
    assert accuracy.cautions == ()
    assert headline(accuracy).startswith("smix has the highest")


def test_all_cautions_are_in_the_headline():
    text = headline(summarise(made_runs({"vanilla": [0.08, 0.12], "smix": [0.1, 0.12]})))
    assert text.startswith("The methods cannot be ranked: 2 seeds cannot")
    assert "guessing, which is right for 10.0 %" in text
    assert "exceeds 0 to 100 %" in text


def test_chance_is_the_share_of_the_most_frequent_class_where_predictions_are_known():
    runs = made_runs({"vanilla": [0.62, 0.63, 0.61]})
    assert not summarise(runs).cautions
    assert "right for 60.0 %" in summarise(runs, chance=0.6).cautions[0].text


def test_incomplete_methods_have_no_part_in_cautions():
    comparison = compared({**CLEAR, "mixup": [0.1, None, None]})
    assert comparison.accuracy.cautions == ()
