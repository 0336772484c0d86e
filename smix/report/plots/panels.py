"""Panels: small axes of one size, one for each method, with its marker and name above."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from smix.report.plots.layout import (
    EDGE,
    WIDTH,
    Heading,
    axes_at,
    in_inches,
    line_height,
    mark,
    sheet,
    shortened,
    text_width,
    wrapped,
    write,
)
from smix.report.style import SIZE, SMALL, SOFT, TEXT, Style

DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


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
    notes: Mapping[str, str] | None = None,
) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with empty axes for each method.

    Args:
        titles: Name of each method as it is shown.
        height: Height of a panel in inches; None: square.
        left: Space for the ticks of the first column in inches; the other columns share them.
        gap: Space between two columns.
        below: Space below each row, for its ticks.
        foot: Space below the last row.
        notes: Line under the name of each method.
    """
    width = (WIDTH - left - EDGE - 0.18 - gap * (columns - 1)) / columns  # half of the last tick's number exceeds the axes
    height = width if height is None else height
    lines = {method: wrapped(title, width - 0.18, SIZE, bold=True) for method, title in titles.items()}
    rows = [list(lines)[n : n + columns] for n in range(0, len(lines), columns)]
    note_height = (line_height(SMALL) if notes else 0.0) + 0.06
    heads = [max(len(lines[method]) for method in row) * line_height() + note_height for row in rows]
    figure, y = sheet(heading, sum(heads) + len(rows) * height + (len(rows) - 1) * below + foot)
    found = {}
    for row, head in zip(rows, heads, strict=True):
        for column, method in enumerate(row):
            x, name = EDGE + left + column * (width + gap), lines[method]
            first = y + head - note_height - (len(name) - 0.5) * line_height()
            mark(figure, x + 0.06, first, styles[method])
            write(figure, x + 0.16, first + (len(name) - 1) / 2 * line_height(), name, bold=True)
            if notes:
                write(figure, x, y + head - 0.11, shortened(notes[method], width), SMALL, colour=SOFT)
            found[method] = axes_at(figure, x, y + head, width, height)
        y += head + height + below
    return figure, found


def label_points(axes: Axes, x: Float[NDArray, "n"], y: Float[NDArray, "n"], names: Sequence[str]) -> None:
    """Write names next to points, the outermost first; a name that would overlap a point or another name is omitted."""
    figure, points, (lower, upper) = in_inches(axes, np.stack([x, y], 1))
    taken = [(point - 0.05, point + 0.05) for point in points]
    distance = sum(np.abs(values - np.median(values)) / max(np.ptp(values), 1e-9) for values in (x, y))
    for n in np.argsort(-distance).tolist():
        size = np.array([text_width(names[n], SMALL) + 0.02, line_height(SMALL)])
        for direction in np.array(DIRECTIONS):
            middle = points[n] + direction * (size / 2 + (0.02 if direction.all() else 0.07))
            low, high = middle - size / 2, middle + size / 2
            others = [box for m, box in enumerate(taken) if m != n]
            if (low < lower).any() or (high > upper).any() or any(_overlap((low, high), box) for box in others):
                continue
            taken.append((low, high))
            write(figure, float(middle[0]), figure.get_figheight() - float(middle[1]), names[n], SMALL, "center", TEXT)
            break


def _overlap(
    first: tuple[Float[NDArray, "2"], Float[NDArray, "2"]], second: tuple[Float[NDArray, "2"], Float[NDArray, "2"]]
) -> bool:
    """Return whether two boxes, each a lower left and an upper right corner, overlap."""
    return bool((first[0] < second[1]).all() and (second[0] < first[1]).all())
