"""Rows below one another: the values, the mean and the interval of each method, and marks of all methods under a condition."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from smix.report.plots.layout import (
    EDGE,
    FOOT,
    LABEL,
    TICK_STEPS,
    WIDTH,
    Heading,
    axes_at,
    line_height,
    sanitised,
    sheet,
    shortened,
    text_width,
    wrapped,
    write,
)
from smix.report.style import SMALL, SOFT, TEXT, Style

PANEL_GAP = 0.15
"""Between two panels next to each other, in inches."""


@dataclass(frozen=True)
class Row:
    """Row of an interval plot.

    A row with `values` shows one mark per run, the mean as a line and the interval as a box. A row without shows the mean as a
    mark and the interval as a line.
    """

    label: str
    style: Style
    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan
    """Ends of the interval; NaN for none."""
    values: Sequence[float] = ()
    text: str = ""
    """Text at the right of the row."""
    solid: bool = True
    """False for a dashed mean line, or a hollow mark."""


def interval_rows(
    heading: Heading,
    charts: Mapping[str, Sequence[Row]],
    axis: str = "",
    zero: bool = False,
    min_span: float = 0.0,
    row_height: float = 0.4,
) -> Figure:
    """Draw rows with their names at the left and their texts at the right, in one chart or in charts of two columns.

    Args:
        charts: Rows by title, one chart for each; all charts have the same rows. A single chart needs no title.
        axis: Label of the horizontal axis.
        zero: Draw a line at 0.
        min_span: Minimum span of the axes; above 0, all have the same.
        row_height: Minimum height of a row in inches.
    """
    first = next(iter(charts.values()))
    columns = min(2, len(charts))
    labels, label_width = row_labels([row.label for row in first], LABEL if columns == 1 else 1.45)
    heights = [max(row_height, len(lines) * line_height(SMALL) + 0.12) for lines in labels]
    text = max(text_width(row.text, SMALL) for rows in charts.values() for row in rows) + 0.12
    left, title_height = EDGE + label_width + 0.12, 0.28 if columns > 1 else 0.0
    width = (WIDTH - left - EDGE - PANEL_GAP * (columns - 1)) / columns - text
    chart_height = title_height + sum(heights) + FOOT - (0.05 if columns > 1 else 0.0)
    figure, top = sheet(heading, -(-len(charts) // columns) * chart_height)
    span = max([min_span, *(1.15 * np.ptp(_extent(rows)) for rows in charts.values())])
    for n, (title, rows) in enumerate(charts.items()):
        x, y = left + n % columns * (width + text + PANEL_GAP), top + n // columns * chart_height
        write(figure, x, y + 0.09, title, SMALL, bold=True)
        axes, middles = row_axes(figure, x, y + title_height, width, heights)
        if zero:
            axes.axvline(0, color=TEXT, lw=1)
        for row, lines, middle in zip(rows, labels, middles, strict=True):
            (_draw_runs if row.values else _draw_estimate)(axes, middle, row)
            at = y + title_height + middle
            write(figure, x + width + text - (0.0 if columns == 1 else 0.04), at, row.text, SMALL, ha="right")
            if n % columns == 0:
                write(figure, left - 0.12, at, lines, SMALL, ha="right")
        axes.set_xlabel(axis)
        axes.xaxis.set_major_locator(MaxNLocator(6 if columns == 1 else 4, steps=TICK_STEPS))
        axes.use_sticky_edges = False  # a box would have no margin next to it
        axes.margins(x=0.06)
        if min_span:
            middle = float(_extent(rows).sum() / 2)
            axes.set_xlim(middle - span / 2, middle + span / 2)
    return figure


def _extent(rows: Sequence[Row]) -> Float[NDArray, "2"]:
    """Return the lowest and the highest value that rows show."""
    shown = [value for row in rows for value in (*row.values, row.mean, row.low, row.high)]
    return np.array([np.nanmin(shown), np.nanmax(shown)])


def _draw_runs(axes: Axes, y: float, row: Row) -> None:
    colour = row.style.colour
    # In their own order below one another, so that equal values do not hide each other.
    shifts = np.linspace(-0.09, 0.09, len(row.values)) if len(row.values) > 1 else np.zeros(1)
    axes.scatter(row.values, y + shifts, color=colour, marker=row.style.marker, s=26, lw=0, alpha=0.85, zorder=3)
    axes.vlines(row.mean, y - 0.16, y + 0.16, color=colour, lw=1.8, ls="-" if row.solid else ":", zorder=2)
    if not math.isnan(row.low):
        axes.barh(y, row.high - row.low, 0.32, left=row.low, color=colour, alpha=0.18, zorder=1)


def _draw_estimate(axes: Axes, y: float, row: Row) -> None:
    style = row.style
    if not math.isnan(row.low):
        axes.hlines(y, row.low, row.high, color=style.colour, lw=2, alpha=0.6)
    face = style.colour if row.solid else "none"
    axes.plot(row.mean, y, color=style.colour, marker=style.marker, ms=8, mew=1.5, mfc=face)


def row_labels(labels: Sequence[str], width: float = LABEL) -> tuple[list[list[str]], float]:
    """Return the labels of rows in lines, and the width of the widest line in inches."""
    lines = [wrapped(label, width, SMALL) for label in labels]
    return lines, max(text_width(line, SMALL) for label in lines for line in label)


def row_axes(
    figure: Figure, left: float, top: float, width: float, heights: Sequence[float]
) -> tuple[Axes, list[float]]:
    """Return axes for rows of these heights, and the middle of each row; the vertical unit is an inch from the top."""
    axes = axes_at(figure, left, top, width, sum(heights))
    axes.set_ylim(sum(heights), 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return axes, [sum(heights[:n]) + height / 2 for n, height in enumerate(heights)]


def condition_rows(
    figure: Figure,
    top: float,
    groups: Mapping[str, Mapping[str, Mapping[str, float]]],
    styles: Mapping[str, Style],
    axis: str,
) -> None:
    """Draw a row for each condition with the marks of all methods, in groups with a name, below what a figure already has.

    Args:
        top: Where the rows begin, in inches from the top; `condition_height` is the height that they need.
        groups: `groups[group][condition][method]` is a value, NaN for none. The group "" has no name.
    """
    names = [sanitised(name).replace("_", " ") for group in groups.values() for name in group]
    left = EDGE + min(LABEL, max(text_width(name, SMALL) for name in names) + 0.12) + 0.12
    axes, middles = row_axes(figure, left, top, WIDTH - left - EDGE - 0.15, _condition_heights(groups))
    axes.set_xlabel(axis)
    rows = iter(middles)
    for group, conditions in groups.items():
        if group:
            write(figure, EDGE, top + next(rows), shortened(group, left - EDGE - 0.2), SMALL, bold=True)
        for name, values in conditions.items():
            middle, indent = next(rows), 0.12 if group else 0.0
            text = shortened(name.replace("_", " "), left - EDGE - 0.2)
            write(figure, EDGE + indent, top + middle, text, SMALL)
            known = {method: value for method, value in values.items() if not math.isnan(value)}
            axes.hlines(middle, min(known.values()), max(known.values()), color=SOFT, lw=0.8, alpha=0.5, zorder=1)
            shift = 0.32 * _condition_height(len(values)) if len(values) > 1 else 0.0
            for (method, value), dy in zip(known.items(), np.linspace(-shift, shift, len(known)).tolist(), strict=True):
                style = styles[method]
                axes.plot(value, middle + dy, color=style.colour, marker=style.marker, mew=0, ms=5)
    axes.margins(x=0.03)


def condition_height(groups: Mapping[str, Mapping[str, Mapping[str, float]]]) -> float:
    """Return the height of `condition_rows` in inches."""
    return sum(_condition_heights(groups)) + FOOT


def _condition_heights(groups: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[float]:
    heights = []
    for group, conditions in groups.items():
        heights += [0.27] if group else []
        heights += [_condition_height(len(values)) for values in conditions.values()]
    return heights


def _condition_height(methods: int) -> float:
    return 0.24 if methods <= 6 else 0.32
