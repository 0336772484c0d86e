"""Figures of accuracy: of every run, as a difference from vanilla, by epoch and by time."""

import math
from dataclasses import replace
from statistics import fmean

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from smix.evaluation.statistics import verdict
from smix.plots.charts import Chart, Curve, Estimate, Row, interval_rows, line_charts
from smix.plots.layout import Heading, signed
from smix.plots.style import PLAIN, SOFT
from smix.report.cost import budgets
from smix.report.figures.queries import labels_of, metric_per_run
from smix.report.page import figure
from smix.report.records import Comparison, ReportAssets, by_method, difference_from, differences

UNITS = (("hours", 3600.0, 10800.0), ("minutes", 60.0, 180.0), ("seconds", 1.0, 0.0))
"""Units of time, their seconds, and the number of seconds from which they are used."""


accuracy_per_run = metric_per_run("accuracy-distribution", "test_accuracy", "Test accuracy of every run", absent=True)


@figure("accuracy-differences")
def accuracy_differences(comparison: Comparison, assets: ReportAssets, reference: str = PLAIN) -> Figure | None:
    """Draw the mean difference of each method from `reference` with its 95 % interval; filled where it is significant.

    None: No other method has the same seeds.
    """
    rows = []
    for pair in difference_from(reference, differences(comparison.runs)):
        if not math.isnan(pair.mean):
            style, text = assets.styles[pair.first], f", {verdict(pair)}" if pair.significant else ""
            estimate = Estimate(style, pair.mean, pair.low, pair.high, solid=pair.significant)
            rows.append(Row(pair.first, [estimate], signed(pair.mean, 2) + text))
    if not rows:
        return None
    heading = Heading(
        f"Difference from {reference}",
        "Mean over seeds, in points of test accuracy, with its 95 % interval. Filled: statistically significant (paired t-tests, "
        "corrected by Holm's method over all pairs); hollow: not significant, or one seed only.",
    )
    return interval_rows(heading, {"": rows}, f"Test accuracy minus that of {reference} (points)", zero=True)


@figure("accuracy-per-epoch")
def accuracy_per_epoch(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the validation accuracy of each method by epoch, or that on the training images that replace validation images.

    None: No epoch is finished.
    """
    curves = _curves(comparison)
    if not curves:
        return None
    last = max(len(curve.x) for curve in curves.values())
    heading, limits = Heading("Accuracy per epoch", _note(comparison)), (min(1.0, last - 1.0), last)
    return _accuracy_chart(comparison, assets, heading, Chart(curves, "Epoch", integer=True, settings={"xlim": limits}))


@figure("accuracy-over-time")
def accuracy_over_time(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the same accuracy by the seconds of training so far; methods that use masks begin when these are built.

    A dashed line marks where the fastest run of each seed ends, mean over seeds. None: no epoch is finished.
    """
    by_epoch = _curves(comparison)
    if not by_epoch:
        return None
    built = assets.masks.seconds if assets.masks is not None and math.isfinite(assets.masks.seconds) else 0.0
    masked = {run.config.method for run in comparison.begun if run.provenance["masks"]} if built else set()
    starts = {method: built if method in masked else 0.0 for method in comparison.methods}
    seconds = {m: starts[m] + np.cumsum(np.nanmean(_grid(comparison, m, "seconds"), 0)) for m in by_epoch}
    longest = max(float(each[-1]) for each in seconds.values())
    unit, size = next((unit, size) for unit, size, minimum in UNITS if longest >= minimum)
    ends = budgets(comparison.runs, starts)
    budget = fmean(ends.values()) / size if ends else math.nan
    note = _note(comparison)
    if ends:
        several = (" of each seed", ", mean over seeds") if len(ends) > 1 else ("", "")
        note += f" Dashed: the fastest run{several[0]} ends after {budget:.3g} {unit}{several[1]}."
    if masked & by_epoch.keys():
        note += f" Curves of methods that use masks begin when these are built, after {built / size:.3g} {unit}."
    curves = {method: Curve(seconds[method] / size, curve.y, curve.band) for method, curve in by_epoch.items()}
    chart = Chart(curves, f"Time of training and validation ({unit})", settings={"xlim": (0.0, longest / size)})
    drawing = _accuracy_chart(comparison, assets, Heading("Accuracy by training time", note), chart)
    if ends:
        drawing.axes[0].axvline(budget, color=SOFT, lw=1, ls="--", zorder=1)
    return drawing


def _grid(comparison: Comparison, method: str, name: str) -> Float[np.ndarray, "seeds epochs"]:
    """Return a number of each epoch; NaN where a run has not reached it."""
    runs = [run.metrics for run in by_method(comparison.runs)[method] if run.metrics]
    grid = np.full((len(runs), max(map(len, runs), default=0)), np.nan)
    for row, epochs in zip(grid, runs, strict=True):
        row[: len(epochs)] = [getattr(epoch, name) for epoch in epochs]
    return grid


def _curves(comparison: Comparison) -> dict[str, Curve]:
    """Return the accuracy in percent by epoch, mean and range over seeds, of each method that has an epoch."""
    grids = {method: 100 * _grid(comparison, method, "val_accuracy") for method in comparison.methods}
    return {
        method: Curve(np.arange(1.0, grid.shape[1] + 1), np.nanmean(grid, 0), (np.nanmin(grid, 0), np.nanmax(grid, 0)))
        for method, grid in grids.items()
        if grid.size
    }


def _note(comparison: Comparison) -> str:
    without = any(run.provenance["data"]["validated_on"] == "training images" for run in comparison.runs)
    name = "Accuracy on a fixed part of the training images" if without else "Validation accuracy"
    several = f"mean over {comparison.planned} seeds; band: from minimum to maximum"
    return f"{name}, in percent: {several if comparison.planned > 1 else 'one seed'}."


def _accuracy_chart(comparison: Comparison, assets: ReportAssets, heading: Heading, chart: Chart) -> Figure:
    """Draw curves of accuracy. The lowest tenth is cut off: the first epochs would compress all others."""
    low = float(np.quantile(np.concatenate([curve.y for curve in chart.curves.values()]), 0.1))
    high = max(float(np.nanmax(curve.band)) for curve in chart.curves.values() if curve.band is not None)
    margin, finished = 0.04 * max(high - low, 1e-3), comparison.values("test_accuracy")
    chart = replace(chart, settings={**chart.settings, "ylim": (low - margin, high + margin)})
    labels = labels_of(comparison, {method: finished.get(method, {}) for method in chart.curves})
    return line_charts(heading, [chart], labels, assets.styles)
