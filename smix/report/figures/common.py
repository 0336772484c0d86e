"""Queries that several figures share."""

from collections.abc import Callable, Mapping, Sized
from statistics import fmean

from matplotlib.figure import Figure

from smix.evaluation.scores import Scores
from smix.evaluation.statistics import summary
from smix.plots.charts import Estimate, Row, interval_rows
from smix.plots.layout import Heading, signed
from smix.plots.style import looks
from smix.report.records import Comparison, ReportAssets

RUNS = "Mark: a run; line: mean over seeds; box: one standard deviation (n - 1) to either side."
"""Legend of figures with a row per method."""


def labels_of(comparison: Comparison, values: Mapping[str, Sized]) -> dict[str, str]:
    """Return the name of each method, with the number of its runs that have values if some are missing."""
    return {method: comparison.label(method, len(each)) for method, each in values.items()}


def percentages(values: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    """Return the mean over seeds of each method, in percent."""
    return {method: 100 * fmean(seeds.values()) for method, seeds in values.items()}


def run_rows(
    comparison: Comparison,
    assets: ReportAssets,
    values: Mapping[str, Mapping[int, float]],
    text: Callable[[float], str] = "{:.2f}".format,
) -> list[Row]:
    """Return a row for each method with its runs, mean and standard deviation.

    Args:
        values: Shares by method and seed, shown in percent.
        text: Formats the mean.
    """
    rows = []
    for method, seeds in values.items():
        label, style = comparison.label(method, len(seeds)), assets.styles[method]
        if not seeds:
            rows.append(Row(label, [Estimate(style)]))
            continue
        points = [100 * value for value in seeds.values()]
        found = summary(points)
        ends = found.mean - found.std, found.mean + found.std  # NaN for one run
        estimate = Estimate(style, found.mean, *ends, points, found.count == comparison.planned)
        deviation = f" ± {found.std:.2f}" if found.count > 1 else ""
        rows.append(Row(label, [estimate], text(found.mean) + deviation))
    return rows


@looks
def metric_per_run(
    comparison: Comparison,
    assets: ReportAssets,
    metric: str,
    title: str,
    axis: str,
    note: str = "",
    signs: bool = False,
    absent: bool = False,
) -> Figure | None:
    """Draw a metric of every run, with the mean and the standard deviation of each method, in percent or points.

    The mean of a method with missing runs is dashed: the missing ones may be the bad ones. None: no run has the metric.

    Args:
        metric: Name of the metric, as in `Comparison.values`.
        title: Title of the figure.
        axis: Label of the horizontal axis, with the unit.
        note: Sentences on how to read the metric.
        absent: Name methods without a value, too.
        signs: Write means with their signs, and draw a line at 0.
    """
    values = comparison.values(metric)
    if not values:
        return None
    if absent:
        values = {method: values.get(method, {}) for method in comparison.methods}
    rows = run_rows(comparison, assets, values, (lambda mean: signed(mean, 2)) if signs else "{:.2f}".format)
    return interval_rows(Heading(title, f"{RUNS} {note}".strip()), {"": rows}, axis, zero=signs)


def predicted(comparison: Comparison) -> dict[str, list[Scores]]:
    """Return the scores of each method that has predictions, by seed."""
    found = {method: list(comparison.scores_of(method).values()) for method in comparison.methods}
    return {method: scores for method, scores in found.items() if scores}
