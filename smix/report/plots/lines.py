"""Line charts: a curve for each method with its range over seeds, and its name at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from smix.report.plots.layout import (
    EDGE,
    FOOT,
    WIDTH,
    Heading,
    axes_at,
    dodged,
    in_inches,
    line_height,
    mark,
    sheet,
    write,
)
from smix.report.plots.rows import row_labels
from smix.report.style import SMALL, Style

LEADER = 0.3
"""Between a chart and the names at its right, for a leader and the marker, in inches."""
MARKS = 8
"""Approximate number of markers on a long curve."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Curve of a method, and the band between its lowest and its highest seed."""

    x: Float[NDArray, "n"]
    y: Float[NDArray, "n"]
    low: Float[NDArray, "n"] | None = None
    high: Float[NDArray, "n"] | None = None


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
    lines, label_width = row_labels(list(labels.values()))
    names = dict(zip(labels, lines, strict=True))
    height = max(height, sum(map(_label_height, lines)) + 0.2)
    heads = [0.3 if chart.title else 0.0 for chart in charts]
    figure, top = sheet(heading, sum(heads) + len(charts) * (height + FOOT) + 0.1 * (len(charts) - 1) + below)
    left = EDGE + 0.45
    for chart, head in zip(charts, heads, strict=True):
        write(figure, EDGE, top + head / 2 - 0.05, chart.title, SMALL)
        axes = axes_at(figure, left, top + head, WIDTH - left - LEADER - label_width - EDGE, height)
        axes.grid(axis="y")
        axes.set_xlabel(chart.axis)
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=chart.integer))
        for n, (method, curve) in enumerate(chart.curves.items()):
            style, step = styles[method], max(1, len(curve.x) // MARKS)
            looks = {"color": style.colour, "marker": style.marker, "mew": 0, "markevery": (n % step, step)}
            axes.plot(curve.x, curve.y, label=method, ms=4.5 if step > 1 else None, **looks)
            if curve.low is not None and curve.high is not None:
                axes.fill_between(curve.x, curve.low, curve.high, color=style.colour, alpha=0.13, lw=0)
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
    ends = {}
    for method, curve in curves.items():
        known = np.flatnonzero(np.isfinite(curve.y))
        if len(known):
            ends[method] = (curve.x[known[-1]], curve.y[known[-1]])
    figure, points, ((_, bottom), (right, top)) = in_inches(axes, np.array([*ends.values()]).reshape(-1, 2))
    height = figure.get_figheight()
    desired = [float(height - np.clip(y, bottom, top)) for y in points[:, 1]]
    heights = [_label_height(names[method]) for method in ends]
    placed = dodged(desired, heights, height - top - 0.1, height - bottom + 0.1)
    for method, x, y, label_y in zip(ends, points[:, 0], desired, placed, strict=True):
        style = styles[method]
        bends = [x, right + 0.04, right + LEADER - 0.12], [height - y, height - y, height - label_y]
        leader = Line2D(*bends, color=style.colour, lw=0.7, alpha=0.7)
        leader.set_transform(figure.dpi_scale_trans)
        figure.add_artist(leader)
        mark(figure, right + LEADER - 0.1, label_y, style)
        write(figure, right + LEADER, label_y, names[method], SMALL)
