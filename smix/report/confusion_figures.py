"""Draw confusion matrices, and how they differ from vanilla's."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from smix.report.charts import labels_of, panels
from smix.report.comparison import Comparison
from smix.report.layout import WIDTH, Heading, axes_at, plain, shortened, signed, width_of, write
from smix.report.style import FEWER, MORE, SMALL, TEXT, Style, looks
from smix.report.tables import PLAIN

NAMED = 16
"""Maximum number of classes whose names fit next to a matrix."""
NUMBERED = 10
"""Maximum number of classes for which numbers fit into the cells."""
NAME = 0.85
"""Widest name of a class."""
FULL = "#00509e"
"""100 % of a class: on it white is read, on a light page and on a dark one."""
CELLS = 250
"""More cells a side are not seen: of neighbours the largest is drawn."""


@looks
def confusion(comparison: Comparison, styles: Mapping[str, Style]) -> Figure | None:
    """The confusion matrix of each method, summed over its seeds, in percent of the images of each class.

    With more than `NAMED` classes these have no names; the worst confusions are said above each matrix. None: no predictions.
    """
    rates = _rates(comparison)
    if not rates:
        return None
    classes = comparison.classes
    heading = Heading(
        "Which class is taken for which",
        "Rows: the true class. Columns: the prediction. In percent of the images of the class"
        f"{', all seeds together' if _seeds(comparison) > 1 else ''}; the stronger the colour, the more. "
        "Above each matrix: the most frequent mistake.",
    )
    said = {method: _worst(rate, classes) for method, rate in rates.items()}
    figure, axes = _matrices(heading, comparison, styles, rates, classes, said)
    for method, rate in rates.items():
        # The square root: a class is confused in a few percent of its images, and taken for itself in most.
        strength = np.sqrt(np.nan_to_num(rate) / 100)
        _draw(axes[method], strength, np.ones_like(rate), FULL, FULL)
        if len(classes) <= NUMBERED:
            _numbers(axes[method], rate, strength > 0.6)
    return figure


@looks
def confusion_change(comparison: Comparison, styles: Mapping[str, Style]) -> Figure | None:
    """Draw the differences from vanilla's matrix, in points, on one scale for all methods. None: no predictions of vanilla or others."""
    rates = _rates(comparison)
    if PLAIN not in rates or len(rates) < 2:
        return None
    classes = comparison.classes
    changes = {method: rate - rates[PLAIN] for method, rate in rates.items() if method != PLAIN}
    most = max(float(np.nanmax(np.abs(change), initial=0.0)) for change in changes.values()) or 1.0
    heading = Heading(
        f"What changes against {PLAIN}",
        "Difference of the matrices, in points: rows are the true class, columns the prediction. Blue: predicted more often, orange: "
        "less often. Blue on the diagonal and orange beside it is better. Above each matrix: the largest change beside the diagonal.",
    )
    said = {method: _most_changed(change, classes) for method, change in changes.items()}
    figure, axes = _matrices(heading, comparison, styles, changes, classes, said, room=0.5)
    for method, change in changes.items():
        strength = np.sqrt(np.nan_to_num(np.abs(change)) / most)
        _draw(axes[method], 0.85 * strength, change)
        if len(classes) <= NUMBERED:
            _numbers(axes[method], change)
    _scale(figure, most)
    return figure


def _rates(comparison: Comparison) -> dict[str, NDArray[np.float64]]:
    """(K, K) percent of the images of each class (rows), of each method with predictions; NaN for a class without images."""
    found = {}
    for method in comparison.methods:
        if scores := comparison.scores_of(method):
            counts = sum(one.confusion for one in scores.values())
            assert not isinstance(counts, int)
            total = counts.double()
            found[method] = (100 * total / total.sum(1, keepdim=True)).numpy()
    return found


def _seeds(comparison: Comparison) -> int:
    return len({run.config.seed for run in comparison.runs})


def _matrices(
    heading: Heading,
    comparison: Comparison,
    styles: Mapping[str, Style],
    matrices: Mapping[str, NDArray[np.float64]],
    classes: Sequence[str],
    said: Mapping[str, str],
    room: float = 0.0,
) -> tuple[Figure, dict[str, Axes]]:
    """Empty matrices with their names."""
    names = [shortened(name, NAME) for name in classes] if len(classes) <= NAMED else []
    widest = max((width_of(name, SMALL) for name in names), default=0.3) + 0.12
    titles = labels_of(comparison, {method: len(comparison.scores_of(method)) for method in matrices})
    columns = 3 if not names and len(matrices) > 4 else 2
    figure, axes = panels(
        heading, titles, styles, columns, left=widest, gap=0.3, below=0.3, foot=widest + 0.1 + room, said=said
    )
    for n, one in enumerate(axes.values()):
        one.set_anchor("NW")
        one.spines[:].set(visible=True, linewidth=0.5)
        if names:
            shown = names if n >= len(axes) - columns else [""] * len(names)
            one.set_xticks(range(len(names)), shown, rotation=90, rotation_mode="anchor", ha="right", va="center")
            one.set_yticks(range(len(names)), names if n % columns == 0 else [""] * len(names))
            one.tick_params(length=0)
        else:
            one.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            one.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            one.tick_params(labelleft=n % columns == 0)
    return figure, axes


def _worst(rate: NDArray[np.float64], classes: Sequence[str]) -> str:
    place = _largest_beside(rate)
    return f"{_as(classes, *place)}, {rate[place]:.0f} %" if place else "no mistake"


def _most_changed(change: NDArray[np.float64], classes: Sequence[str]) -> str:
    place = _largest_beside(change)
    return f"{_as(classes, *place)}, {signed(change[place])}" if place else "no change"


def _as(classes: Sequence[str], row: int, column: int) -> str:
    return f"{plain(classes[row])} as {plain(classes[column])}"


def _largest_beside(matrix: NDArray[np.float64]) -> tuple[int, int] | None:
    """Return the place off the diagonal whose value is farthest from 0; None: all are 0."""
    beside = np.where(np.eye(len(matrix), dtype=bool), 0.0, np.abs(np.nan_to_num(matrix)))
    row, column = divmod(int(beside.argmax()), len(matrix))
    return (row, column) if beside[row, column] else None


def _draw(
    axes: Axes, strength: Float[NDArray, "k k"], value: Float[NDArray, "k k"], above: str = MORE, below: str = FEWER
) -> None:
    """Each cell in the colour of what is above or below 0, as strong as said, in [0, 1], on whatever ground the page has."""
    ratio = -(-len(strength) // CELLS)
    if ratio > 1:
        value = _blocks(np.nan_to_num(value), ratio) + -_blocks(-np.nan_to_num(value), ratio)
        strength = _blocks(strength, ratio)
    last = ratio * len(strength) - 0.5
    axes.imshow(_colours(strength, value, above, below), interpolation="none", extent=(-0.5, last, last, -0.5))


def _colours(
    strength: Float[NDArray, "h w"], value: Float[NDArray, "h w"], above: str, below: str
) -> UInt8[NDArray, "h w 4"]:
    colours = np.where((value >= 0)[..., None], to_rgb(above), to_rgb(below))
    return np.rint(255 * np.concatenate([colours, strength[..., None]], -1)).astype(np.uint8)


def _blocks(matrix: Float[NDArray, "k k"], ratio: int) -> Float[NDArray, "m m"]:
    """The largest value of each square of `ratio` cells a side; the last ones may be smaller."""
    starts = np.arange(0, len(matrix), ratio)
    return np.maximum.reduceat(np.maximum.reduceat(matrix, starts, 0), starts, 1)


def _numbers(axes: Axes, values: NDArray[np.float64], light: NDArray[np.bool_] | None = None) -> None:
    """Write the number in each cell that does not round to 0, if it fits, with a hyphen: a minus is as wide as a digit and a half."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    cell = axes.get_position().width * figure.get_figwidth() / len(values)
    for (row, column), value in np.ndenumerate(values):
        text = f"{value:.0f}"
        if not np.isnan(value) and float(text) and width_of(text, SMALL) < cell:
            colour = "white" if light is not None and light[row, column] else TEXT
            axes.text(column, row, text, ha="center", va="center_baseline", fontsize=SMALL, color=colour)


def _scale(figure: Figure, most: float) -> None:
    """The colours and their numbers, at the bottom."""
    width, height = 2.2, 0.13
    top = figure.get_figheight() - 0.3
    left = (WIDTH - width) / 2
    axes = axes_at(figure, left, top, width, height)
    values = np.linspace(-most, most, 101)[None]
    axes.imshow(
        _colours(0.85 * np.sqrt(np.abs(values) / most), values, MORE, FEWER),
        interpolation="none",
        aspect="auto",
    )
    axes.set_axis_off()
    write(figure, left - 0.08, top + height / 2, signed(-most, 1), SMALL, ha="right")
    write(figure, left + width + 0.08, top + height / 2, f"{signed(most, 1)} points", SMALL)
