"""Tables of calibration and confidence."""

from statistics import fmean, stdev

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from smix.evaluation.confidence import LEVELS
from smix.report.accuracy import test_images as table_of_test_images
from smix.report.reading import read_comparison
from smix.report.records import ReportAssets, prepare
from smix.report.tables import CALIBRATION, CLASS_CALIBRATION, CONFIDENCE, LEVEL_TABLE
from smix.report.verdict import changes_from_plain
from tests.report.runs import predictions, write_runs

ASSETS = ReportAssets({})
STRENGTHS = {"vanilla": [1.0, 1.5, 0.5], "mixup": [2.0, 2.2, 1.8], "smix": [2.0, None, 2.5]}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    return read_comparison(write_runs(tmp_path_factory.mktemp("runs"), STRENGTHS))


def column(table, head: str) -> dict[str, str]:
    return {row[0].text: row[table.head.index(head)].text for row in table.rows}


def softmax(strength: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    logits, labels = predictions(strength, seed)
    e = np.exp(logits.astype(float) - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True), labels


def test_ece_is_that_of_torchmetrics_over_seeds(comparison):
    found = [
        100
        * multiclass_calibration_error(*map(torch.from_numpy, softmax(strength, 100 + seed)), num_classes=4, n_bins=15)
        for seed, strength in enumerate(STRENGTHS["vanilla"])
    ]
    table = CALIBRATION(comparison, ASSETS)
    assert column(table, "ECE (%)")["vanilla"] == f"{fmean(map(float, found)):.2f} ± {stdev(map(float, found)):.2f}"


def test_overconfidence_is_confidence_less_accuracy_with_its_sign(comparison):
    each = []
    for seed, strength in enumerate(STRENGTHS["mixup"]):
        shares, labels = softmax(strength, 100 + seed)
        each.append(100 * (shares.max(1).mean() - (shares.argmax(1) == labels).mean()))
    shown = column(CALIBRATION(comparison, ASSETS), "Overconfidence (points)")["mixup"]
    assert shown == f"{fmean(each):.2f} ± {stdev(each):.2f}"
    assert "-" in shown, "this network is not sure enough"


def test_rows_say_how_many_of_the_runs_they_are_of(comparison):
    for table in (CALIBRATION(comparison, ASSETS), CONFIDENCE(comparison, ASSETS), LEVEL_TABLE(comparison, ASSETS)):
        assert [row[0].text for row in table.rows] == ["vanilla", "mixup", "smix (2 of 3)"]
        assert "Mean ± standard deviation over seeds." in table.note


def test_notes_are_of_the_runs_behind_the_table_and_say_that_the_least_is_untested(tmp_path):
    found = read_comparison(write_runs(tmp_path, {"vanilla": [1.0, 1.0], "smix": [2.0, 2.0]}))
    scores = {run.path: found.scores[run.config.method][0] for run in found.runs if run.config.seed == 0}
    found = prepare(found.name, found.folder, found.runs, scores=scores)
    for table in (CALIBRATION(found, ASSETS), CONFIDENCE(found, ASSETS), LEVEL_TABLE(found, ASSETS)):
        assert "One run of each method: not enough runs for a deviation." in table.note
        assert ("whether or not the difference is statistically significant" in table.note) == (table.name != "levels")


def test_the_best_is_the_least_and_a_temperature_is_never_best(comparison):
    table = CALIBRATION(comparison, ASSETS)
    for place, head in enumerate(table.head):
        cells = [row[place] for row in table.rows]
        if head in ("Method", "Temperature"):
            assert not any(cell.best for cell in cells)
        else:
            whole = [abs(cell.value) for cell in cells[:2]]  # smix lacks a run
            assert [cell.best for cell in cells] == [value == min(whole) for value in whole] + [False]


def test_mistakes_above_a_level_are_counted_in_all_images(comparison):
    each = []
    for seed, strength in enumerate(STRENGTHS["vanilla"]):
        shares, labels = softmax(strength, 100 + seed)
        each.append(100 * ((shares.argmax(1) != labels) & (shares.max(1) > 0.9)).mean())
    assert column(CONFIDENCE(comparison, ASSETS), "Errors above confidence 0.9 (%)")["vanilla"].startswith(
        f"{fmean(each):.2f} ±"
    )


def test_a_level_without_predictions_is_not_known(comparison):
    table = LEVEL_TABLE(comparison, ASSETS)
    assert len(table.head) == len(LEVELS)
    assert "0.99 to 1" in table.head
    assert not any("nan" in cell.text for row in table.rows for cell in row)


def test_change_is_paired_with_vanilla_by_seed_and_signed(comparison):
    found = {pair.first: pair for pair in changes_from_plain(comparison.values("overconfidence"))}
    assert set(found) == {"mixup", "smix"}
    assert found["smix"].count == 2
    scores = {method: comparison.scores[method] for method in ("vanilla", "mixup")}
    each = [
        scores["mixup"][seed].calibration.overconfidence - scores["vanilla"][seed].calibration.overconfidence
        for seed in range(3)
    ]
    assert found["mixup"].mean == pytest.approx(fmean(each))


def test_one_run_of_each_is_said_not_to_be_enough(tmp_path):
    table = CALIBRATION(read_comparison(write_runs(tmp_path, {"vanilla": [1.0], "mixup": [2.0]})), ASSETS)
    assert table.note.startswith("One run of each method: not enough runs for a deviation.")
    assert "±" not in table.rows[0][1].text


def test_without_predictions_there_is_no_table(tmp_path):
    write_runs(tmp_path, {"vanilla": [1.0]})
    (tmp_path / "vanilla-0" / "predictions.npz").unlink()
    found = read_comparison(tmp_path)
    assert CALIBRATION(found, ASSETS) is CONFIDENCE(found, ASSETS) is LEVEL_TABLE(found, ASSETS) is None


def test_over_test_images_the_first_seed_of_each_pair_is_resampled_and_named_so(comparison):
    table = table_of_test_images(comparison, ASSETS)
    assert "Over test images only" in table.title
    assert [row[0].text for row in table.rows] == ["mixup", "smix (2 of 3)"]
    (one, truth), (other, _) = softmax(2.0, 100), softmax(1.0, 100)
    right, plain = one.argmax(1) == truth, other.argmax(1) == truth
    assert table.rows[0][2].value == pytest.approx(100 * (right.mean() - plain.mean()))
    low, high = (float(part) for part in table.rows[0][3].text.split(" to "))
    draws = np.random.default_rng(0).integers(0, 61, (4000, 61))
    expected = np.quantile(100 * (right.astype(int) - plain.astype(int))[draws].mean(1), [0.025, 0.975])
    assert (low, high) == pytest.approx(expected, abs=2.0)


def test_the_mean_over_classes_of_their_calibration_errors_is_the_class_wise_error(comparison):
    table = CLASS_CALIBRATION(comparison, ASSETS)
    assert table.head == ("Class", "vanilla", "mixup", "smix (2 of 3)")
    means = [fmean(row[place].value for row in table.rows) for place in (1, 2, 3)]
    place = CALIBRATION(comparison, ASSETS).head.index("ECE, class-wise (%)")
    assert means == pytest.approx([row[place].value for row in CALIBRATION(comparison, ASSETS).rows])
