import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex

from smix.evaluation.statistics import Difference
from smix.plots.layout import signed
from smix.plots.style import styles
from smix.report.accuracy import (
    accuracy_differences,
    accuracy_over_time,
    accuracy_per_epoch,
    accuracy_per_run,
)
from smix.report.comparison import Comparison, ReportAssets
from smix.training.loop import Epoch
from tests.report.comparisons import METHODS, assets_of, compared, judged, with_runs
from tests.report.pictures import assert_readable, texts_of

STYLES = styles(METHODS)
ASSETS = ReportAssets(STYLES)


def many(count: int, seeds: int = 3) -> Comparison:
    rng = np.random.default_rng(count)
    return compared({method: [float(one) for one in rng.uniform(0.5, 0.6, seeds)] for method in METHODS[:count]})


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 6, 13])
def test_texts_do_not_overlap(count, seeds):
    comparison = many(count, seeds)
    assert_readable(accuracy_per_run(comparison, ASSETS))
    assert_readable(accuracy_per_epoch(comparison, ASSETS))
    assert_readable(accuracy_over_time(comparison, with_masks(10.0)))
    if count > 1:
        assert_readable(accuracy_differences(comparison, ASSETS))


def with_masks(seconds: float) -> ReportAssets:
    """Return assets with masks that took this many seconds to build."""
    return assets_of(masks=judged({}, seconds))


def test_every_run_is_a_mark_of_its_method_and_every_method_has_its_mean_and_deviation():
    figure = accuracy_per_run(compared({"vanilla": [0.5, 0.6], "smix": [0.7, 0.74]}), ASSETS)
    axes = figure.axes[0]
    marks = [one for one in axes.collections if isinstance(one, PathCollection)]
    assert [sorted(one.get_offsets()[:, 0]) for one in marks] == [pytest.approx([50, 60]), pytest.approx([70, 74])]
    assert [to_hex(one.get_facecolor()[0]) for one in marks] == [STYLES[m].colour.lower() for m in ("vanilla", "smix")]
    means = [one.get_segments()[0][0, 0] for one in axes.collections if isinstance(one, LineCollection)]
    assert means == pytest.approx([55, 72])
    # With n - 1: 7.07 and 2.83.
    assert [(box.get_x(), box.get_width()) for box in axes.patches] == [
        pytest.approx((55 - 50**0.5, 2 * 50**0.5)),
        pytest.approx((72 - 8**0.5, 2 * 8**0.5)),
    ]
    assert {"55.00 ± 7.07", "72.00 ± 2.83"} <= set(texts_of(figure))


def test_runs_of_equal_accuracy_do_not_hide_each_other():
    axes = accuracy_per_run(compared({"vanilla": [0.5, 0.5, 0.5]}), ASSETS).axes[0]
    assert len({tuple(one) for one in axes.collections[0].get_offsets().round(6).tolist()}) == 3


def test_a_method_that_lacks_runs_says_so_and_its_mean_is_dashed():
    figure = accuracy_per_run(compared({"vanilla": [0.5, 0.6, 0.7], "smix": [0.9, None, None]}), ASSETS)
    texts = texts_of(figure)
    assert {"vanilla", "smix (1 of 3)", "60.00 ± 10.00", "90.00"} <= set(texts)
    lines = [one for one in figure.axes[0].collections if isinstance(one, LineCollection)]
    solid, dashed = (one.get_linestyles()[0][1] for one in lines)
    assert solid is None
    assert dashed is not None
    assert len(figure.axes[0].patches) == 1, "one run has no deviation"


def test_a_method_without_a_finished_run_has_a_name_alone():
    figure = accuracy_per_run(compared({"vanilla": [0.5], "smix": [None]}), ASSETS)
    assert "smix (0 of 1)" in texts_of(figure)
    assert sum(len(one.get_offsets()) for one in figure.axes[0].collections if isinstance(one, PathCollection)) == 1


def test_without_values_no_figure_is_drawn():
    assert accuracy_per_run(compared({"vanilla": [None]}), ASSETS) is None
    assert accuracy_differences(compared({"vanilla": [0.5]}), ASSETS) is None
    no_epochs = compared({"vanilla": [0.5]})
    no_epochs = with_runs(no_epochs, [replace(run, metrics=[]) for run in no_epochs.runs])
    assert accuracy_per_epoch(no_epochs, ASSETS) is None
    assert accuracy_over_time(no_epochs, ASSETS) is None


def differences_of(pairs: list[Difference], reference: str = "vanilla"):
    """Draw the figure of these pairs."""
    comparison = compared({"vanilla": [0.5]})
    comparison = replace(comparison, accuracy=replace(comparison.accuracy, pairs=pairs))
    return accuracy_differences(comparison, ASSETS, reference=reference)


def pair(first: str, second: str, mean: float, low: float, high: float, p: float) -> Difference:
    return Difference(first, second, mean, low, high, 3, p, p)


def test_differences_are_method_minus_vanilla_and_filled_if_significant():
    pairs = [
        pair("vanilla", "mixup", -2.0, -3.0, -1.0, 0.01),  # mixup is two points better
        pair("smix", "vanilla", -1.5, -4.0, 1.0, 0.3),
        pair("mixup", "smix", 3.5, 3.0, 4.0, 0.001),
        pair("vanilla", "fmix", 0.25, math.nan, math.nan, math.nan),
    ]
    figure = differences_of(pairs)
    axes = figure.axes[0]
    marks = {line.get_marker(): line for line in axes.lines if line.get_marker() != "None"}
    actual = {m: marks[STYLES[m].marker] for m in ("mixup", "smix", "fmix")}
    assert {m: line.get_xdata()[0] for m, line in actual.items()} == {"mixup": 2.0, "smix": -1.5, "fmix": -0.25}
    assert {m: line.get_markerfacecolor() != "none" for m, line in actual.items()} == {
        "mixup": True,
        "smix": False,
        "fmix": False,
    }
    intervals = [one.get_segments()[0][:, 0].tolist() for one in axes.collections]
    assert intervals == [[1.0, 3.0], [-4.0, 1.0]]  # none for one seed
    texts = texts_of(figure)
    assert {"+2.00, better", signed(-1.5, 2), signed(-0.25, 2)} <= set(texts)
    assert "Difference from vanilla" in texts


def test_differences_from_another_method():
    figure = differences_of([pair("mixup", "smix", 3.5, 3.0, 4.0, 0.001)], "mixup")
    assert f"{signed(-3.5, 2)}, worse" in texts_of(figure)
    assert differences_of([pair("mixup", "smix", 3.5, 3.0, 4.0, 0.001)]) is None
    assert differences_of([pair("vanilla", "smix", math.nan, math.nan, math.nan, math.nan)]) is None


def line_of(figure, method):
    return next(line for line in figure.axes[0].lines if line.get_label() == method)


def test_accuracy_per_epoch_is_the_mean_over_seeds_with_its_range():
    figure = accuracy_per_epoch(compared({"vanilla": [0.5, 0.6], "smix": [0.5, 0.6]}), ASSETS)
    line = line_of(figure, "vanilla")
    assert line.get_xdata() == pytest.approx([1, 2, 3])
    assert line.get_ydata() == pytest.approx([20.5, 40.5, 60.5])  # percent; seeds 0 and 1 differ by one point
    band = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((20.0, 61.0))
    assert (line.get_color(), line.get_marker()) == (STYLES["vanilla"].colour, "o")
    note = " ".join(texts_of(figure))
    assert "Validation accuracy, in percent: mean over 2 seeds; band" in note
    assert {"vanilla", "smix"} <= set(texts_of(figure)), "names at the ends"
    assert figure.axes[0].get_legend() is None


def test_every_finished_epoch_is_drawn():
    comparison = compared({"vanilla": [0.5, 0.6], "smix": [0.9, None]})
    del comparison.runs[-1].metrics[1:]
    figure = accuracy_per_epoch(comparison, ASSETS)
    assert line_of(figure, "smix").get_ydata() == pytest.approx([20.5, 40.0, 60.0])  # two seeds, then one
    assert "smix (1 of 2)" in texts_of(figure)
    del comparison.runs[-1].metrics[:]
    assert line_of(accuracy_per_epoch(comparison, ASSETS), "smix").get_ydata() == pytest.approx([20, 40, 60])


def test_the_note_names_the_images_and_a_single_seed():
    comparison = compared({"vanilla": [0.5]})
    assert "Validation accuracy, in percent: one seed." in texts_of(accuracy_per_epoch(comparison, ASSETS))
    run = comparison.runs[0]
    comparison = with_runs(comparison, [replace(run, config=replace(run.config, val_fraction=0.0))])
    assert "a fixed part of the training images" in " ".join(texts_of(accuracy_per_epoch(comparison, ASSETS)))


def test_the_first_epochs_do_not_compress_the_axis():
    comparison = compared({"vanilla": [0.5]})
    epochs = [Epoch(n, 0.1, 1.0, 0.5, 0.0, 1.0, 0.1 if n < 3 else 0.8 + 0.001 * n, 1.0) for n in range(1, 51)]
    comparison = with_runs(comparison, [replace(comparison.runs[0], metrics=epochs)])
    low, high = accuracy_per_epoch(comparison, ASSETS).axes[0].get_ylim()
    assert 79 < low < 80.5
    assert 85 < high < 86


@pytest.mark.parametrize("dip", [2, 30, 49])
def test_the_axis_never_cuts_the_band_between_seeds(dip):
    """One seed falls to 20 % in one epoch: shown in full, unless it is one of the first epochs, which are left out for all."""
    comparison = compared({"vanilla": [0.5, 0.6]})
    runs = []
    for seed, run in enumerate(comparison.runs):
        epochs = [Epoch(n, 0.1, 1.0, 0.5, 0.0, 1.0, 0.2 if seed == 0 and n == dip else 0.8, 1.0) for n in range(1, 51)]
        runs.append(replace(run, metrics=epochs))
    axes = accuracy_per_epoch(with_runs(comparison, runs), ASSETS).axes[0]
    low, high = axes.get_ylim()
    (band,) = axes.collections
    points = band.get_paths()[0].vertices
    assert low <= points[:, 1].min()
    assert points[:, 1].max() <= high
    assert points[:, 0].min() == (3 if dip == 2 else 1)
    assert (points[:, 1].min() == pytest.approx(20)) == (dip != 2)


@pytest.mark.slow
def test_time_is_cumulative_and_includes_building_masks():
    comparison = compared({"vanilla": [0.5, 0.6], "smix": [0.5, 0.6]}, masked=["smix"])
    slow = {"vanilla": 1.0, "smix": 1.5}
    runs = [
        replace(
            run,
            metrics=[
                replace(epoch, seconds=30 * slow[run.config.method] + 2 * run.config.seed) for epoch in run.metrics
            ],
            result=replace(run.result, seconds=3 * (30 * slow[run.config.method] + 2 * run.config.seed)),
        )
        for run in comparison.runs
    ]
    figure = accuracy_over_time(with_runs(comparison, runs), with_masks(12.0))
    assert line_of(figure, "vanilla").get_xdata() == pytest.approx([31, 62, 93])  # seconds; the mean of 30 and 32 each
    assert line_of(figure, "smix").get_xdata() == pytest.approx([12 + 46, 12 + 92, 12 + 138])
    assert line_of(figure, "smix").get_ydata() == pytest.approx([20.5, 40.5, 60.5])
    dashed = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert [line.get_xdata()[0] for line in dashed] == [pytest.approx(93)]  # vanilla: 90 and 96 of the seeds
    note = " ".join(texts_of(figure))
    assert "Dashed: the fastest run of each seed ends after 93 seconds, mean over seeds." in note
    assert "after 12 seconds" in note
    assert "Time of training and validation (seconds)" in note
    assert "masks" not in " ".join(texts_of(accuracy_over_time(with_runs(comparison, runs), ASSETS)))


@pytest.mark.parametrize(("seconds", "unit", "last"), [(59, "seconds", 177), (600, "minutes", 30), (7200, "hours", 6)])
def test_time_has_a_suitable_unit(seconds, unit, last):
    comparison = compared({"vanilla": [0.5]})
    run = comparison.runs[0]
    run = replace(run, metrics=[replace(epoch, seconds=float(seconds)) for epoch in run.metrics])
    figure = accuracy_over_time(with_runs(comparison, [run]), ASSETS)
    assert f"Time of training and validation ({unit})" in texts_of(figure)
    assert line_of(figure, "vanilla").get_xdata()[-1] == pytest.approx(last)


def test_without_a_finished_run_no_budget_is_drawn():
    comparison = compared({"vanilla": [None], "smix": [None]})
    assert not [line for line in accuracy_over_time(comparison, ASSETS).axes[0].lines if line.get_linestyle() == "--"]


@pytest.mark.slow
def test_names_of_methods_are_shown_as_they_are():
    hostile = "mixup$x_1$<b>\x1b[2J"
    comparison = compared({"vanilla": [0.5, 0.6], hostile: [0.5, 0.7]})
    assets = assets_of(list(comparison.by_method))
    for figure in (
        accuracy_per_run(comparison, assets),
        accuracy_per_epoch(comparison, assets),
        accuracy_differences(comparison, assets),
    ):
        assert_readable(figure)
        assert "mixup$x_1$<b>\ufffd[2J" in texts_of(figure)
