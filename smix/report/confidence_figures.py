"""Draw calibration, and the confidence of errors."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from smix.evaluation.calibration import Bin
from smix.evaluation.confidence import Level
from smix.evaluation.scores import Scores
from smix.report.charts import FOOT, end_labels, labels_of, line_charts, names_of, panels, row_chart
from smix.report.comparison import Comparison
from smix.report.layout import Heading, signed
from smix.report.style import SOFT, TEXT, Style, looks

GRID = np.arange(1, 101) / 100
"""The coverages that curves of many samples are drawn at."""


@looks
def reliability(comparison: Comparison, styles: Mapping[str, Style]) -> Figure | None:
    """Reliability diagrams, one a method: accuracy against confidence, of all seeds together. None: no predictions."""
    scores = _scores(comparison)
    if not scores:
        return None
    heading = Heading(
        "Reliability: is it as often right as it says?",
        "Accuracy of the predictions of each level of confidence, in percent. On the diagonal a network is as sure as it is right; "
        "below it, too sure. Bars are the gaps, the larger a mark, the more predictions. ECE: expected calibration error, mean over seeds.",
    )
    columns = 3 if len(scores) > 2 else 2
    said = {
        method: f"ECE {100 * np.mean([one.calibration.ece for one in mine.values()]):.1f} %"
        for method, mine in scores.items()
    }
    figure, panel = panels(
        heading, _labels(comparison, scores), styles, columns, left=0.4, gap=0.3, foot=FOOT, said=said
    )
    for n, (method, axes) in enumerate(panel.items()):
        mine, colour = list(scores[method].values()), styles[method].colour
        confidence, accuracy, share = pooled([one.calibration.curve for one in mine])
        axes.plot([0, 100], [0, 100], color=SOFT, lw=0.8, ls="--")
        axes.vlines(100 * confidence, 100 * confidence, 100 * accuracy, color=colour, lw=3, alpha=0.35)
        axes.plot(100 * confidence, 100 * accuracy, color=colour, lw=1.2)
        axes.scatter(
            100 * confidence,
            100 * accuracy,
            s=8 + 90 * share,
            color=colour,
            marker=styles[method].marker,
            lw=0,
            zorder=3,
        )
        axes.set(xlim=(0, 100), ylim=(0, 100), xticks=[0, 50, 100], yticks=[0, 50, 100])
        axes.tick_params(labelleft=n % columns == 0)
        axes.grid(True)
        if n >= len(panel) - columns:
            axes.set_xlabel("Confidence (%)")
    return figure


@looks
def wrong_by_confidence(comparison: Comparison, styles: Mapping[str, Style]) -> Figure | None:
    """Above: the share of wrong predictions at each level of confidence. Below: the share of all predictions that are wrong and
    surer than the level's beginning. Of all seeds together. None: no predictions.
    """
    scores = _scores(comparison)
    if not scores:
        return None
    heading = Heading(
        "Wrong predictions by confidence",
        "Of all seeds together. Grey: what is wrong of a network that is as often right as it says.",
    )
    names = names_of(_labels(comparison, scores))
    figure, (above, below) = line_charts(
        heading,
        names,
        (
            "Wrong, of the predictions of each level of confidence (%)",
            "Wrong and surer than that, of all predictions (%)",
        ),
        2.4,
    )
    levels = next(iter(next(iter(scores.values())).values())).levels
    places = np.arange(len(levels))
    above.bar(
        places,
        [100 * (one.high - one.low) for one in levels],
        0.9,
        bottom=[100 * (1 - one.high) for one in levels],
        color=SOFT,
        alpha=0.18,
        lw=0,
    )
    rates, surer = {}, {}
    for method, mine in scores.items():
        counts, wrong, samples = _levels([one.levels for one in mine.values()])
        rates[method] = 100 * np.divide(wrong, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        surer[method] = 100 * np.cumsum(wrong[::-1])[::-1] / samples
    for axes, values in ((above, rates), (below, surer)):
        for method, line in values.items():
            style = styles[method]
            axes.plot(places, line, color=style.colour, marker=style.marker, mew=0, label=method)
        axes.set_xlim(-0.5, len(levels) - 0.5)
        axes.set_ylim(0, 1.05 * max(float(np.nanmax(line)) for line in values.values()) or 1.0)
        end_labels(axes, {method: _last(places, line) for method, line in values.items()}, names, styles)
    above.set_xticks(places, [f"{_percent(one.low)}\N{EN DASH}{_percent(one.high)}" for one in levels])
    below.set_xticks(places, [f"> {_percent(one.low)}" if one.low else "all" for one in levels])
    for axes in (above, below):
        axes.set_xlabel("Confidence (%)")
    return figure


@looks
def risk_coverage(comparison: Comparison, styles: Mapping[str, Style]) -> Figure | None:
    """Errors among the answers of a network that answers only when it is sure enough, against the share that it answers; mean over
    seeds. None: no predictions.
    """
    scores = _scores(comparison)
    if not scores:
        return None
    heading = Heading(
        "Errors when only the surest predictions are taken",
        "Share of wrong ones among them, in percent, mean over seeds; the lower, the better the network knows what it knows.",
    )
    names = names_of(_labels(comparison, scores))
    figure, (axes,) = line_charts(heading, names)
    ends = {}
    for method, mine in scores.items():
        style = styles[method]
        line = 100 * np.mean([_risk_at(one, GRID) for one in mine.values()], 0)
        axes.plot(
            100 * GRID, line, color=style.colour, marker=style.marker, mew=0, ms=4.5, markevery=(19, 20), label=method
        )
        ends[method] = (100.0, float(line[-1]))
    axes.set(xlim=(0, 100), xlabel="Predictions that are taken, the surest first (%)")
    axes.set_ylim(bottom=0)
    end_labels(axes, ends, names, styles)
    return figure


@looks
def overconfidence(comparison: Comparison, styles: Mapping[str, Style]) -> Figure | None:
    """Mean confidence minus accuracy of each run, in points, with the mean of each method. None: no predictions."""
    scores = _scores(comparison)
    if not scores:
        return None
    values = {
        method: [100 * one.calibration.overconfidence for one in mine.values()] for method, mine in scores.items()
    }
    heading = Heading(
        "Overconfidence",
        "Mean confidence minus accuracy, in points. A mark is a run, the line the mean. Right of 0 a network is too sure, left of it "
        "not sure enough.",
    )
    said = {method: signed(float(np.mean(mine)), 2) for method, mine in values.items()}
    figure, axes, middles = row_chart(heading, _labels(comparison, scores), said, "Confidence minus accuracy (points)")
    axes.axvline(0, color=TEXT, lw=1)
    for (method, mine), middle in zip(values.items(), middles, strict=True):
        style = styles[method]
        spread = np.linspace(-0.09, 0.09, len(mine)) if len(mine) > 1 else np.zeros(len(mine))
        axes.scatter(mine, middle + spread, color=style.colour, marker=style.marker, s=26, lw=0, alpha=0.85, zorder=3)
        axes.vlines(float(np.mean(mine)), middle - 0.16, middle + 0.16, color=style.colour, lw=1.8)
    axes.margins(x=0.06)
    return figure


def pooled(curves: Sequence[Sequence[Bin]]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean confidence and accuracy of each bin that has samples, over all curves, weighted by their samples; and its share of all."""
    counts = np.array([[one.count for one in curve] for curve in curves], float)
    sums = [
        np.nansum(counts * np.array([[getattr(one, name) for one in curve] for curve in curves]), 0)
        for name in ("confidence", "accuracy")
    ]
    total = counts.sum(0)
    filled = total > 0
    return sums[0][filled] / total[filled], sums[1][filled] / total[filled], total[filled] / total.sum()


def _scores(comparison: Comparison) -> dict[str, dict[int, Scores]]:
    """Return the scores of each method that has any, by seed."""
    found = {method: comparison.scores_of(method) for method in comparison.methods}
    return {method: mine for method, mine in found.items() if mine}


def _labels(comparison: Comparison, scores: Mapping[str, Mapping[int, Scores]]) -> dict[str, str]:
    return labels_of(comparison, {method: len(mine) for method, mine in scores.items()})


def _levels(seeds: Sequence[Sequence[Level]]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Predictions and wrong ones of each level, and all predictions, of all seeds together."""
    counts = np.array([[one.count for one in levels] for levels in seeds]).sum(0)
    wrong = np.array([[one.wrong for one in levels] for levels in seeds]).sum(0)
    return counts, wrong, int(counts.sum())


def _last(places: NDArray[np.int64], line: NDArray[np.float64]) -> tuple[float, float]:
    """Return where a line ends that may have no value at some places."""
    known = np.flatnonzero(~np.isnan(line))
    return (float(places[known[-1]]), float(line[known[-1]])) if len(known) else (math.nan, math.nan)


def _percent(share: float) -> str:
    return f"{100 * share:g}"


def _risk_at(one: Scores, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.interp(grid, one.risk.coverage.numpy(), one.risk.risk.numpy())
