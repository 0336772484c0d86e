"""Test the tables of calibration and confidence."""

from statistics import fmean, stdev

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from smix.evaluation.confidence import LEVELS
from smix.report.accuracy import test_images as table_of_test_images
from smix.report.comparison import ReportAssets, prepare
from smix.report.reading import read_comparison
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
    result = [
        100
        * multiclass_calibration_error(*map(torch.from_numpy, softmax(strength, 100 + seed)), num_classes=4, n_bins=15)
        for seed, strength in enumerate(STRENGTHS["vanilla"])
    ]
    table = CALIBRATION(comparison, ASSETS)
    assert column(table, "ECE (%)")["vanilla"] == f"{fmean(map(float, result)):.2f} ± {stdev(map(float, result)):.2f}"


def test_overconfidence_is_signed(comparison):
    each = []
    for seed, strength in enumerate(STRENGTHS["mixup"]):
        shares, labels = softmax(strength, 100 + seed)
        each.append(100 * (shares.max(1).mean() - (shares.argmax(1) == labels).mean()))
    shown = column(CALIBRATION(comparison, ASSETS), "Overconfidence (points)")["mixup"]
    assert shown == f"{fmean(each):.2f} ± {stdev(each):.2f}"
    assert "-" in shown, "this network is not sure enough"


def test_rows_show_the_number_of_runs_of_incomplete_methods(comparison):
    for table in (CALIBRATION(comparison, ASSETS), CONFIDENCE(comparison, ASSETS), LEVEL_TABLE(comparison, ASSETS)):
        assert [row[0].text for row in table.rows] == ["vanilla", "mixup", "smix (2 of 3)"]
        assert "Mean ± standard deviation over seeds." in table.note


def test_notes_describe_the_runs_and_that_bold_is_untested(tmp_path):
    result = read_comparison(write_runs(tmp_path, {"vanilla": [1.0, 1.0], "smix": [2.0, 2.0]}))
    scores = {run.path: result.scores[run.config.method][0] for run in result.runs if run.config.seed == 0}
    result = prepare(result.name, result.folder, result.runs, scores=scores)
    for table in (CALIBRATION(result, ASSETS), CONFIDENCE(result, ASSETS), LEVEL_TABLE(result, ASSETS)):
        assert "One run of each method: not enough runs for a deviation." in table.note
        assert ("whether or not the difference is statistically significant" in table.note) == (table.name != "levels")


def test_the_lowest_value_is_best_and_temperatures_never_are(comparison):
    table = CALIBRATION(comparison, ASSETS)
    for place, head in enumerate(table.head):
        cells = [row[place] for row in table.rows]
        if head in ("Method", "Temperature"):
            assert not any(cell.best for cell in cells)
        else:
            complete = [abs(cell.value) for cell in cells[:2]]  # smix lacks a run
            assert [cell.best for cell in cells] == [value == min(complete) for value in complete] + [False]


def test_errors_above_a_confidence_are_shares_of_all_images(comparison):
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


def test_changes_are_paired_by_seed_and_signed(comparison):
    result = {pair.first: pair for pair in changes_from_plain(comparison.values("overconfidence"))}
    assert set(result) == {"mixup", "smix"}
    assert result["smix"].count == 2
    scores = {method: comparison.scores[method] for method in ("vanilla", "mixup")}
    each = [
        scores["mixup"][seed].calibration.overconfidence - scores["vanilla"][seed].calibration.overconfidence
        for seed in range(3)
    ]
    assert result["mixup"].mean == pytest.approx(fmean(each))


def test_one_run_of_each_method_is_not_enough(tmp_path):
    table = CALIBRATION(read_comparison(write_runs(tmp_path, {"vanilla": [1.0], "mixup": [2.0]})), ASSETS)
    assert table.note.startswith("One run of each method: not enough runs for a deviation.")
    assert "±" not in table.rows[0][1].text


def test_without_predictions_there_is_no_table(tmp_path):
    write_runs(tmp_path, {"vanilla": [1.0]})
    (tmp_path / "vanilla-0" / "predictions.npz").unlink()
    result = read_comparison(tmp_path)
    assert CALIBRATION(result, ASSETS) is CONFIDENCE(result, ASSETS) is LEVEL_TABLE(result, ASSETS) is None


def test_the_bootstrap_resamples_the_first_shared_seed(comparison):
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


def test_the_class_wise_ece_is_the_mean_over_classes(comparison):
    table = CLASS_CALIBRATION(comparison, ASSETS)
    assert table.head == ("Class", "vanilla", "mixup", "smix (2 of 3)")
    means = [fmean(row[place].value for row in table.rows) for place in (1, 2, 3)]
    place = CALIBRATION(comparison, ASSETS).head.index("ECE, class-wise (%)")
    assert means == pytest.approx([row[place].value for row in CALIBRATION(comparison, ASSETS).rows])
