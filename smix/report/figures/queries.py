"""Queries that several figures share."""

from collections.abc import Mapping, Sized
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure

from smix.evaluation.scores import Scores
from smix.evaluation.statistics import summary
from smix.plots.charts import Curve, Estimate, Row, interval_rows
from smix.plots.layout import Heading, signed
from smix.report.metrics import METRICS
from smix.report.page import FigureSpec
from smix.report.records import Comparison, ReportAssets

RUNS = "Mark: a run; line: mean over seeds; box: one standard deviation (n - 1) to either side."
"""Legend of figures with a row per method."""


def labels_of(comparison: Comparison, values: Mapping[str, Sized]) -> dict[str, str]:
    """Return the name of each method, with the number of its runs that have values if some are missing."""
    return {method: comparison.label(method, len(each)) for method, each in values.items()}


def percentages(values: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    """Return the mean over seeds of each method, in percent."""
    return {method: 100 * fmean(seeds.values()) for method, seeds in values.items()}


def metric_per_run(name: str, metric: str, title: str, note: str = "", absent: bool = False) -> FigureSpec:
    """Return the figure of a metric of every run, with the mean and the standard deviation of each method.

    The mean of a method with missing runs is dashed: the missing ones may be the bad ones.

    Args:
        name: Name of the files of the figure.
        metric: Name of the metric, one of `METRICS`. One whose best value is 0 has a line there, and means with their signs.
        title: Title of the figure.
        note: Sentences on how to read the metric.
        absent: Name methods without a value, too.
    """
    description = METRICS[metric]
    signs = description.best == "zero"

    def draw(comparison: Comparison, assets: ReportAssets) -> Figure | None:
        values, rows = comparison.values(metric), []
        for method in comparison.methods if absent and values else values:
            points = [description.scale * value for value in values.get(method, {}).values()]
            over_seeds = summary(points)
            ends = over_seeds.mean - over_seeds.std, over_seeds.mean + over_seeds.std  # NaN for one run
            text = f"{signed(over_seeds.mean, 2) if signs else f'{over_seeds.mean:.2f}'}" if points else ""
            text += f" ± {over_seeds.std:.2f}" if len(points) > 1 else ""
            complete = len(points) == comparison.planned
            estimate = Estimate(assets.styles[method], over_seeds.mean, *ends, points, complete)
            rows.append(Row(comparison.label(method, len(points)), [estimate], text))
        heading = Heading(title, f"{RUNS} {note}".strip())
        return interval_rows(heading, {"": rows}, description.heading, zero=signs) if rows else None

    return FigureSpec(name, draw)


def curves_of(means: Mapping[float, Mapping[str, float]]) -> dict[str, Curve]:
    """Return a curve for each method; `means[x][method]` is a value."""
    methods = next(iter(means.values()))
    points = {m: np.array([(x, values[m]) for x, values in means.items() if m in values]) for m in methods}
    return {method: Curve(*each.T) for method, each in points.items()}


def predicted(comparison: Comparison) -> dict[str, list[Scores]]:
    """Return the scores of each method that has predictions, by seed."""
    return {method: list(scores.values()) for method in comparison.methods if (scores := comparison.scores_of(method))}
