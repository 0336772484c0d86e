"""Layout of figures in inches from the top left corner: measured text, headings, and labels that do not overlap."""

import re
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path

from smix.plots.style import FONT, LARGE, SIZE, SMALL, SOFT, Style

WIDTH = 6.4
"""Width of every figure in inches. A phone shows it at about two thirds of this, where 9 points are still readable."""
EDGE = 0.08
"""Margin on every side, in inches."""
FOOT = 0.5
"""Height of the ticks and the axis label below a chart, in inches."""
LABEL = 1.75
"""Maximum width of the name of a method next to a chart, in inches."""


@dataclass(frozen=True)
class Heading:
    """Title of a figure, and a note on how to read it."""

    title: str
    note: str = ""


def sanitised(text: str) -> str:
    """Return a name of unknown origin without line breaks, control characters, lone surrogates and changes of the writing direction."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(sign)[0] == "C" or sign in "\u2028\u2029" else sign
        for sign in text
    )


@lru_cache(maxsize=8192)
def text_width(text: str, size: float = SIZE, bold: bool = False) -> float:
    """Return the width of a line of text in inches. DejaVu Sans is wider than the sans-serif fonts of browsers."""
    font = FontProperties(family=FONT, size=size, weight="bold" if bold else "normal")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def line_height(size: float = SIZE) -> float:
    """Return the distance between two lines of text in inches."""
    return 1.3 * size / 72


def wrapped(text: str, width: float, size: float = SIZE, bold: bool = False) -> list[str]:
    """Return the text in lines that fit into `width`, broken at spaces; longer words break behind `,`, `+`, `(` or anywhere."""

    def fits_on_device(line: str) -> bool:
        return text_width(line.rstrip(), size, bold) <= width

    lines = [""]
    for word in re.split(r"(?<=\s)", sanitised(text)):
        for part in [word] if fits_on_device(word) else re.split(r"(?<=[,+(])", word):
            if fits_on_device(lines[-1] + part):
                lines[-1] += part
                continue
            lines.append("")
            for sign in part:
                if lines[-1] and not fits_on_device(lines[-1] + sign):
                    lines.append("")
                lines[-1] += sign
    return [line.strip() for line in lines if line.strip()] or [""]


def shortened(text: str, width: float, size: float = SMALL) -> str:
    """Return the text, or the part of its beginning that fits into `width` with an ellipsis."""
    text = sanitised(text)
    if text_width(text, size) <= width:
        return text
    while text and text_width(f"{text}…", size) > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def signed(value: float, decimals: int = 0) -> str:
    """Format a number with its sign and the minus of axis ticks; a number that rounds to 0 has no sign."""
    text = f"{value:+.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text[1:]


def write(
    figure: Figure, x: float, y: float, lines: str | Sequence[str], size: float = SMALL, **properties: Any
) -> None:
    """Write lines whose middle is at (x, y). Matplotlib aligns only single lines in an SVG, so each line is a separate text.

    Args:
        properties: Further properties of `matplotlib.text.Text`, such as `ha`, `color` and `weight`.
    """
    lines = [lines] if isinstance(lines, str) else lines
    for n, line in enumerate(lines):
        bottom = figure.get_figheight() - y - (n - (len(lines) - 1) / 2) * line_height(size)
        place: dict[str, Any] = {"transform": figure.dpi_scale_trans, "va": "center_baseline"}
        figure.text(x, bottom, sanitised(line), fontsize=size, **place, **properties)


def mark(figure: Figure, x: float, y: float, style: Style) -> None:
    """Draw the marker of a method next to its name."""
    line = Line2D([x], [figure.get_figheight() - y], color=style.colour, marker=style.marker, ls="none", mew=0)
    line.set_transform(figure.dpi_scale_trans)
    figure.add_artist(line)


def title(figure: Figure, x: float, bottom: float, lines: Sequence[str], style: Style | None) -> float:
    """Write a bold title with the marker of a method in front of its first line, above `bottom`; return where the title ends."""
    top = bottom - len(lines) * line_height()
    if style is not None:
        mark(figure, x + 0.06, top + line_height() / 2, style)
        x += 0.17
    write(figure, x, (top + bottom) / 2, lines, SIZE, weight="bold")
    return x + max(text_width(line, SIZE, bold=True) for line in lines)


def sheet(heading: Heading, height: float, width: float = WIDTH) -> tuple[Figure, float]:
    """Return an empty figure with its heading, and the position below it; `height` is the height of the space below."""
    inner = WIDTH - 2 * EDGE
    title = wrapped(heading.title, inner, LARGE, bold=True)
    note = wrapped(heading.note, inner, SMALL) if heading.note else []
    title_height, note_height = len(title) * line_height(LARGE), len(note) * line_height(SMALL)
    top = EDGE + title_height + note_height + 0.12
    figure = Figure(figsize=(width, top + height), label=heading.title)
    write(figure, EDGE, EDGE + title_height / 2, title, LARGE, weight="bold")
    write(figure, EDGE, EDGE + title_height + note_height / 2, note, color=SOFT)
    return figure, top


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Return new axes at a position in inches from the top left corner."""
    figure_width, figure_height = figure.get_size_inches()
    bottom = 1 - (top + height) / figure_height
    return figure.add_axes((left / figure_width, bottom, width / figure_width, height / figure_height))


def in_inches(
    axes: Axes, points: Float[np.ndarray, "n 2"]
) -> tuple[Figure, Float[np.ndarray, "n 2"], Float[np.ndarray, "2 2"]]:
    """Return the figure of `axes`, points of the data and the corners of the axes (x0, y0; x1, y1), in inches from the bottom left."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    axes.get_xlim(), axes.get_ylim()  # matplotlib computes the limits when they are read
    corners = axes.get_position().get_points() * figure.get_size_inches()
    return figure, axes.transData.transform(points) / figure.dpi, corners


def dodged(
    positions: Sequence[float] | Float[np.ndarray, "n"], heights: Sequence[float], low: float, high: float
) -> list[float]:
    """Return the positions of labels nearest to the desired ones at which none overlaps another.

    Args:
        positions: Desired middles of the labels, (n,).
        heights: Heights of the labels, (n,).
        low, high: Bounds; where the labels need more space than there is between these, the last ones exceed `high`.
    """
    from sklearn.isotonic import isotonic_regression

    if not len(positions):
        return []
    order = np.argsort(positions, kind="stable")
    sizes = np.asarray(heights, float)[order]
    offsets = np.concatenate([[0.0], np.cumsum((sizes[1:] + sizes[:-1]) / 2)])
    # Labels do not overlap if position - offset never falls: isotonic regression gives the nearest such positions.
    maximum = high - sizes[-1] / 2 - offsets[-1]
    free = isotonic_regression(np.asarray(positions, float)[order] - offsets)
    placed = np.empty(len(order))
    placed[order] = np.maximum(np.minimum(free, maximum), low + sizes[0] / 2) + offsets
    return placed.tolist()
