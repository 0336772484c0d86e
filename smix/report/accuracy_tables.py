"""Tables of test accuracy, pairs of methods and runs, and the overview of several comparisons."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from smix.evaluation.bootstrap import ImageBootstrap, bootstrap_over_images
from smix.evaluation.statistics import NOT_ENOUGH, Difference, Summary, interval, verdict
from smix.report.metrics import METRICS
from smix.report.records import PLAIN, Comparison, ReportAssets, Row, best_rows, by_method, differences, rows_of
from smix.report.table import UNKNOWN, Cell, Table, number, over_seeds, p_value
from smix.report.tables import duration_cell, listing, range_cell, spread_note
from smix.training.records import Run

NONE = "none possible"


def accuracy_table(runs: Sequence[Run], intervals: bool = True) -> Table:
    """Return the table of test accuracy: one row per method.

    Args:
        intervals: Append the confidence interval of the mean, which makes the table wider than a terminal of 80 columns.
    """
    rows = rows_of(runs)
    best = best_rows(rows)
    columns: dict[str, Callable[[Row], Cell]] = {
        "Method": lambda row: Cell(row.method),
        "Mean (%)": lambda row: number(row.accuracy.mean, best=row in best),
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
    if not all(row.complete for row in rows):
        note += " Methods that lack runs (n of N) are not compared: the missing runs may be the bad ones."
    table = listing("accuracy", "Test accuracy", columns, rows, note)
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
        "of each pair alone. Detectable: the smallest true difference that so many seeds find with probability 0.8; "
        f"{NONE}: it would be above 100 points."
    )
    return listing("pairs", "Every pair of methods", columns, differences(comparison.runs), note)


def _p_cell(p: float) -> Cell:
    return Cell(NOT_ENOUGH) if math.isnan(p) else Cell(p_value(p), p)


def runs(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return the table with one row per run, finished or not."""

    def result(name: str) -> dict[str, Callable[[Run], Cell]]:
        metric = METRICS[name]
        return {metric.heading: lambda run: number(getattr(run.result, name, math.nan), metric.decimals, metric.scale)}

    columns: dict[str, Callable[[Run], Cell]] = {
        "Run": lambda run: Cell(run.path.name),
        "Method": lambda run: Cell(run.config.method),
        "Seed": lambda run: Cell(str(run.config.seed), run.config.seed),
        **result("test_accuracy"),
        **result("test_loss"),
        **result("val_accuracy"),
        "Epochs": lambda run: Cell(f"{len(run.metrics)} of {run.config.epochs}", len(run.metrics)),
        **result("images_seen"),
        **result("seconds"),
        "Device": lambda run: Cell(run.result.device if run.result else UNKNOWN),
    }
    rows = [run for own in by_method(comparison.runs).values() for run in own]
    note = "Seconds of training and validation. Loss: cross-entropy, in nats."
    return listing("runs", "Every run", columns, rows, note)


def test_images(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return how precisely the test images determine the difference from vanilla, for one pair of networks of each method."""
    rows = []
    for method, seeds in comparison.shared_seeds("accuracy").items():
        own, plain = (comparison.scores_of(name)[seeds[0]].correct for name in (method, PLAIN))
        rows.append((comparison.label(method, len(seeds)), seeds[0], bootstrap_over_images(own, plain)))
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
    """Return the overview of several comparisons: methods down, data sets across."""
    columns, counts = [], []
    for comparison in comparisons:
        rows = rows_of(comparison.runs)
        best, values = best_rows(rows), comparison.values("test_accuracy")
        cells = {
            row.method: over_seeds(values.get(row.method, {}).values(), scale=100, best=row in best) for row in rows
        }
        for row in rows:
            if row.finished and not row.complete:
                cells[row.method] = replace(cells[row.method], text=f"{cells[row.method].text} ({row.count})")
        columns.append(cells)
        counts += [row.finished for row in rows]
    methods = by_method([run for comparison in comparisons for run in comparison.runs])
    return Table(
        "data-sets",
        "Test accuracy on each data set (%)",
        ("Method", *names),
        tuple((Cell(method), *(cells.get(method, Cell(UNKNOWN)) for cells in columns)) for method in methods),
        f"{spread_note(counts)} The highest mean is in bold, whether or not the difference is statistically significant. A method that "
        "lacks runs (n of N) shows the mean of the others and is never the best.",
    )
