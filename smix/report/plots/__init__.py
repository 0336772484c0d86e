"""Forms of figures: interval rows, lines, panels, matrices and image grids, drawn from plain data.

A form takes names, arrays and styles; which numbers are shown is decided in `smix.report.figures`. Every form places its
texts in inches and measures them first, so that no text overlaps another, and labels its data directly, without a legend.
"""

from smix.report.plots.grid import Band, Tile, image_grid, show_image
from smix.report.plots.layout import Heading, sanitised, shortened, signed
from smix.report.plots.lines import Chart, Curve, line_charts
from smix.report.plots.matrix import ColourScale, matrices
from smix.report.plots.panels import label_points, panels
from smix.report.plots.rows import Row, condition_rows, interval_rows, row_axes, row_labels

__all__ = [
    "Band",
    "Chart",
    "ColourScale",
    "Curve",
    "Heading",
    "Row",
    "Tile",
    "condition_rows",
    "image_grid",
    "interval_rows",
    "label_points",
    "line_charts",
    "matrices",
    "panels",
    "row_axes",
    "row_labels",
    "sanitised",
    "shortened",
    "show_image",
    "signed",
]
