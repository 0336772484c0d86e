"""Charts of numbers: rows of estimates, line charts and panels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from smix.plots import layout
from smix.plots.layout import EDGE, FOOT, LABEL, WIDTH, Heading, line_height, shortened, text_width, write
from smix.plots.style import SIZE, SMALL, SOFT, TEXT, Style

TICK_STEPS = [1, 2, 2.5, 5, 10]
"""Distances between ticks, up to a power of ten."""
LEADER = 0.3
"""Space between a line chart and the names to its right, for a leader line and the marker, in inches."""
MARKS = 8
"""Approximate number of markers on a long curve."""


@dataclass(frozen=True)
class Estimate:
    """Estimate of one method.

    With `values` it is drawn as a mark for each run, a line at the mean and a box for the interval; without, as a mark at the
    mean and a line for the interval.
    """

    style: Style
    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan
    """Ends of the interval; NaN for none."""
    values: Sequence[float] = ()
    solid: bool = True
    """False for a dashed mean line, or a hollow mark."""


@dataclass(frozen=True)
class Row:
    """Row of estimates below one another, with its name to the left and text to the right."""

    label: str
    estimates: Sequence[Estimate] = ()
    """Empty for the heading of the rows below."""
    text: str = ""


def interval_rows(
    heading: Heading, charts: Mapping[str, Sequence[Row]], axis: str = "", zero: bool = False, min_span: float = 0.0
) -> Figure:
    """Draw rows in one chart, or in charts in two columns.

    Args:
        charts: Rows of each chart by its title; all charts have the same rows. A single chart needs no title.
        axis: Label of the horizontal axis.
        zero: Draw a line at 0.
        min_span: Minimum span of the axes; above 0, all charts have the same.
    """
    columns, first = min(2, len(charts)), next(iter(charts.values()))
    title_height, height = 0.28 if columns > 1 else 0.0, rows_height(first)
    figure, top = layout.sheet(heading, -(-len(charts) // columns) * (title_height + height))
    names = _label_width(first)
    width = (WIDTH - names) / columns
    drawn = []
    for n, (title, rows) in enumerate(charts.items()):
        x, y = names + n % columns * width, top + n // columns * (title_height + height)
        write(figure, x, y + 0.09, title, weight="bold")
        axes = draw_rows(figure, y + title_height, rows, axis, x, width, named=n % columns == 0)
        axes.xaxis.set_major_locator(MaxNLocator(6 if columns == 1 else 4, steps=TICK_STEPS))
        if zero:
            axes.axvline(0, color=TEXT, lw=1)
        drawn.append(axes)
    if min_span:
        extents = np.array([axes.dataLim.intervalx for axes in drawn])
        span = max(min_span, 1.12 * np.ptp(extents, 1).max())
        for axes, middle in zip(drawn, extents.mean(1), strict=True):
            axes.set_xlim(middle - span / 2, middle + span / 2)
    return figure


def rows_height(rows: Sequence[Row]) -> float:
    """Return the height of rows and their axis in inches."""
    return sum(_heights(rows)) + FOOT


def draw_rows(
    figure: Figure,
    top: float,
    rows: Sequence[Row],
    axis: str,
    left: float | None = None,
    width: float = 0.0,
    named: bool = True,
) -> Axes:
    """Draw rows into a figure, between `left` and `left + width` inches with the names further left, or over its whole width."""
    if left is None:
        left = _label_width(rows)
        width = WIDTH - left
    text = max(text_width(row.text, SMALL) for row in rows) + 0.12
    heights = _heights(rows)
    axes = layout.axes_at(figure, left, top, width - text - EDGE, sum(heights))
    axes.set(ylim=(sum(heights), 0), yticks=[], xlabel=axis)  # the vertical unit is an inch from the top
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    for row, height, middle in zip(rows, heights, np.cumsum(heights) - np.array(heights) / 2, strict=True):
        weight = "normal" if row.estimates else "bold"
        if named:
            write(figure, left - 0.12, top + middle, _lines(row), ha="right", weight=weight)
        write(figure, left + width - EDGE, top + middle, row.text, ha="right")
        known = [one for one in row.estimates if not math.isnan(one.mean)]
        count = len(known)
        for n, one in enumerate(known):
            draw = _draw_runs if one.values else _draw_estimate
            draw(axes, middle + 0.64 * height * ((n + 0.5) / count - 0.5), one, 5.0 if count > 1 else 8.0)
        if count > 1:
            means = [one.mean for one in known]
            axes.hlines(middle, min(means), max(means), color=SOFT, lw=0.8, alpha=0.5, zorder=1)
    axes.use_sticky_edges = False  # a box would have no margin next to it
    axes.margins(x=0.06)
    return axes


def _lines(row: Row) -> list[str]:
    return layout.wrapped(row.label, LABEL, SMALL, bold=not row.estimates)


def _label_width(rows: Sequence[Row]) -> float:
    """Return the width of the names of rows and their margins in inches."""
    return EDGE + max(text_width(line, SMALL, not row.estimates) for row in rows for line in _lines(row)) + 0.12


def _heights(rows: Sequence[Row]) -> list[float]:
    """Return the height of each row: several estimates need less than one with its interval."""
    heights = []
    for row in rows:
        minimum = 0.4 if len(row.estimates) == 1 else 0.32 if len(row.estimates) > 6 else 0.25
        heights.append(max(minimum, len(_lines(row)) * line_height(SMALL) + 0.09))
    return heights


def _draw_runs(axes: Axes, y: float, one: Estimate, size: float) -> None:
    colour, count = one.style.colour, len(one.values)
    # In their own order below one another, so that equal values do not hide each other.
    shifts = np.linspace(-0.09, 0.09, count) if count > 1 else np.zeros(1)
    axes.scatter(one.values, y + shifts, color=colour, marker=one.style.marker, s=26, lw=0, alpha=0.85, zorder=3)
    axes.vlines(one.mean, y - 0.15, y + 0.15, color=colour, lw=1.8, ls="-" if one.solid else ":", zorder=2)
    if not math.isnan(one.low):
        axes.barh(y, one.high - one.low, 0.3, left=one.low, color=colour, alpha=0.18, zorder=1)


def _draw_estimate(axes: Axes, y: float, one: Estimate, size: float) -> None:
    colour = one.style.colour
    if not math.isnan(one.low):
        axes.hlines(y, one.low, one.high, color=colour, lw=2, alpha=0.6)
    face, edge = (colour, 0.0) if one.solid else ("none", 1.5)
    axes.plot(one.mean, y, color=colour, marker=one.style.marker, ms=size, mew=edge, mfc=face)


@dataclass(frozen=True, eq=False)
class Curve:
    """Curve of a method, and the band between its lowest and its highest seed."""

    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    band: tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]] | None = None


@dataclass(frozen=True, eq=False)
class Chart:
    """Chart of curves by method."""

    curves: Mapping[str, Curve]
    axis: str
    """Label of the horizontal axis."""
    title: str = ""
    integer: bool = False
    """True for ticks at whole numbers only."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Limits, margins and ticks: arguments of `matplotlib.axes.Axes.set`."""


def line_charts(
    heading: Heading,
    charts: Sequence[Chart],
    labels: Mapping[str, str],
    styles: Mapping[str, Style],
    height: float = 3.2,
    below: float = 0.0,
) -> Figure:
    """Draw charts below one another, with the names of their curves at the right.

    Args:
        labels: Name of each method as it is shown.
        height: Minimum height of a chart in inches; it grows with the number of names.
        below: Height that is left free below the charts, in inches.
    """
    names = {method: layout.wrapped(label, LABEL, SMALL) for method, label in labels.items()}
    height = max(height, sum(map(_label_height, names.values())) + 0.2)
    heads = [0.3 if chart.title else 0.0 for chart in charts]
    figure, top = layout.sheet(heading, sum(heads) + len(charts) * (height + FOOT) + 0.1 * (len(charts) - 1) + below)
    left, right = EDGE + 0.45, max(text_width(line, SMALL) for name in names.values() for line in name) + LEADER + EDGE
    for chart, head in zip(charts, heads, strict=True):
        write(figure, EDGE, top + head / 2 - 0.05, chart.title)
        axes = layout.axes_at(figure, left, top + head, WIDTH - left - right, height)
        axes.grid(axis="y")
        axes.set_xlabel(chart.axis)
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=chart.integer, steps=TICK_STEPS))
        for n, (method, curve) in enumerate(chart.curves.items()):
            style, step = styles[method], max(1, len(curve.x) // MARKS)
            marks: dict[str, Any] = {"marker": style.marker, "ms": 4.5, "mew": 0, "markevery": (n % step, step)}
            axes.plot(curve.x, curve.y, label=method, color=style.colour, **marks)
            if curve.band is not None:
                axes.fill_between(curve.x, *curve.band, color=style.colour, alpha=0.13, lw=0)
        axes.set(**chart.settings)
        _label_ends(axes, chart.curves, names, styles)
        top += head + height + FOOT + 0.1
    return figure


def _label_height(lines: Sequence[str]) -> float:
    return len(lines) * line_height(SMALL) + 0.03


def _label_ends(
    axes: Axes, curves: Mapping[str, Curve], names: Mapping[str, list[str]], styles: Mapping[str, Style]
) -> None:
    """Write the name of each curve right of the axes at the height of its end, moved where names would overlap."""
    ends: dict[str, tuple[float, float]] = {}
    for method, curve in curves.items():
        known = np.flatnonzero(np.isfinite(curve.y))
        ends |= {method: (curve.x[known[-1]], curve.y[known[-1]])} if len(known) else {}
    figure, points, ((_, bottom), (right, top)) = layout.in_inches(axes, np.array([*ends.values()]).reshape(-1, 2))
    height = figure.get_figheight()
    desired = height - np.clip(points[:, 1], bottom, top)
    heights = [_label_height(names[method]) for method in ends]
    placed = layout.dodged(desired, heights, height - top - 0.1, height - bottom + 0.1)
    for method, x, y, label_y in zip(ends, points[:, 0], desired, placed, strict=True):
        bends = [x, right + 0.04, right + LEADER - 0.12], [height - y, height - y, height - label_y]
        leader = Line2D(*bends, color=styles[method].colour, lw=0.7, alpha=0.7)
        leader.set_transform(figure.dpi_scale_trans)
        figure.add_artist(leader)
        layout.mark(figure, right + LEADER - 0.1, label_y, styles[method])
        write(figure, right + LEADER, label_y, names[method])


def panels(
    heading: Heading,
    labels: Mapping[str, str],
    styles: Mapping[str, Style],
    notes: Mapping[str, str],
    columns: int,
    height: float | None = None,
    left: float = 0.45,
    foot: float = FOOT,
    below: float = 0.0,
) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with empty axes of one size for each method, with its marker, its name and a note above.

    Args:
        labels: Name of each method as it is shown.
        styles: Marker in front of a name, if it has one.
        notes: Line under a name, if it has one.
        height: Height of the axes in inches; None: square.
        left: Space for the ticks of the first column in inches; the other columns share them.
        foot: Space below each row of axes in inches.
        below: Height that is left free below all of them, in inches.
    """
    gap = 0.4
    width = (
        WIDTH - left - EDGE - 0.18 - gap * (columns - 1)
    ) / columns  # half of the last tick's number exceeds the axes
    height = width if height is None else height
    names = {method: layout.wrapped(label, width - 0.18, SIZE, bold=True) for method, label in labels.items()}
    rows = [list(names)[n : n + columns] for n in range(0, len(names), columns)]
    note_height = line_height(SMALL) + 0.06
    heads = [max(len(names[method]) for method in row) * line_height() + note_height for row in rows]
    figure, y = layout.sheet(heading, sum(heads) + len(rows) * (height + foot) + below)
    axes = {}
    for row, head in zip(rows, heads, strict=True):
        for column, method in enumerate(row):
            x, name = EDGE + left + column * (width + gap), names[method]
            layout.title(figure, x, y + head - note_height, name, styles.get(method))
            write(figure, x, y + head - 0.11, shortened(notes.get(method, ""), width), color=SOFT)
            axes[method] = layout.axes_at(figure, x, y + head, width, height)
        y += head + height + foot
    return figure, axes


def label_points(axes: Axes, x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"], names: Sequence[str]) -> None:
    """Write names next to points, the outermost first; a name that would overlap a point or another name is omitted."""
    figure, points, (lower, upper) = layout.in_inches(axes, np.stack([x, y], 1))
    taken = [(point - 0.05, point + 0.05) for point in points]
    distance = sum(np.abs(values - np.median(values)) / max(np.ptp(values), 1e-9) for values in (x, y))
    directions = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)])
    for n in np.argsort(-distance).tolist():
        size = np.array([text_width(names[n], SMALL) + 0.02, line_height(SMALL)])
        for direction in directions:
            middle = points[n] + direction * (size / 2 + (0.02 if direction.all() else 0.07))
            low, high = middle - size / 2, middle + size / 2
            free = all((high <= a).any() or (b <= low).any() for m, (a, b) in enumerate(taken) if m != n)
            if free and (low >= lower).all() and (high <= upper).all():
                taken.append((low, high))
                write(figure, middle[0], figure.get_figheight() - middle[1], names[n], ha="center")
                break
