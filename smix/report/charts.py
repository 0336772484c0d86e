"""The forms that charts of methods have: rows with names, lines with names at their ends, small multiples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from smix.report.comparison import Comparison
from smix.report.layout import (
    EDGE,
    WIDTH,
    Heading,
    axes_at,
    dodged,
    line_height,
    mark,
    sheet,
    shortened,
    width_of,
    wrapped,
    write,
)
from smix.report.style import SIZE, SMALL, SOFT, Style

FOOT = 0.5
"""Below a chart: its ticks, and what the axis is."""
LABEL = 1.75
"""Widest name of a method beside a chart."""
NICE = [1, 2, 2.5, 5, 10]
"""Steps between ticks, times a power of ten."""
LEAD = 0.3
"""Between a chart and the names at its right: a leader, and the marker."""


@dataclass(frozen=True)
class Names:
    """The names of methods in lines, as they stand beside a chart."""

    lines: dict[str, list[str]]

    @property
    def width(self) -> float:
        return max(width_of(line, SMALL) for lines in self.lines.values() for line in lines)

    def height_of(self, method: str) -> float:
        return len(self.lines[method]) * line_height(SMALL) + 0.03

    @property
    def height(self) -> float:
        """Height of all of them."""
        return sum(map(self.height_of, self.lines))


def names_of(labels: Mapping[str, str], width: float = LABEL) -> Names:
    """`labels[method]` is what is said of a method."""
    return Names({method: wrapped(label, width, SMALL) for method, label in labels.items()})


def labels_of(comparison: Comparison, have: Mapping[str, int]) -> dict[str, str]:
    """The name of each method, with how many of the planned seeds it has if some lack."""
    return {method: comparison.named(method, count) for method, count in have.items()}


def end_labels(axes: Axes, ends: Mapping[str, tuple[float, float]], names: Names, styles: Mapping[str, Style]) -> None:
    """The name of each line right of the chart, at the height of the line's end, moved where names would meet.

    Args:
        ends: Of each method's line, in data units, whose limits must be final.
    """
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    axes.get_xlim(), axes.get_ylim()  # matplotlib finds the limits when they are asked for
    box = axes.get_position()
    width, height = figure.get_size_inches()
    right, top, bottom = box.x1 * width, (1 - box.y1) * height, (1 - box.y0) * height
    points = {
        method: axes.transData.transform(end) / figure.dpi for method, end in ends.items() if np.isfinite(end).all()
    }
    wanted = [float(np.clip(height - y, top, bottom)) for _, y in points.values()]
    places = dodged(wanted, [names.height_of(method) for method in points], top - 0.1, bottom + 0.1)
    for (method, (x, _)), y, place in zip(points.items(), wanted, places, strict=True):
        leader = Line2D(
            [x, right + 0.04, right + LEAD - 0.12],
            [height - y, height - y, height - place],
            color=styles[method].colour,
            lw=0.7,
            alpha=0.7,
        )
        leader.set_transform(figure.dpi_scale_trans)
        figure.add_artist(leader)
        mark(figure, right + LEAD - 0.1, place, styles[method])
        write(figure, right + LEAD, place, names.lines[method], SMALL)


def line_charts(
    heading: Heading, names: Names, titles: Sequence[str] = ("",), least: float = 3.2, free: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """Charts below one another, a title above each, with room for the names of lines at their right.

    Args:
        least: Height of a chart, unless the names need more.
        free: Height that is left for something else below.
    """
    left, height = EDGE + 0.45, max(least, names.height + 0.2)
    above = [0.3 if title else 0.0 for title in titles]
    figure = sheet(heading, sum(above) + len(titles) * (height + FOOT) + 0.1 * (len(titles) - 1) + free)
    top, found = heading.height, []
    for title, room in zip(titles, above, strict=True):
        write(figure, EDGE, top + room / 2 - 0.05, title, SMALL)
        found.append(axes_at(figure, left, top + room, WIDTH - left - LEAD - names.width - EDGE, height))
        found[-1].grid(axis="y")
        top += room + height + FOOT + 0.1
    return figure, found


def row_chart(
    heading: Heading, labels: Mapping[str, str], said: Mapping[str, str], axis: str
) -> tuple[Figure, Axes, list[float]]:
    """A row a method: its name at the left, what is said of it at the right; and the middle of each row in the axes."""
    names = names_of(labels)
    heights = [max(0.4, names.height_of(method) + 0.1) for method in labels]
    figure = sheet(heading, sum(heights) + FOOT)
    left, right = EDGE + names.width + 0.12, max(width_of(text, SMALL) for text in said.values()) + 0.12 + EDGE
    axes, middles = row_axes(figure, left, heading.height, WIDTH - left - right, heights)
    for method, middle in zip(labels, middles, strict=True):
        write(figure, left - 0.12, heading.height + middle, names.lines[method], SMALL, ha="right")
        write(figure, WIDTH - EDGE, heading.height + middle, said[method], SMALL, ha="right")
    axes.set_xlabel(axis)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=NICE))
    return figure, axes, middles


def row_axes(
    figure: Figure, left: float, top: float, width: float, heights: Sequence[float]
) -> tuple[Axes, list[float]]:
    """Axes for rows below one another, and the middle of each; the vertical unit is an inch from the top."""
    axes = axes_at(figure, left, top, width, sum(heights))
    axes.set_ylim(sum(heights), 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return axes, [sum(heights[:n]) + height / 2 for n, height in enumerate(heights)]


def panels(
    heading: Heading,
    titles: Mapping[str, str],
    styles: Mapping[str, Style],
    columns: int,
    height: float | None = None,
    left: float = 0.5,
    gap: float = 0.25,
    below: float = 0.3,
    foot: float = 0.45,
    said: Mapping[str, str] | None = None,
) -> tuple[Figure, dict[str, Axes]]:
    """Small multiples: one chart a method, its marker and name above.

    Args:
        titles: What is said of each method.
        height: Of a chart; None: square.
        left: For the ticks of the first column; the other columns share them.
        below: Free under each chart, for its ticks.
        foot: The same under the last of a column.
        said: A line under the name of each method.
    """
    width = (WIDTH - left - EDGE - 0.18 - gap * (columns - 1)) / columns  # half of the last tick's number stands out
    height = width if height is None else height
    lines = {method: wrapped(title, width - 0.18, SIZE, bold=True) for method, title in titles.items()}
    parts = [list(lines)[n : n + columns] for n in range(0, len(lines), columns)]
    beside = (line_height(SMALL) if said else 0.0) + 0.06
    heads = [max(len(lines[method]) for method in part) * line_height() + beside for part in parts]
    figure = sheet(heading, sum(heads) + len(parts) * height + (len(parts) - 1) * below + foot)
    found = {}
    y = heading.height
    for part, head in zip(parts, heads, strict=True):
        for column, method in enumerate(part):
            x, mine = EDGE + left + column * (width + gap), lines[method]
            first = y + head - beside - (len(mine) - 0.5) * line_height()
            mark(figure, x + 0.06, first, styles[method])
            write(figure, x + 0.16, first + (len(mine) - 1) / 2 * line_height(), mine, bold=True)
            if said:
                write(figure, x, y + head - 0.11, shortened(said[method], width), SMALL, colour=SOFT)
            found[method] = axes_at(figure, x, y + head, width, height)
        y += head + height + below
    return figure, found
