"""Test the cost of methods, masks included, and their accuracy at equal seconds."""

import math
from dataclasses import replace

import pytest

from smix.report.comparison import Comparison
from smix.report.reading import read_comparison
from smix.report.runs import accuracy_after, budgets, cost, start_of
from smix.report.table import Table
from tests.report.comparisons import assets_of, judged, with_runs
from tests.report.runs import made_run, write_runs


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """Return a comparison of runs of three epochs of 61 / 3 seconds with accuracy 0.2, 0.4, 0.6 (seed 0), and 300 images."""
    return read_comparison(
        write_runs(tmp_path_factory.mktemp("runs"), {"vanilla": [1.0], "mixup": [1.0], "smix": [1.0]})
    )


def cost_table(comparison: Comparison, mask_seconds: float) -> Table:
    return cost(comparison, assets_of(masks=judged({}, mask_seconds)))


def row(table, method: str) -> dict:
    cells = next(line for line in table.rows if line[0].text == method)
    return dict(zip(table.head, cells, strict=True))


def test_the_time_of_masks_is_charged_to_the_methods_that_use_them(comparison):
    table = cost_table(comparison, 30.5)
    assert row(table, "smix")["Overhead with masks (%)"].value == pytest.approx(50)
    assert row(table, "smix")["Overhead over vanilla (%)"].value == pytest.approx(0)
    assert row(table, "smix")["Masks"].value == 30.5
    assert row(table, "mixup")["Masks"].text == "none"
    assert row(table, "mixup")["Overhead with masks (%)"].value == pytest.approx(0)
    assert row(table, "vanilla")["Images per second"].value == pytest.approx(300 / 61)


def test_at_equal_seconds_the_masks_leave_fewer_epochs(comparison):
    table = cost_table(comparison, 30.5)
    assert row(table, "mixup")["At equal seconds (%)"].value == pytest.approx(60)
    assert row(table, "smix")["At equal seconds (%)"].value == pytest.approx(20)  # 30.5 s: one epoch of 20.3 s
    assert row(table, "smix")["At equal epochs (%)"].value == pytest.approx(60)
    assert "1 min 1 s" in table.note


def test_unknown_build_time_makes_the_cost_unknown(comparison):
    actual = row(cost_table(comparison, math.nan), "smix")
    assert actual["Masks"].text == actual["Overhead with masks (%)"].text == actual["At equal seconds (%)"].text == "-"


def test_masks_that_came_with_the_data_cost_nothing(comparison):
    assert row(cost_table(comparison, 0.0), "smix")["Overhead with masks (%)"].value == pytest.approx(0)


def timed(method: str, seed: int, seconds: float | None):
    run = made_run(method, seed, None if seconds is None else 0.5, seconds=seconds or 50.0)
    return (
        run
        if run.result is None
        else replace(run, result=replace(run.result, val_accuracy=run.metrics[-1].val_accuracy))
    )


def of(comparison, *runs):
    return with_runs(comparison, list(runs))


def test_the_fastest_run_of_each_seed_keeps_all_its_epochs(comparison):
    actual = of(
        comparison,
        timed("vanilla", 0, 60.0),
        timed("vanilla", 1, 90.0),
        timed("mixup", 0, 66.0),
        timed("mixup", 1, 84.0),
    )
    table = cost_table(actual, 0.0)
    assert row(table, "vanilla")["At equal epochs (%)"].value == pytest.approx(60.5)
    assert row(table, "vanilla")["At equal seconds (%)"].value == pytest.approx((60 + 41) / 2)
    assert row(table, "mixup")["At equal seconds (%)"].value == pytest.approx((40 + 61) / 2)
    assert "1 min to 1 min 24 s" in table.note


def test_a_method_with_a_run_of_no_epoch_in_time_has_no_accuracy_at_equal_seconds(comparison):
    actual = of(
        comparison,
        timed("vanilla", 0, 60.0),
        timed("vanilla", 1, 60.0),
        timed("mixup", 0, 90.0),
        timed("mixup", 1, 600.0),
    )
    assert row(cost_table(actual, 0.0), "mixup")["At equal seconds (%)"].text == "-"


def test_overhead_is_over_the_seeds_that_both_have(comparison):
    actual = of(
        comparison,
        timed("vanilla", 0, 100.0),
        timed("vanilla", 1, 300.0),
        timed("smix", 0, 110.0),
        timed("smix", 1, None),
    )
    cells = row(cost_table(actual, 10.0), "smix (1 of 2)")
    assert cells["Overhead over vanilla (%)"].value == pytest.approx(10)
    assert cells["Overhead with masks (%)"].value == pytest.approx(20)
    apart = of(comparison, timed("vanilla", 0, 100.0), timed("smix", 1, 110.0))
    assert row(cost_table(apart, 0.0), "smix (1 of 2)")["Overhead over vanilla (%)"].text == "-"


def test_images_per_second_are_all_images_over_all_seconds(comparison):
    actual = of(comparison, timed("vanilla", 0, 100.0), timed("vanilla", 1, 300.0))
    assert row(cost_table(actual, 0.0), "vanilla")["Images per second"].value == pytest.approx(600 / 400)


def test_the_budget_is_the_time_of_the_fastest_run(comparison):
    assert budgets(comparison.runs, {"vanilla": 0.0, "mixup": 0.0, "smix": 10.0}) == {0: 61}
    assert budgets(
        [timed("smix", 0, 50.0), timed("vanilla", 0, 70.0), timed("fmix", 1, None)], {"smix": 30.0, "vanilla": 0.0}
    ) == {0: 70}
    assert budgets([timed("smix", 0, 50.0)], {"smix": math.nan}) == {}
    assert start_of("smix+fmix", 10.0) == 10
    assert start_of("fmix", 10.0) == 0


@pytest.mark.parametrize(
    ("seconds", "accuracy"),
    [(0.0, math.nan), (1.9, math.nan), (2.0, 0.1), (4.9, 0.1), (5.0, 0.2), (99.0, 0.3), (math.nan, math.nan)],
)
def test_accuracy_after_some_seconds_is_of_the_last_epoch_that_had_ended(comparison, seconds, accuracy):
    run = comparison.runs[0]
    epochs = [
        replace(one, seconds=spent, val_accuracy=accuracy)
        for one, spent, accuracy in zip(run.metrics, (2.0, 3.0, 4.0), (0.1, 0.2, 0.3), strict=True)
    ]
    assert accuracy_after(replace(run, metrics=epochs), seconds) == pytest.approx(accuracy, nan_ok=True)


def test_methods_without_a_finished_run_have_no_cost(tmp_path):
    table = cost_table(read_comparison(write_runs(tmp_path, {"vanilla": [1.0], "mixup": [None]})), 0.0)
    assert [cell.text for cell in table.rows[1]] == ["mixup (0 of 1)", "-", "-", "-", "none", "-", "-", "-"]


def test_without_vanilla_there_is_no_overhead(tmp_path):
    table = cost_table(read_comparison(write_runs(tmp_path, {"cutmix": [1.0]})), 0.0)
    assert row(table, "cutmix")["Overhead over vanilla (%)"].text == "-"
