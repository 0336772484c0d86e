"""Test accuracy: of each method and run, of every pair of methods, by epoch and by time."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from smix.evaluation.bootstrap import ImageBootstrap, bootstrap_over_images
from smix.evaluation.statistics import NOT_ENOUGH, Difference, Summary, interval, summary, verdict
from smix.plots.charts import Chart, Curve, Estimate, Row, interval_rows, line_charts
from smix.plots.layout import Heading, signed
from smix.plots.style import SOFT, looks
from smix.report.comparison import (
    AccuracySummary,
    Comparison,
    MethodSummary,
    ReportAssets,
    difference_from,
    runs_by_method,
)
from smix.report.page import Draw
from smix.report.records import METRICS, PLAIN
from smix.report.runs import budgets
from smix.report.table import UNKNOWN, Cell, Table, number, over_seeds, p_value
from smix.report.tables import duration_cell, listing, range_cell, spread_note
from smix.training.records import Run, held_out

NONE = "none possible"
LONG = 10
"""Number of epochs from which the first ones may be left out of charts."""


def accuracy_table(accuracy: AccuracySummary, intervals: bool = True) -> Table:
    """Return the table of test accuracy: one row per method.

    Args:
        accuracy: Test accuracy of the methods.
        intervals: Append the confidence interval of the mean; the table is then wider than 80 columns.
    """
    columns: dict[str, Callable[[MethodSummary], Cell]] = {
        "Method": lambda row: Cell(row.method),
        "Mean (%)": lambda row: number(row.accuracy.mean, best=row in accuracy.best),
        "Std Dev (%)": lambda row: Cell(NOT_ENOUGH) if row.finished == 1 else number(row.accuracy.std),
        "Runs": lambda row: Cell(row.count, row.finished if row.complete else None),
        "Min (%)": lambda row: number(row.accuracy.minimum),
        "Max (%)": lambda row: number(row.accuracy.maximum),
        "Time per run": lambda row: duration_cell(row.seconds),
    }
    note = "Accuracy on the test split at the last epoch (with early stopping, at the best one). Standard deviation over seeds, with n - 1."
    if intervals:
        columns["95 % interval (%)"] = lambda row: _interval_cell(row.accuracy)
        note += " Interval: of the mean over seeds, by Student's t."
    if not all(row.complete for row in accuracy.methods):
        note += " Methods that lack runs (n of N) are not compared: the missing runs may be the bad ones."
    table = listing("accuracy", "Test accuracy", columns, accuracy.methods, note)
    assert table is not None, "there is at least one run"
    return table


def _interval_cell(accuracy: Summary) -> Cell:
    if accuracy.count < 2:
        return Cell(NOT_ENOUGH if accuracy.count else UNKNOWN)
    low, high = interval(accuracy)
    return Cell(f"{low:.1f} to {high:.1f}")


def pairs(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return the table of every pair of methods: mean difference, test, and the difference that could have been detected."""
    columns: dict[str, Callable[[Difference], Cell]] = {
        "Difference": lambda pair: Cell(f"{pair.first} - {pair.second}"),
        "Mean (points)": lambda pair: number(pair.mean, sign=True),
        "95 % interval": lambda pair: range_cell(pair.low, pair.high),
        "Seeds": lambda pair: Cell(str(pair.count), pair.count),
        "p": lambda pair: _p_cell(pair.p),
        "p, Holm-corrected": lambda pair: _p_cell(pair.p_corrected),
        "The first is": lambda pair: Cell(verdict(pair)),
        "Detectable (points)": lambda pair: Cell(NONE) if pair.detectable > 100 else number(pair.detectable),
    }
    note = (
        "Paired t-tests over seeds, in percentage points of test accuracy, corrected by Holm's method over all pairs; intervals are "
        "of each pair alone. Detectable: the smallest true difference that this number of seeds finds with probability 0.8; "
        f"{NONE}: it would be above 100 points."
    )
    return listing("pairs", "Every pair of methods", columns, comparison.accuracy.pairs, note)


def _p_cell(p: float) -> Cell:
    return Cell(NOT_ENOUGH) if math.isnan(p) else Cell(p_value(p), p)


def test_images(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return how precisely the test images determine the difference from vanilla, for one pair of networks of each method."""
    rows, shared = [], comparison.shared_seeds("accuracy")
    for method, label in comparison.labels(shared).items():
        seed = shared[method][0]
        own, plain = (comparison.scores[name][seed].correct for name in (method, PLAIN))
        rows.append((label, seed, bootstrap_over_images(own, plain)))
    columns: dict[str, Callable[[tuple[str, int, ImageBootstrap]], Cell]] = {
        "Method": lambda row: Cell(row[0]),
        "Seed": lambda row: Cell(str(row[1]), row[1]),
        "Difference (points)": lambda row: number(row[2].mean, 2, 100, sign=True),
        "95 % interval over test images": lambda row: range_cell(100 * row[2].low, 100 * row[2].high),
    }
    note = (
        "Bootstrap over test images: how much the difference of these two networks would change with other test images. Another seed "
        "gives other networks, so this is no evidence for a method."
    )
    title = f"Over test images only: difference from {PLAIN} of one pair of networks"
    return listing("test-images", title, columns, rows, note)


def across_table(comparisons: Sequence[Comparison], names: Sequence[str]) -> Table:
    """Return the overview of several comparisons: methods as rows, data sets as columns."""
    columns, counts = [], []
    for comparison in comparisons:
        cells, values = {}, comparison.values("test_accuracy")
        for one in comparison.accuracy.methods:
            best = one in comparison.accuracy.best
            cell = over_seeds(values.get(one.method, {}).values(), scale=100, best=best)
            lacks = one.finished and not one.complete
            cells[one.method] = replace(cell, text=f"{cell.text} ({one.count})") if lacks else cell
            counts.append(one.finished)
        columns.append(cells)
    small = ", ".join(name for name, one in zip(names, comparisons, strict=True) if one.accuracy.cautions)
    small = f" Too small to name a best method: {small}." if small else ""
    methods = runs_by_method([run for comparison in comparisons for run in comparison.runs])
    return Table(
        "data-sets",
        "Test accuracy on each data set (%)",
        ("Method", *names),
        tuple((Cell(method), *(cells.get(method, Cell(UNKNOWN)) for cells in columns)) for method in methods),
        f"{spread_note(counts)} The highest mean is in bold, whether or not the difference is statistically significant. A method that "
        f"lacks runs (n of N) shows the mean of the others and is never the best.{small}",
    )


UNITS = (("hours", 3600.0, 10800.0), ("minutes", 60.0, 180.0), ("seconds", 1.0, 0.0))
"""Units of time, their seconds, and the number of seconds from which they are used."""


RUNS = "Mark: a run; line: mean over seeds; box: one standard deviation (n - 1) to either side."
"""Legend of figures with a row per method."""


def metric_per_run(metric: str, title: str, note: str = "", absent: bool = False) -> Draw:
    """Return a function that draws a metric of every run, with the mean and the standard deviation of each method.

    The mean of a method with missing runs is dashed: the missing ones may be the bad ones.

    Args:
        metric: Name of the metric, one of `METRICS`. If its best value is 0, a line is drawn there and means have signs.
        title: Title of the figure.
        note: Sentences on how to read the metric.
        absent: Name methods without a value, too.
    """
    description = METRICS[metric]
    signs = description.best == "zero"

    @looks
    def draw(comparison: Comparison, assets: ReportAssets) -> Figure | None:
        values, rows = comparison.values(metric), []
        if absent and values:
            values = {method: values.get(method, {}) for method in comparison.by_method}
        for method, label in comparison.labels(values).items():
            points = [description.scale * value for value in values[method].values()]
            over_seeds = summary(points)
            ends = over_seeds.mean - over_seeds.std, over_seeds.mean + over_seeds.std  # NaN for one run
            text = f"{signed(over_seeds.mean, 2) if signs else f'{over_seeds.mean:.2f}'}" if points else ""
            text += f" ± {over_seeds.std:.2f}" if len(points) > 1 else ""
            complete = len(points) == comparison.planned
            estimate = Estimate(assets.styles[method], over_seeds.mean, *ends, points, complete)
            rows.append(Row(label, [estimate], text))
        heading = Heading(title, f"{RUNS} {note}".strip())
        return interval_rows(heading, {"": rows}, description.heading, zero=signs) if rows else None

    return draw


accuracy_per_run = metric_per_run("test_accuracy", "Test accuracy of every run", absent=True)


@looks
def accuracy_differences(comparison: Comparison, assets: ReportAssets, reference: str = PLAIN) -> Figure | None:
    """Draw the mean difference of each method from `reference` with its 95 % interval; filled where it is significant.

    Returns None if no other method has the same seeds.
    """
    rows = []
    for pair in difference_from(reference, comparison.accuracy.pairs):
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


@looks
def accuracy_per_epoch(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the validation accuracy of each method by epoch, or the training accuracy if no images are held out.

    Returns None if no epoch is finished.
    """
    curves = _curves(comparison.by_method)
    if not curves:
        return None
    last = max(len(curve.x) for curve in curves.values())
    chart = Chart(curves, "Epoch", integer=True, settings={"xlim": (min(1.0, last - 1.0), last)})
    return _accuracy_chart(comparison, assets, "Accuracy per epoch", "", chart)


@looks
def accuracy_over_time(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the same accuracy by the seconds of training so far; methods that use masks begin when these are built.

    A dashed line marks where the fastest run of each seed ends, mean over seeds. Returns None if no epoch is finished.
    """
    by_epoch = _curves(comparison.by_method)
    if not by_epoch:
        return None
    built = assets.masks.seconds if assets.masks is not None and math.isfinite(assets.masks.seconds) else 0.0
    masked = {run.config.method for run in comparison.runs if run.provenance.get("masks")} if built else set()
    starts = {method: built if method in masked else 0.0 for method in comparison.by_method}
    seconds = {m: starts[m] + np.cumsum(np.nanmean(_grid(comparison.by_method[m], "seconds"), 0)) for m in by_epoch}
    longest = max(float(each[-1]) for each in seconds.values())
    unit, size = next((unit, size) for unit, size, minimum in UNITS if longest >= minimum)
    ends = budgets(comparison.runs, starts)
    budget = fmean(ends.values()) / size if ends else math.nan
    note = ""
    if ends:
        several = (" of each seed", ", mean over seeds") if len(ends) > 1 else ("", "")
        note += f" Dashed: the fastest run{several[0]} ends after {budget:.3g} {unit}{several[1]}."
    if masked & by_epoch.keys():
        note += f" Curves of methods that use masks begin when these are built, after {built / size:.3g} {unit}."
    curves = {method: Curve(seconds[method] / size, curve.y, curve.band) for method, curve in by_epoch.items()}
    chart = Chart(curves, f"Time of training and validation ({unit})", settings={"xlim": (0.0, longest / size)})
    drawing = _accuracy_chart(comparison, assets, "Accuracy by training time", note, chart)
    if ends:
        drawing.axes[0].axvline(budget, color=SOFT, lw=1, ls="--", zorder=1)
    return drawing


def _grid(runs: Sequence[Run], name: str) -> Float[np.ndarray, "seeds epochs"]:
    """Return a number of each epoch; NaN where a run has not reached it."""
    epochs = [run.metrics for run in runs if run.metrics]
    grid = np.full((len(epochs), max(map(len, epochs), default=0)), np.nan)
    for row, own in zip(grid, epochs, strict=True):
        row[: len(own)] = [getattr(epoch, name) for epoch in own]
    return grid


def _curves(runs: Mapping[str, Sequence[Run]]) -> dict[str, Curve]:
    """Return the accuracy in percent by epoch, mean and range over seeds, of each method that has an epoch."""
    grids = {method: 100 * _grid(own, "val_accuracy") for method, own in runs.items()}
    return {
        method: Curve(np.arange(1.0, grid.shape[1] + 1), np.nanmean(grid, 0), (np.nanmin(grid, 0), np.nanmax(grid, 0)))
        for method, grid in grids.items()
        if grid.size
    }


def _accuracy_chart(comparison: Comparison, assets: ReportAssets, title: str, note: str, chart: Chart) -> Figure:
    """Draw curves of accuracy. Each begins where it can be shown in full, with its band: the first epochs would compress all others."""
    name = "Validation accuracy" if held_out(comparison.first) else "Accuracy on a fixed part of the training images"
    several = f"mean over {comparison.planned} seeds; band: from minimum to maximum"
    heading = Heading(title, f"{name}, in percent: {several if comparison.planned > 1 else 'one seed'}.{note}")
    low = _lowest_shown(chart.curves.values())
    curves = {method: _from_above(curve, low) for method, curve in chart.curves.items()}
    high = max(float(np.nanmax(curve.band)) for curve in curves.values() if curve.band is not None)
    if any(len(curves[method].x) < len(curve.x) for method, curve in chart.curves.items()):
        heading = replace(heading, note=f"{heading.note} Curves begin where all seeds are above {low:.3g} %.")
    margin, finished = 0.04 * max(high - low, 1e-3), comparison.values("test_accuracy")
    chart = replace(chart, curves=curves, settings={**chart.settings, "ylim": (low - margin, high + margin)})
    labels = comparison.labels({method: finished.get(method, {}) for method in chart.curves})
    return line_charts(heading, [chart], labels, assets.styles)


def _lowest_shown(curves: Iterable[Curve]) -> float:
    """Return the lower end of the axis: no band of the second half of a training is below it, and few of the first epochs are above it."""
    lows = [curve.band[0] for curve in curves if curve.band is not None]
    lowest = min(float(np.nanmin(each[len(each) // 2 :])) for each in lows)
    if max(map(len, lows)) < LONG:
        return min(float(np.nanmin(each)) for each in lows)
    return min(lowest, float(np.nanquantile(np.concatenate(lows), 0.1)))


def _from_above(curve: Curve, low: float) -> Curve:
    """Return the curve from the epoch on from which its band stays above a value."""
    assert curve.band is not None, "curves of accuracy have bands"
    below = np.flatnonzero(curve.band[0] < low)
    shown = slice(int(below[-1]) + 1 if len(below) else 0, None)
    return Curve(curve.x[shown], curve.y[shown], (curve.band[0][shown], curve.band[1][shown]))
