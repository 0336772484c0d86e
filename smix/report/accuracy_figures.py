"""Accuracy as pictures: of each run, epoch by epoch, second by second, and the differences from one method."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from smix.evaluation.statistics import Difference, verdict
from smix.report.charts import end_labels, labels_of, line_charts, names_of, row_chart
from smix.report.comparison import Comparison
from smix.report.cost_tables import budgets
from smix.report.layout import Heading, signed
from smix.report.style import SOFT, TEXT, Style, looks
from smix.report.tables import PLAIN, by_method, rows_of


@looks
def accuracy_distribution(comparison: Comparison, styles: Mapping[str, Style]) -> Figure | None:
    """Test accuracy of each run as a point, a row a method, with the mean and one standard deviation.

    The mean of a method that lacks runs is dashed: the missing ones may be the bad ones. None: no run is finished.
    """
    rows = rows_of(comparison.runs)
    methods = by_method(comparison.runs)
    if all(row.accuracy is None for row in rows):
        return None
    values = {
        row.method: [100 * run.result.test_accuracy for run in methods[row.method] if run.result is not None]
        for row in rows
    }
    said = {
        row.method: f"{row.accuracy.mean:.2f}" + (f" ± {row.accuracy.std:.2f}" if row.accuracy.count > 1 else "")
        if row.accuracy is not None
        else ""
        for row in rows
    }
    heading = Heading(
        "Test accuracy of every run",
        "In percent. A mark is a run; the line is the mean, the box one standard deviation over seeds (n - 1) to either side.",
    )
    labels = labels_of(comparison, {row.method: row.finished for row in rows})
    figure, axes, middles = row_chart(heading, labels, said, "Test accuracy (%)")
    for row, middle in zip(rows, middles, strict=True):
        style, mine = styles[row.method], values[row.method]
        # Below one another in their own order, so that equal values do not hide each other.
        spread = np.linspace(-0.09, 0.09, len(mine)) if len(mine) > 1 else np.zeros(len(mine))
        axes.scatter(mine, middle + spread, color=style.colour, marker=style.marker, s=26, lw=0, alpha=0.85, zorder=3)
        if row.accuracy is None:
            continue
        mean, deviation = row.accuracy.mean, row.accuracy.std
        axes.vlines(
            mean, middle - 0.16, middle + 0.16, color=style.colour, lw=1.8, ls="-" if row.whole else ":", zorder=2
        )
        if row.accuracy.count > 1:
            axes.barh(middle, 2 * deviation, 0.32, left=mean - deviation, color=style.colour, alpha=0.18, zorder=1)
    axes.use_sticky_edges = False  # a box would have no margin beside it
    axes.margins(x=0.06)
    return figure


@looks
def differences_chart(
    pairs: Sequence[Difference], styles: Mapping[str, Style], reference: str = PLAIN
) -> Figure | None:
    """Mean difference of each method from `reference` with its 95 % interval; filled: significant. None: there is no such pair.

    Args:
        pairs: As `smix.report.tables.differences` finds them; those without `reference` are left out.
    """
    found = [
        pair.swapped() if pair.first == reference else pair
        for pair in pairs
        if reference in (pair.first, pair.second) and not math.isnan(pair.mean)
    ]
    if not found:
        return None
    said = {pair.first: signed(pair.mean, 2) + (f", {verdict(pair)}" if pair.significant else "") for pair in found}
    heading = Heading(
        f"Difference from {reference}",
        "Mean over seeds, in points of test accuracy, with its 95 % interval. Filled: significant (paired t-tests, corrected "
        "by Holm's method over all pairs); hollow: not distinguishable, or one seed only.",
    )
    labels = {pair.first: pair.first for pair in found}
    figure, axes, middles = row_chart(heading, labels, said, f"Points of test accuracy above {reference}")
    axes.axvline(0, color=TEXT, lw=1)
    for pair, middle in zip(found, middles, strict=True):
        style = styles[pair.first]
        if not math.isnan(pair.low):
            axes.hlines(middle, pair.low, pair.high, color=style.colour, lw=2)
        axes.plot(
            pair.mean,
            middle,
            color=style.colour,
            marker=style.marker,
            ms=8,
            mew=1.5,
            mfc=style.colour if pair.significant else "none",
        )
    axes.margins(x=0.06)
    return figure


@looks
def accuracy_per_epoch(comparison: Comparison, styles: Mapping[str, Style]) -> Figure | None:
    """Accuracy of each method on the validation images, or on the training images that stand in for them: the mean over the
    seeds that got to an epoch, and the band from least to most. None: no epoch is finished.
    """
    curves = _curves(comparison)
    if not curves:
        return None
    heading = Heading("Accuracy epoch by epoch", _what(comparison))
    return _lines(comparison, styles, curves, {m: np.arange(1.0, c.shape[1] + 1) for m, c in curves.items()}, heading)


@looks
def accuracy_over_time(comparison: Comparison, styles: Mapping[str, Style], mask_seconds: float = 0.0) -> Figure | None:
    """The same against the seconds spent, summed up over the epochs: what a method reaches in the time another takes.

    A line marks where the quickest run of each seed ends, in the mean over seeds. None: no epoch is finished.

    Args:
        mask_seconds: What the masks took to build; methods that use masks begin so much later.
    """
    curves = _curves(comparison)
    if not curves:
        return None
    masked = {
        method
        for method, mine in by_method(comparison.runs).items()
        if any(r.provenance and r.provenance["masks"] for r in mine)
    }
    starts = {method: mask_seconds if method in masked else 0.0 for method in comparison.methods}
    spent = {method: np.cumsum(_mean(_grid(comparison, method, "seconds"))) + starts[method] for method in curves}
    least = budgets(comparison.runs, starts)
    budget = fmean(least.values()) if least else math.nan
    unit, seconds = next(
        (unit, size)
        for unit, size, least in (("hours", 3600.0, 3 * 3600), ("minutes", 60.0, 180), ("seconds", 1.0, 0))
        if max(times[-1] for times in spent.values()) >= least
    )
    note = _what(comparison)
    if not math.isnan(budget):
        ends = "run of each seed ends, mean" if len(least) > 1 else "run ends,"
        note += f" Dashed: where the quickest {ends} {budget / seconds:.3g} {unit}."
    if mask_seconds and masked & curves.keys():
        note += (
            f" Lines of methods that use masks begin when these are built, after {mask_seconds / seconds:.3g} {unit}."
        )
    figure = _lines(
        comparison,
        styles,
        curves,
        {method: times / seconds for method, times in spent.items()},
        Heading("Accuracy against time spent", note),
        f"Training and validation ({unit})",
    )
    if not math.isnan(budget):
        figure.axes[0].axvline(budget / seconds, color=SOFT, lw=1, ls="--", zorder=1)
    return figure


def _grid(comparison: Comparison, method: str, name: str) -> NDArray[np.float64]:
    """(seeds, epochs) of one number of each epoch; NaN where a run did not get to."""
    runs = [run.metrics for run in by_method(comparison.runs)[method] if run.metrics]
    grid = np.full((len(runs), max(map(len, runs), default=0)), np.nan)
    for line, epochs in zip(grid, runs, strict=True):
        line[: len(epochs)] = [getattr(epoch, name) for epoch in epochs]
    return grid


def _mean(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the seeds that have it; every column has one."""
    return np.nanmean(grid, 0)


def _curves(comparison: Comparison) -> dict[str, NDArray[np.float64]]:
    """(seeds, epochs) accuracy in percent of each method that has an epoch."""
    found = {method: 100 * _grid(comparison, method, "val_accuracy") for method in comparison.methods}
    return {method: grid for method, grid in found.items() if grid.size}


def _what(comparison: Comparison) -> str:
    seeds = len({run.config.seed for run in comparison.runs})
    stand_in = any(run.config.val_fraction == 0 for run in comparison.runs)
    on = "Accuracy on a fixed part of the training images" if stand_in else "Validation accuracy"
    over = f"the mean over {seeds} seeds, with the band from least to most" if seeds > 1 else "one seed"
    return f"{on}, in percent: {over}."


def _lines(
    comparison: Comparison,
    styles: Mapping[str, Style],
    curves: Mapping[str, NDArray[np.float64]],
    places: Mapping[str, NDArray[np.float64]],
    heading: Heading,
    axis: str = "Epoch",
) -> Figure:
    """Lines with their bands and names. What is far below is cut off: the first epochs would press all others together."""
    finished = {row.method: row.finished for row in rows_of(comparison.runs)}
    names = names_of(labels_of(comparison, {method: finished[method] for method in curves}))
    figure, (axes,) = line_charts(heading, names)
    longest = max(map(len, places.values()))
    ends = {}
    for n, (method, grid) in enumerate(curves.items()):
        style, line, at = styles[method], _mean(grid), places[method]
        step = max(1, longest // 8)
        axes.plot(
            at, line, color=style.colour, marker=style.marker, ms=4.5, mew=0, markevery=(n % step, step), label=method
        )
        axes.fill_between(at, np.nanmin(grid, 0), np.nanmax(grid, 0), color=style.colour, alpha=0.13, lw=0)
        ends[method] = (float(at[-1]), float(line[-1]))
    means = np.concatenate([_mean(grid) for grid in curves.values()])
    least, most = float(np.quantile(means, 0.1)), max(float(np.nanmax(grid)) for grid in curves.values())
    room = 0.04 * max(most - least, 1e-3)
    axes.set_ylim(least - room, most + room)
    axes.set_xlim(0 if axis != "Epoch" else min(1.0, longest - 1.0), max(float(at[-1]) for at in places.values()))
    axes.set_xlabel(axis)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=axis == "Epoch"))
    end_labels(axes, ends, names, styles)
    return figure
