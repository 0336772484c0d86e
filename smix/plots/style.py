"""Style of all figures: a colour and a marker for each method, fonts, sizes, grid.

Colours can be distinguished by people with red-green colour blindness, and are visible on a white and on a dark page (a
contrast of 3 or more with #ffffff and with #161616). Text has the two colours `TEXT` and `SOFT`, which a page replaces by its
own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.style

PLAIN = "vanilla"
"""Baseline method, drawn in the text colour."""

TEXT, SOFT = "#1b1b1b", "#5c5c5c"
COLOURS = ("#308FFF", "#E77020", "#007860", "#E70080", "#8718FF", "#8F6000", "#389F00", "#2870AF", "#AF8768")
"""Colours of methods after Okabe and Ito: blue, orange, green, pink, without those that are lost on white or dark."""
MARKERS = "sD^vPX*<>hp"
"""Markers of methods: eleven, so that with nine colours the pairs repeat after 99 methods."""
MORE, FEWER = COLOURS[0], COLOURS[1]
"""Colours of two opposites: valid and invalid, more and less than vanilla."""

SIZE, SMALL, LARGE = 10.0, 9.0, 11.5
"""Font sizes in points: body and names, captions and ticks, headings."""

FONT = "DejaVu Sans"
"""Font that is part of matplotlib, so that figures look the same everywhere."""

LOOK = {
    "font.family": [FONT],
    "font.size": SIZE,
    "text.parse_math": False,  # names of methods and classes may have dollars in them
    "text.hinting": "none",  # else widths change with the resolution
    "text.color": TEXT,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": TEXT,
    "axes.labelsize": SMALL,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "grid.color": SOFT,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "savefig.facecolor": "white",
    "savefig.dpi": 150,
    "svg.hashsalt": "smix",
}

looks = matplotlib.style.context(["default", LOOK])
"""Decorator of functions that draw or save a figure; it restores the settings of matplotlib afterwards."""


@dataclass(frozen=True)
class Style:
    """Style of a method in every figure."""

    colour: str
    marker: str


def styles(methods: Sequence[str]) -> dict[str, Style]:
    """Return one style per method, distinct for up to 99 methods; vanilla always has the text colour."""
    others = [method for method in dict.fromkeys(methods) if method != PLAIN]
    found = {method: Style(COLOURS[n % len(COLOURS)], MARKERS[n % len(MARKERS)]) for n, method in enumerate(others)}
    return {method: found.get(method, Style(TEXT, "o")) for method in methods}
