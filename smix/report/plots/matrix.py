"""Matrices as heat maps with the names of their rows and columns, one for each method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from smix.report.plots.layout import WIDTH, Heading, axes_at, in_inches, shortened, signed, text_width, write
from smix.report.plots.panels import panels
from smix.report.style import SMALL, TEXT, Style

NAMED = 16
"""Maximum number of classes whose names fit next to a matrix."""
NUMBERED = 10
"""Maximum number of classes whose numbers fit into the cells."""
NAME = 0.85
"""Maximum width of the name of a class, in inches."""
CELLS = 250
"""Maximum number of cells per side that can be seen; of more, the largest of neighbours are drawn."""


@dataclass(frozen=True)
class ColourScale:
    """Colours of cells: the opacity is the square root of |value| / maximum, on the background of the page.

    The square root makes small values visible: a class is mistaken in a few percent of its images, and correct in most.
    """

    maximum: float
    positive: str
    negative: str
    opacity: float = 1.0
    """Opacity at the maximum, in [0, 1]. Text on an opaque cell is white."""

    def strength(self, values: Float[NDArray, "h w"]) -> Float[NDArray, "h w"]:
        """Return the opacity of each cell; 0 for NaN."""
        return self.opacity * np.sqrt(np.abs(np.nan_to_num(values)) / self.maximum)

    def colours(self, values: Float[NDArray, "h w"]) -> UInt8[NDArray, "h w 4"]:
        """Return the colour of each cell as RGBA."""
        colours = np.where((np.nan_to_num(values) >= 0)[..., None], to_rgb(self.positive), to_rgb(self.negative))
        return np.rint(255 * np.concatenate([colours, self.strength(values)[..., None]], -1)).astype(np.uint8)


def matrices(
    heading: Heading,
    values: Mapping[str, Float[NDArray, "k k"]],
    classes: Sequence[str],
    scale: ColourScale,
    titles: Mapping[str, str],
    styles: Mapping[str, Style],
    notes: Mapping[str, str],
    unit: str = "",
) -> Figure:
    """Draw the matrix of each method on one colour scale.

    Args:
        values: Matrix of each method; NaN for unknown cells.
        classes: Names of rows and columns; more than `NAMED` are numbered.
        notes: Line above each matrix.
        unit: Unit of the values in a colour bar; empty: no colour bar.
    """
    names = [shortened(name, NAME) for name in classes] if len(classes) <= NAMED else []
    left = max((text_width(name, SMALL) for name in names), default=0.3) + 0.12
    columns = 3 if not names and len(values) > 4 else 2
    foot = left + 0.1 + (0.5 if unit else 0.0)
    figure, axes = panels(heading, titles, styles, columns, left=left, gap=0.3, foot=foot, notes=notes)
    for n, (method, one) in enumerate(axes.items()):
        one.spines[:].set(visible=True, linewidth=0.5)
        _draw(one, values[method], scale)
        if names:
            bottom, side = n >= len(axes) - columns, n % columns == 0
            empty = [""] * len(names)
            ticks = range(len(names))
            one.set_xticks(ticks, names if bottom else empty, rotation=90, rotation_mode="anchor", ha="right", va="center")
            one.set_yticks(ticks, names if side else empty)
            one.tick_params(length=0)
        else:
            one.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            one.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            one.tick_params(labelleft=n % columns == 0)
    if unit:
        _colour_bar(figure, scale, unit)
    return figure


def _draw(axes: Axes, values: Float[NDArray, "k k"], scale: ColourScale) -> None:
    """Draw the cells, and the number in each that does not round to 0, if it fits; with a hyphen, which is narrower than a minus."""
    ratio = -(-len(values) // CELLS)
    shown = values if ratio == 1 else _largest(np.nan_to_num(values), ratio)
    last = ratio * len(shown) - 0.5
    axes.imshow(scale.colours(shown), interpolation="none", extent=(-0.5, last, last, -0.5))
    if len(values) > NUMBERED:
        return
    _, _, ((left, _), (right, _)) = in_inches(axes, np.zeros((1, 2)))
    strength = scale.strength(values)
    for (row, column), value in np.ndenumerate(values):
        text = f"{value:.0f}"
        if not np.isnan(value) and float(text) and text_width(text, SMALL) < (right - left) / len(values):
            colour = "white" if scale.opacity == 1 and strength[row, column] > 0.6 else TEXT
            axes.text(column, row, text, ha="center", va="center_baseline", fontsize=SMALL, color=colour)


def _largest(matrix: Float[NDArray, "k k"], ratio: int) -> Float[NDArray, "m m"]:
    """Return the value farthest from 0 in each square of `ratio` cells per side; the last squares may be smaller."""
    starts = np.arange(0, len(matrix), ratio)
    high, low = (
        extreme.reduceat(extreme.reduceat(matrix, starts, 0), starts, 1) for extreme in (np.maximum, np.minimum)
    )
    return np.where(high >= -low, high, low)


def _colour_bar(figure: Figure, scale: ColourScale, unit: str) -> None:
    """Draw the colours and their numbers at the bottom of the figure."""
    width, height, top = 2.2, 0.13, figure.get_figheight() - 0.3
    left = (WIDTH - width) / 2
    axes = axes_at(figure, left, top, width, height)
    axes.imshow(scale.colours(np.linspace(-scale.maximum, scale.maximum, 101)[None]), interpolation="none", aspect="auto")
    axes.set_axis_off()
    write(figure, left - 0.08, top + height / 2, signed(-scale.maximum, 1), SMALL, ha="right")
    write(figure, left + width + 0.08, top + height / 2, f"{signed(scale.maximum, 1)} {unit}", SMALL)
