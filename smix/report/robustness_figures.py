"""Accuracy on images that are corrupted, attacked, or cut apart along their objects, as `smix evaluate` measured it."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from smix.evaluation import cifar_c
from smix.evaluation.corruptions.suite import GROUPS as OWN
from smix.evaluation.corruptions.suite import LABEL
from smix.evaluation.records import Attacked, Corrupted, Evaluation
from smix.report.charts import FOOT, NICE, end_labels, labels_of, line_charts, names_of, row_axes
from smix.report.comparison import Comparison
from smix.report.layout import (
    EDGE,
    WIDTH,
    Heading,
    plain,
    sheet,
    shortened,
    width_of,
    write,
)
from smix.report.style import SMALL, SOFT, Style, looks

GROUPS = {kind.capitalize(): (*names, extra) for (kind, names), extra in zip(OWN.items(), cifar_c.EXTRA, strict=True)}
"""Groups of corruptions, with those that the official archives have beside the 15; any others follow."""

SPAN = 5.0
"""Minimum span of an axis in points: what differs less is not to look as if it did."""
CONDITIONS = {
    "clean": "Unchanged",
    "swapped": "On another background",
    "object_hidden": "Object hidden",
    "background_hidden": "Background hidden",
}
"""The parts of `Objects`, and what they are called."""


@looks
def corruptions(
    comparison: Comparison, styles: Mapping[str, Style], suite: str = LABEL, data: str | None = None
) -> Figure | None:
    """Accuracy by severity, mean over corruptions, and by corruption, mean over severities; of each method the mean over its seeds.

    Args:
        suite: As `Corrupted.suite`.
        data: The data set that was evaluated on; None: the own test split.

    Returns:
        None: no run was evaluated on it.
    """
    found = {
        method: [one for evaluation in mine for one in evaluation.corruptions if one.suite == suite]
        for method, mine in _evaluations(comparison, data).items()
    }
    found = {method: mine for method, mine in found.items() if mine}
    if not found:
        return None
    kinds = _kinds({name for mine in found.values() for one in mine for name in one.accuracy})
    rows = [("No corruption", ""), *((group, name) for group, names in kinds.items() for name in ("", *names))]
    height = 0.24 if len(found) <= 6 else 0.32
    heights = [height if name or not n else 0.27 for n, (_, name) in enumerate(rows)]
    heading = Heading(
        "Accuracy on corrupted images",
        f"In percent, on {plain(suite)}; mean over seeds.",
    )
    names = names_of(labels_of(comparison, {method: len(mine) for method, mine in found.items()}))
    free = 0.35 + sum(heights) + FOOT
    figure, (axes,) = line_charts(heading, names, ["By severity, mean over all corruptions"], 2.4, free)
    ends = {}
    for method, mine in found.items():
        style, line = styles[method], _by_severity(mine)
        axes.plot(range(len(line)), line, color=style.colour, marker=style.marker, mew=0, label=method)
        ends[method] = (len(line) - 1.0, float(line[-1]))
    axes.set_xlabel("Severity (0: no corruption)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.02, y=0.06)
    end_labels(axes, ends, names, styles)
    top = figure.get_figheight() - free
    write(figure, EDGE, top + 0.12, "By corruption, mean over severities", SMALL)
    by_name = {method: {name: _mean_of(mine, name) for name in _names(kinds)} for method, mine in found.items()}
    by_name = {
        method: {"": 100 * float(np.mean([one.clean for one in found[method]])), **by_name[method]} for method in found
    }
    _corruption_rows(figure, top + 0.35, rows, heights, by_name, styles)
    return figure


@looks
def attacks(comparison: Comparison, styles: Mapping[str, Style], data: str | None = None) -> Figure | None:
    """Accuracy against the largest change of a value, a chart an attack; of each method the mean over its seeds. None: no attacks."""
    found = {
        method: [one for evaluation in mine for one in evaluation.attacks]
        for method, mine in _evaluations(comparison, data).items()
    }
    seeds = {
        method: sum(bool(evaluation.attacks) for evaluation in mine)
        for method, mine in _evaluations(comparison, data).items()
    }
    found = {method: mine for method, mine in found.items() if mine}
    if not found:
        return None
    kinds = sorted({(one.name, one.steps) for mine in found.values() for one in mine})
    heading = Heading(
        "Accuracy under attack",
        "In percent, against the largest change of a value, of 255; mean over seeds. Attacked with the network's own gradients.",
    )
    names = names_of(labels_of(comparison, {method: seeds[method] for method in found}))
    figure, charts = line_charts(heading, names, [_attack(*kind) for kind in kinds], 2.4)
    for axes, kind in zip(charts, kinds, strict=True):
        ends = {}
        for method, mine in found.items():
            curve = _by_eps([one for one in mine if (one.name, one.steps) == kind])
            if not curve:
                continue
            style, eps = styles[method], sorted(curve)
            line = [curve[one] for one in eps]
            axes.plot([255 * one for one in eps], line, color=style.colour, marker=style.marker, mew=0, label=method)
            ends[method] = (255 * eps[-1], line[-1])
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.set_xlabel("Largest change of a value (of 255)")
        end_labels(axes, ends, names, styles)
    return figure


@looks
def objects(comparison: Comparison, styles: Mapping[str, Style], data: str | None = None) -> Figure | None:
    """Accuracy with the object on another background, and with either hidden: mean and range over seeds. None: not measured."""
    found = {
        method: [one.objects for one in mine if one.objects is not None]
        for method, mine in _evaluations(comparison, data).items()
    }
    found = {method: mine for method, mine in found.items() if mine}
    if not found:
        return None
    first = next(iter(found.values()))[0]
    heading = Heading(
        "Objects and backgrounds",
        f"Accuracy in percent on {first.images:,} images whose masks can be used ({plain(first.masks)}). A mark is the mean, a line the "
        "range over seeds; all charts are of one scale.",
    )
    values = {
        name: {method: [100 * getattr(one, name) for one in mine] for method, mine in found.items()}
        for name in CONDITIONS
    }
    span = max(SPAN, *(1.15 * np.ptp(np.concatenate([*one.values()])) for one in values.values()))
    names = names_of(labels_of(comparison, {method: len(mine) for method, mine in found.items()}), 1.45)
    heights = [max(0.3, names.height_of(method) + 0.06) for method in found]
    left, number, gap, title = EDGE + names.width + 0.12, 0.42, 0.15, 0.28
    width = (WIDTH - left - EDGE - gap) / 2 - number
    figure = sheet(heading, 2 * (title + sum(heights) + FOOT) - 0.1)
    for n, (name, mine) in enumerate(values.items()):
        x = left + n % 2 * (width + number + gap)
        y = heading.height + n // 2 * (title + sum(heights) + FOOT - 0.05)
        write(figure, x, y + 0.09, CONDITIONS[name], SMALL, bold=True)
        axes, middles = row_axes(figure, x, y + title, width, heights)
        every = np.concatenate([*mine.values()])
        middle = (every.min() + every.max()) / 2
        axes.set_xlim(middle - span / 2, middle + span / 2)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=NICE))
        for method, at in zip(mine, middles, strict=True):
            style, mean = styles[method], float(np.mean(mine[method]))
            axes.hlines(at, min(mine[method]), max(mine[method]), color=style.colour, lw=2, alpha=0.5)
            axes.plot(mean, at, color=style.colour, marker=style.marker, mew=0, ms=7)
            write(figure, x + width + number - 0.04, y + title + at, f"{mean:.1f}", SMALL, ha="right")
            if n % 2 == 0:
                write(figure, left - 0.12, y + title + at, names.lines[method], SMALL, ha="right")
    return figure


def _evaluations(comparison: Comparison, data: str | None) -> dict[str, list[Evaluation]]:
    """Return the evaluations of each method by seed."""
    return {method: [*comparison.evaluations_on(method, data).values()] for method in comparison.methods}


def _kinds(names: set[str]) -> dict[str, list[str]]:
    """The corruptions that there are, by group, each in its usual order."""
    known = {name for group in GROUPS.values() for name in group}
    kinds = {title: [name for name in group if name in names] for title, group in GROUPS.items()}
    kinds["Other"] = sorted(names - known)
    return {title: group for title, group in kinds.items() if group}


def _names(kinds: Mapping[str, Sequence[str]]) -> list[str]:
    return [name for group in kinds.values() for name in group]


def _by_severity(seeds: Sequence[Corrupted]) -> list[float]:
    """Percent at severity 0, 1, ...: the mean over corruptions, then over seeds."""
    most = min(len(values) for one in seeds for values in one.accuracy.values())
    clean = 100 * float(np.mean([one.clean for one in seeds]))
    each = [np.mean([values[:most] for values in one.accuracy.values()], 0) for one in seeds]
    return [clean, *(100 * np.mean(each, 0)).tolist()]


def _mean_of(seeds: Sequence[Corrupted], name: str) -> float:
    """Percent of one corruption: the mean over severities, then over seeds; NaN for one that was not tried."""
    each = [np.mean(one.accuracy[name]) for one in seeds if name in one.accuracy]
    return 100 * float(np.mean(each)) if each else np.nan


def _corruption_rows(
    figure: Figure,
    top: float,
    rows: Sequence[tuple[str, str]],
    heights: Sequence[float],
    values: Mapping[str, Mapping[str, float]],
    styles: Mapping[str, Style],
) -> None:
    """A row a corruption with the mark of each method; a group's name above its rows."""
    said = [plain(name or group).replace("_", " ") for group, name in rows]
    left = EDGE + min(1.75, max(width_of(one, SMALL) for one in said) + 0.12) + 0.12
    axes, middles = row_axes(figure, left, top, WIDTH - left - EDGE - 0.15, heights)
    axes.set_xlabel("Accuracy (%)")
    for n, ((_, name), text, middle, height) in enumerate(zip(rows, said, middles, heights, strict=True)):
        write(
            figure,
            EDGE + (0.12 if name else 0.0),
            top + middle,
            shortened(text, left - EDGE - 0.2),
            SMALL,
            bold=not name and n > 0,
        )
        if not name and n:
            continue
        marks = {method: mine[name] for method, mine in values.items() if not np.isnan(mine[name])}
        axes.hlines(middle, min(marks.values()), max(marks.values()), color=SOFT, lw=0.8, alpha=0.5, zorder=1)
        spread = 0.32 * height if len(values) > 1 else 0.0
        for (method, value), beside in zip(
            marks.items(), np.linspace(-spread, spread, len(marks)).tolist(), strict=True
        ):
            style = styles[method]
            axes.plot(value, middle + beside, color=style.colour, marker=style.marker, mew=0, ms=5)
    axes.margins(x=0.03)


def _attack(name: str, steps: int) -> str:
    return f"{plain(name).upper()}, {steps} steps" if steps > 1 else plain(name).upper()


def _by_eps(found: Sequence[Attacked]) -> dict[float, float]:
    """Percent at each eps, mean over seeds; at 0 that on the images unchanged."""
    values: dict[float, list[float]] = {}
    for one in found:
        values.setdefault(one.eps, []).append(100 * one.accuracy)
        values.setdefault(0.0, []).append(100 * one.clean)
    return {eps: float(np.mean(mine)) for eps, mine in values.items()}
