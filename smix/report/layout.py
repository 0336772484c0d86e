"""Layout of figures: everything in inches from its top left corner, so that no text can meet another."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from numpy.typing import NDArray

from smix.report.style import FONT, LARGE, SIZE, SMALL, SOFT, TEXT, Style

WIDTH = 6.4
"""Width of every figure in inches: a phone shows it at two thirds of its size or so, where text of 9 points can still be read."""
EDGE = 0.08
"""Free on every side."""


def plain(text: str) -> str:
    """A name that may come from anywhere, without what no font has: line breaks, control characters, halves of characters."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


@lru_cache(maxsize=8192)
def width_of(text: str, size: float = SIZE, bold: bool = False) -> float:
    """Return the width of a line. DejaVu Sans is wider than what browsers have for sans-serif, so that their text has room."""
    font = FontProperties(family=FONT, size=size, weight="bold" if bold else "normal")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def line_height(size: float = SIZE) -> float:
    return 1.3 * size / 72


def wrapped(text: str, width: float, size: float = SIZE, bold: bool = False) -> list[str]:
    """The text in lines no wider than this, broken at spaces; a word that is wider alone behind one of `,+(` or, without, anywhere."""

    def fits(line: str) -> bool:
        return width_of(line.rstrip(), size, bold) <= width

    lines = [""]
    for word in re.split(r"(?<=\s)", plain(text)):
        for part in [word] if fits(word) else re.split(r"(?<=[,+(])", word):
            if fits(lines[-1] + part):
                lines[-1] += part
                continue
            lines.append("")
            for sign in part:
                if lines[-1] and not fits(lines[-1] + sign):
                    lines.append("")
                lines[-1] += sign
    return [line.strip() for line in lines if line.strip()] or [""]


def shortened(text: str, width: float, size: float = SMALL) -> str:
    """The text, or as much of its beginning as fits, with an ellipsis."""
    text = plain(text)
    if width_of(text, size) <= width:
        return text
    while text and width_of(f"{text}…", size) > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def signed(value: float, decimals: int = 0) -> str:
    """Format a number with the minus that ticks have, and no sign at what rounds to 0."""
    text = f"{value:+.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text[1:]


def write(
    figure: Figure,
    x: float,
    y: float,
    lines: str | Sequence[str],
    size: float = SIZE,
    ha: str = "left",
    colour: str = TEXT,
    bold: bool = False,
) -> None:
    """Lines whose middle is at (x, y). One text object each: where text stays text, matplotlib aligns only single lines."""
    lines = [lines] if isinstance(lines, str) else lines
    for n, line in enumerate(lines):
        below = y + (n - (len(lines) - 1) / 2) * line_height(size)
        figure.text(
            x,
            figure.get_figheight() - below,
            plain(line),
            transform=figure.dpi_scale_trans,
            fontsize=size,
            ha=ha,
            va="center_baseline",
            color=colour,
            weight="bold" if bold else "normal",
        )


def mark(figure: Figure, x: float, y: float, style: Style, size: float = 5.5) -> None:
    """The marker of a method, beside its name."""
    line = Line2D([x], [figure.get_figheight() - y], color=style.colour, marker=style.marker, ms=size, ls="none", mew=0)
    line.set_transform(figure.dpi_scale_trans)
    figure.add_artist(line)


@dataclass(frozen=True)
class Heading:
    """Heading of a figure: what it shows, and how to read it."""

    title: str
    note: str = ""

    @property
    def _lines(self) -> tuple[list[str], list[str]]:
        width = WIDTH - 2 * EDGE
        return wrapped(self.title, width, LARGE, bold=True), wrapped(self.note, width, SMALL) if self.note else []

    @property
    def height(self) -> float:
        title, note = self._lines
        return EDGE + len(title) * line_height(LARGE) + len(note) * line_height(SMALL) + 0.12

    def draw(self, figure: Figure) -> None:
        title, note = self._lines
        top, below = len(title) * line_height(LARGE), len(note) * line_height(SMALL)
        write(figure, EDGE, EDGE + top / 2, title, LARGE, bold=True)
        write(figure, EDGE, EDGE + top + below / 2, note, SMALL, colour=SOFT)


def sheet(heading: Heading, height: float, width: float = WIDTH) -> Figure:
    """An empty figure with its heading; `height` is of all that comes below it."""
    figure = Figure(figsize=(width, heading.height + height))
    heading.draw(figure)
    return figure


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    whole, high = figure.get_size_inches()
    return figure.add_axes((left / whole, 1 - (top + height) / high, width / whole, height / high))


def dodged(
    places: Sequence[float] | NDArray[np.float64], heights: Sequence[float], low: float, high: float
) -> list[float]:
    """Places for labels as near to those wanted as can be, in their order, none over another and all between the bounds.

    Args:
        places: The middle that each label would have if it were alone.
        heights: Of each label.
        low, high: If there is less room between them than all labels need, the last ones stand out.
    """
    from sklearn.isotonic import isotonic_regression

    if not len(places):
        return []
    order = np.argsort(places, kind="stable")
    sizes = np.asarray(heights, float)[order]
    offsets = np.concatenate([[0.0], np.cumsum((sizes[1:] + sizes[:-1]) / 2)])
    # Labels do not overlap if place - offset never falls: the nearest such places are those of isotonic regression.
    most = high - sizes[-1] / 2 - offsets[-1]
    free = isotonic_regression(np.asarray(places, float)[order] - offsets)
    found = np.empty(len(order))
    found[order] = np.maximum(np.minimum(free, most), low + sizes[0] / 2) + offsets
    return found.tolist()
