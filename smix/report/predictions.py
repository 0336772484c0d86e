"""Predictions of the models: calibration, errors by confidence, confusion, and the gain of each class."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure

from smix.evaluation.accuracy import most_confused
from smix.evaluation.calibration import Bin
from smix.evaluation.scores import Scores
from smix.evaluation.statistics import EXACT_PAIRS, holm, rank_correlation, summary
from smix.plots.charts import Chart, Curve, label_points, line_charts, panels
from smix.plots.layout import Heading, sanitised, shortened, signed
from smix.plots.pictures import ColourScale, matrices
from smix.plots.style import FEWER, MORE, SOFT, TEXT, looks
from smix.report.accuracy import metric_per_run
from smix.report.comparison import Comparison, ReportAssets, percentages
from smix.report.records import PLAIN
from smix.report.table import UNKNOWN, Cell, Table, number, p_value
from smix.report.tables import listing

CONFUSED = ("Most", "Second", "Third", "Fourth", "Fifth")
"""Headings of the pairs of classes that are confused most."""


def gains(comparison: Comparison) -> dict[str, Float[np.ndarray, "K"]]:
    """Return the accuracy of each class minus that under vanilla with the same seed, in points, as the mean over seeds.

    NaN for classes without images. Methods without predictions are left out; if vanilla has none, all methods are.
    """
    shared = comparison.shared_seeds("accuracy")
    gained = {method: np.full(len(comparison.classes), math.nan) for method in shared}
    for place, name in enumerate(comparison.classes):
        values = comparison.values("class_accuracy", condition=name)
        for method, seeds in shared.items():
            if method in values:
                gained[method][place] = 100 * fmean(values[method][seed] - values[PLAIN][seed] for seed in seeds)
    return gained


def class_table(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return the table of the classes: accuracy under vanilla, gains of the other methods, and the share of valid masks."""
    gained, shared = gains(comparison), comparison.shared_seeds("accuracy")
    if not gained:
        return None
    columns: dict[str, Callable[[int], Cell]] = {"Class": lambda k: Cell(comparison.classes[k])}
    if assets.masks is not None:
        shares = assets.masks.class_shares
        columns["Valid masks (%)"] = lambda k: number(shares.get(comparison.classes[k], math.nan), 1)

    def plain_accuracy(k: int) -> Cell:
        values = comparison.values("class_accuracy", comparison.classes[k]).get(PLAIN, {})
        return number(summary(list(values.values())).mean, 1, 100)

    columns[f"{comparison.labels(comparison.scores)[PLAIN]} (%)"] = plain_accuracy
    for method, label in comparison.labels(shared).items():
        columns[label] = partial(_gain_cell, gained[method])
    return listing(
        "classes",
        "Accuracy of each class, and gains of each method",
        columns,
        range(len(comparison.classes)),
        f"Column of {PLAIN}: mean over all its seeds. Columns of methods: points of accuracy over {PLAIN} with the same seed, mean over "
        "the seeds that both have.",
    )


def _gain_cell(gain: Float[np.ndarray, "K"], k: int) -> Cell:
    return number(float(gain[k]), 1, sign=True)


def gain_table(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return the rank correlation between the gain of a class and the share of its valid masks; methods without masks are controls.

    Returns None if there are no masks or gains, or fewer than four classes.
    """
    if assets.masks is None:
        return None
    shares = assets.masks.class_shares
    known = np.array([shares.get(name, math.nan) for name in comparison.classes])
    labels, tests = comparison.labels(comparison.shared_seeds("accuracy")), []
    for method, gain in gains(comparison).items():
        both = np.isfinite(gain) & np.isfinite(known)
        rho, p = rank_correlation(known[both], gain[both])
        if both.sum() >= 4 and not math.isnan(rho):
            tests.append((labels[method], int(both.sum()), rho, p))
    corrected = holm([p for *_, p in tests])
    return listing(
        "gain-and-masks",
        "Gain of a class against the share of its valid masks",
        {
            "Method": lambda row: Cell(row[0]),
            "Classes": lambda row: Cell(str(row[1]), row[1]),
            "Spearman's rho": lambda row: number(row[2], sign=True),
            "p, Holm-corrected": lambda row: Cell(p_value(row[3]), row[3]),
        },
        [(*test[:3], p) for test, p in zip(tests, corrected, strict=True)],
        "Near +1: a method gains in the classes whose objects the segmenter finds. If methods without masks show the same, masks are not "
        f"the reason. p from all orders of up to {EXACT_PAIRS} classes, from Student's t for more, corrected over the rows.",
    )


def confused_table(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return the pairs of classes that each method confuses most, over all seeds."""
    rows = []
    for method, label in comparison.labels(comparison.scores).items():
        confusion = torch.stack([one.confusion for one in comparison.scores[method].values()]).sum(0)
        pairs = most_confused(confusion, comparison.classes, len(CONFUSED))
        texts = [f"{pair.label} as {pair.predicted}, {100 * pair.share:.1f} %" for pair in pairs]
        texts += [UNKNOWN] * (len(CONFUSED) - len(texts))
        rows.append(tuple(map(Cell, (label, *texts))))
    note = "Class as prediction, and the share of that class's test images. Over all seeds."
    return (
        Table("confused", "Classes that are confused most", ("Method", *CONFUSED), tuple(rows), note) if rows else None
    )


COVERAGES = np.arange(1, 101) / 100
"""Coverages at which curves of many samples are drawn."""
FULL = "#00509e"
"""Colour of 100 % of a class: white text is readable on it on a light page and on a dark one."""


overconfidence = metric_per_run(
    "overconfidence",
    "Overconfidence: mean confidence minus accuracy",
    "Right of 0 a model is overconfident, left of it underconfident.",
)
class_wise = metric_per_run("class_wise", "Class-wise calibration")


@looks
def reliability(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw a reliability diagram for each method: accuracy by confidence, over all seeds. None without predictions."""
    scores = comparison.scores
    if not scores:
        return None
    heading = Heading(
        "Reliability diagrams",
        "Accuracy of the predictions at each level of confidence, in percent. A model is calibrated on the diagonal and overconfident "
        "below it. Bars are the gaps; larger marks are more predictions. ECE: expected calibration error, mean over seeds.",
    )
    columns = 3 if len(scores) > 2 else 2
    notes = {method: f"ECE {mean:.1f} %" for method, mean in percentages(comparison.values("ece")).items()}
    drawing, axes = panels(heading, comparison.labels(scores), assets.styles, notes, columns)
    for n, (method, one) in enumerate(axes.items()):
        style, curves = assets.styles[method], [each.calibration.curve for each in scores[method].values()]
        x, y, share = pooled_curve(curves)
        one.plot([0, 100], [0, 100], color=SOFT, lw=0.8, ls="--")
        one.vlines(x, x, y, color=style.colour, lw=3, alpha=0.35)
        one.plot(x, y, color=style.colour, lw=1.2)
        one.scatter(x, y, s=8 + 90 * share, color=style.colour, marker=style.marker, lw=0, zorder=3)
        one.set(xlim=(0, 100), ylim=(0, 100), xticks=[0, 50, 100], yticks=[0, 50, 100])
        one.tick_params(labelleft=n % columns == 0)
        one.grid(True)
        one.set_xlabel("Confidence (%)" if n >= len(axes) - columns else "")
    return drawing


def pooled_curve(curves: Sequence[Sequence[Bin]]) -> Float[np.ndarray, "3 m"]:
    """Return the confidence and the accuracy, in percent, and the share of the samples of each filled bin, over all curves."""
    bins = np.array([[(one.count, one.confidence, one.accuracy) for one in curve] for curve in curves], float)
    counts = bins[..., 0]
    total = counts.sum(0)
    confidence, accuracy = np.nansum(counts[..., None] * bins[..., 1:], 0)[total > 0].T / total[total > 0]
    return np.stack([100 * confidence, 100 * accuracy, total[total > 0] / total.sum()])


@looks
def wrong_by_confidence(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the error rate at each level of confidence, and the share of all predictions that are wrong and at least as confident.

    Over all seeds. Returns None if there are no predictions.
    """
    scores = comparison.scores
    if not scores:
        return None
    levels = next(iter(next(iter(scores.values())).values())).levels
    low, high = (100 * np.array([getattr(one, end) for one in levels]) for end in ("low", "high"))
    x = np.arange(len(low), dtype=float)
    rates, confident = {}, {}
    for method, each in scores.items():
        count, wrong = np.array([[(one.count, one.wrong) for one in seed.levels] for seed in each.values()]).sum(0).T
        rates[method] = Curve(x, 100 * np.divide(wrong, count, out=np.full(len(x), np.nan), where=count > 0))
        confident[method] = Curve(x, 100 * np.cumsum(wrong[::-1])[::-1] / count.sum())

    def chart(title: str, curves: Mapping[str, Curve], ticks: Sequence[str]) -> Chart:
        top = 1.05 * max(float(np.nanmax(curve.y)) for curve in curves.values()) or 1.0
        settings = {"xlim": (-0.5, len(x) - 0.5), "ylim": (0, top), "xticks": x, "xticklabels": ticks}
        return Chart(curves, "Confidence (%)", title, settings=settings)

    ranges = [f"{first:g}\N{EN DASH}{last:g}" for first, last in zip(low, high, strict=True)]
    bounds = [f"> {first:g}" if first else "all" for first in low]
    charts = [
        chart("Error rate of the predictions at each level of confidence (%)", rates, ranges),
        chart("Wrong predictions above a confidence, of all (%)", confident, bounds),
    ]
    heading = Heading("Errors by confidence", "Over all seeds. Grey: error rate of a calibrated model.")
    drawing = line_charts(heading, charts, comparison.labels(scores), assets.styles, 2.4)
    drawing.axes[0].bar(x, high - low, 0.9, bottom=100 - high, color=SOFT, alpha=0.18, lw=0)
    return drawing


@looks
def risk_coverage(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the error rate of the most confident predictions by coverage, mean over seeds; None if there are none."""
    scores = comparison.scores
    if not scores:
        return None
    curves = {}
    for method, each in scores.items():
        risks = [np.interp(COVERAGES, one.risk.coverage.numpy(), one.risk.risk.numpy()) for one in each.values()]
        curves[method] = Curve(100 * COVERAGES, 100 * np.mean(risks, 0))
    heading = Heading(
        "Error rate of the most confident predictions",
        "In percent, mean over seeds. The lower a curve, the better confidence separates errors from correct predictions.",
    )
    settings = {"xlim": (0, 100), "ylim": (0, None)}
    chart = Chart(curves, "Share of predictions, the most confident first (%)", settings=settings)
    return line_charts(heading, [chart], comparison.labels(scores), assets.styles)


@looks
def confusion(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the confusion matrix of each method over its seeds, in percent of each class. None without predictions."""
    rates = _confusion_rates(comparison.scores)
    if not rates:
        return None
    heading = Heading(
        "Confusion matrices",
        f"Rows: true class; columns: prediction; in percent of the images of the class{', over all seeds' * (comparison.planned > 1)}. "
        "Above each matrix: the most frequent confusion.",
    )
    notes = {
        method: _largest_confusion(comparison.classes, rate, "{:.0f} %".format) or "no error"
        for method, rate in rates.items()
    }
    labels = comparison.labels(comparison.scores)
    return matrices(heading, rates, comparison.classes, ColourScale(100.0, FULL, FULL), labels, assets.styles, notes)


@looks
def confusion_change(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the differences of confusion matrices from that of vanilla, in points, on one scale.

    Returns None if vanilla or all other methods have no predictions.
    """
    rates = _confusion_rates(comparison.scores)
    plain = rates.pop(PLAIN, None)
    if plain is None or not rates:
        return None
    changes = {method: rate - plain for method, rate in rates.items()}
    heading = Heading(
        f"Confusion matrices: difference from {PLAIN}",
        "In points. Rows: true class; columns: prediction. Blue: predicted more often, orange: less often. Blue on the diagonal and "
        "orange off it is better. Above each matrix: the largest change off the diagonal.",
    )
    notes = {
        method: _largest_confusion(comparison.classes, each, signed) or "no change" for method, each in changes.items()
    }
    labels = comparison.labels({method: comparison.scores[method] for method in changes})
    maximum = max(float(np.nanmax(np.abs(change), initial=0.0)) for change in changes.values()) or 1.0
    scale = ColourScale(maximum, MORE, FEWER, 0.85)
    return matrices(heading, changes, comparison.classes, scale, labels, assets.styles, notes, "points")


def _confusion_rates(scores: Mapping[str, Mapping[int, Scores]]) -> dict[str, Float[np.ndarray, "k k"]]:
    """Return the percentage of the images of each class (row) for each prediction (column); NaN for a class without images."""
    rates = {}
    for method, by_seed in scores.items():
        counts = np.sum([one.confusion.numpy() for one in by_seed.values()], 0, dtype=float)
        total = counts.sum(1, keepdims=True)
        rates[method] = 100 * np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    return rates


def _largest_confusion(classes: Sequence[str], matrix: Float[np.ndarray, "k k"], text: Callable[[float], str]) -> str:
    """Describe the value off the diagonal that is farthest from 0; return an empty string if all are 0."""
    off = np.where(np.eye(len(matrix), dtype=bool), 0.0, np.abs(np.nan_to_num(matrix)))
    row, column = divmod(int(off.argmax()), len(matrix))
    names = f"{sanitised(classes[row])} as {sanitised(classes[column])}"
    return f"{names}, {text(matrix[row, column])}" if off[row, column] else ""


@looks
def class_gain(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the gain of each class over vanilla by its share of valid masks, for each method that uses masks.

    The gain is the difference of the class accuracies in points, mean over the seeds that both methods have. Names that would
    overlap others are omitted. Returns None if there is no method with masks, no vanilla, no predictions, or fewer than two
    classes.
    """
    shares = {} if assets.masks is None else assets.masks.class_shares
    known = np.array([shares.get(name, math.nan) for name in comparison.classes])
    masked = {run.config.method for run in comparison.runs if run.provenance.get("masks")}
    points = {method: np.stack([known, gain]) for method, gain in gains(comparison).items() if method in masked}
    kept = {method: ~np.isnan(each).any(0) for method, each in points.items()}
    points = {method: each[:, kept[method]] for method, each in points.items() if kept[method].sum() > 1}
    if not points:
        return None
    heading = Heading(
        f"Gain of each class over {PLAIN}",
        "Points of class accuracy, mean over seeds, by the share of valid masks of the class. If masks are the reason for a gain, "
        "classes with more valid masks gain more, and Spearman's rho is near 1.",
    )
    rho = {method: rank_correlation(*each)[0] for method, each in points.items()}
    notes = {
        method: f"{'rho is not defined' if math.isnan(rho[method]) else f'rho = {signed(rho[method], 2)}'}, {each.shape[1]} classes"
        for method, each in points.items()
    }
    shared = comparison.shared_seeds("accuracy")
    labels = comparison.labels({method: shared[method] for method in points})
    drawing, axes = panels(heading, labels, assets.styles, notes, min(2, len(points)), 3.0)
    for method, one in axes.items():
        (x, y), style, names = points[method], assets.styles[method], np.array(comparison.classes, object)[kept[method]]
        one.axhline(0, color=TEXT, lw=0.8)
        one.scatter(x, y, color=style.colour, marker=style.marker, s=26, lw=0, zorder=3)
        one.margins(0.12)
        one.grid(True)
        one.set_xlabel("Valid masks of the class (%)")
        label_points(one, x, y, [shortened(name, 1.0) for name in names])
    return drawing
