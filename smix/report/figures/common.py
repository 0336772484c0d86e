"""Queries that several figures share."""

import math
from collections.abc import Callable, Mapping, Sized
from statistics import fmean

from smix.evaluation.scores import Scores
from smix.evaluation.statistics import summary
from smix.report.plots.charts import Estimate, Row
from smix.report.records import Comparison, ReportAssets


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
        points = [100 * value for value in seeds.values()] or [math.nan]
        mean, std, count = (found := summary(points)).mean, found.std, len(seeds)
        estimate = Estimate(assets.styles[method], mean, mean - std, mean + std, points, count == comparison.planned)
        deviation = f" ± {std:.2f}" if count > 1 else ""
        rows.append(Row(comparison.label(method, count), [estimate], text(mean) + deviation if count else ""))
    return rows


def predicted(comparison: Comparison) -> dict[str, list[Scores]]:
    """Return the scores of each method that has predictions, by seed."""
    found = {method: list(comparison.scores_of(method).values()) for method in comparison.methods}
    return {method: scores for method, scores in found.items() if scores}
