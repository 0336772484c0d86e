"""Test the tables of classes: gains over vanilla, and their correlation with valid masks."""

import numpy as np
import pytest
import torch
from scipy import stats

from smix.report.predictions import class_table, confused_table, gain_table, gains
from smix.report.reading import read_comparison
from tests.report.comparisons import assets_of, judged
from tests.report.runs import CLASSES, TESTED, predictions, write_run, write_runs

SHARES = dict(zip(CLASSES, (10.0, 40.0, 70.0, 90.0), strict=True))
ASSETS = assets_of(masks=judged(SHARES))


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    return read_comparison(
        write_runs(tmp_path_factory.mktemp("runs"), {"vanilla": [1.0, 0.5], "mixup": [1.5, 1.0], "smix": [2.0, 2.5]})
    )


def of_class(strength: float, seed: int) -> np.ndarray:
    logits, labels = predictions(strength, 100 + seed)
    right = logits.argmax(1) == labels
    return np.array([right[labels == k].mean() for k in range(len(CLASSES))])


def test_gains_are_in_points_and_paired_by_seed(comparison):
    expected = 100 * np.mean([of_class(2.0, 0) - of_class(1.0, 0), of_class(2.5, 1) - of_class(0.5, 1)], axis=0)
    assert gains(comparison)["smix"] == pytest.approx(expected)
    assert set(gains(comparison)) == {"mixup", "smix"}


def test_the_class_table_shows_valid_masks_and_gains(comparison):
    table = class_table(comparison, ASSETS)
    assert table.head == ("Class", "Valid masks (%)", "vanilla (%)", "mixup", "smix")
    assert [row[0].text for row in table.rows] == list(CLASSES)
    assert [row[1].value for row in table.rows] == list(SHARES.values())
    assert table.rows[2][2].value == pytest.approx(100 * (of_class(1.0, 0)[2] + of_class(0.5, 1)[2]) / 2)
    assert class_table(comparison, assets_of()).head == ("Class", "vanilla (%)", "mixup", "smix")


def test_gain_and_masks_are_correlated_also_for_methods_without_masks(comparison):
    table = gain_table(comparison, ASSETS)
    assert [row[0].text for row in table.rows] == ["mixup", "smix"]
    shares = list(SHARES.values())
    result = {method: gains(comparison)[method] for method in ("mixup", "smix")}
    expected = [stats.spearmanr(shares, mine).statistic for mine in result.values()]
    assert [row[2].value for row in table.rows] == pytest.approx(expected)
    p = [
        stats.permutation_test(
            (mine,), lambda one: stats.spearmanr(shares, one).statistic, permutation_type="pairings", n_resamples=np.inf
        ).pvalue
        for mine in result.values()
    ]
    assert min(row[3].value for row in table.rows) == pytest.approx(min(1, 2 * min(p)))


def test_methods_are_named_by_the_seeds_that_they_share_with_vanilla(tmp_path):
    result = read_comparison(write_runs(tmp_path, {"vanilla": [1.0, 0.5, 1.0], "smix": [2.0, None, None]}))
    table = class_table(result, assets_of())
    assert table.head == ("Class", "vanilla (%)", "smix (1 of 3)")
    assert "mean over the seeds that both have" in table.note
    assert [row[0].text for row in gain_table(result, ASSETS).rows] == ["smix (1 of 3)"]


@pytest.mark.parametrize("shares", [{}, dict.fromkeys(CLASSES, 50.0), {CLASSES[0]: 10.0, CLASSES[1]: 20.0}])
def test_constant_shares_or_too_few_classes_have_no_correlation(comparison, shares):
    assert gain_table(comparison, assets_of(masks=judged(shares))) is None


def test_the_most_confused_classes_are_named_with_their_share(comparison):
    table = confused_table(comparison, ASSETS)
    total = torch.stack([one.confusion for one in comparison.scores["vanilla"].values()]).sum(0)
    wrong = total.clone().fill_diagonal_(0)
    label, predicted = divmod(int(wrong.argmax()), len(CLASSES))
    share = 100 * wrong.max().item() / total[label].sum().item()
    assert table.rows[0][1].text == f"{CLASSES[label]} as {CLASSES[predicted]}, {share:.1f} %"
    assert total.sum() == 2 * TESTED


def test_without_vanilla_there_are_no_gains(tmp_path):
    write_run(tmp_path, "smix", 0)
    result = read_comparison(tmp_path)
    assert gains(result) == {}
    assert class_table(result, ASSETS) is gain_table(result, ASSETS) is None
    assert confused_table(result, ASSETS) is not None
