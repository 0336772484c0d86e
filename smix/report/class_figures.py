"""Show whether a method that mixes along objects helps the classes whose objects are found: a figure and a rank correlation."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from smix.evaluation.statistics import rank_correlation
from smix.report.charts import FOOT, labels_of, panels
from smix.report.class_tables import gains
from smix.report.comparison import Comparison
from smix.report.layout import Heading, line_height, shortened, signed, width_of
from smix.report.style import SMALL, TEXT, Style, looks
from smix.report.tables import PLAIN

NAME = 1.0
"""Widest name of a class."""
NEAR = 0.07
"""Between a point and its name."""


@looks
def class_gain(comparison: Comparison, styles: Mapping[str, Style], shares: Mapping[str, float]) -> Figure | None:
    """Draw the gain of each class over vanilla against the share of its masks that are valid, for each method that uses masks.

    The gain is that of the class's accuracy, in points, mean over the seeds that both methods have. Names that would meet others
    are left out.

    Args:
        shares: Valid masks of each class, in percent; classes that are not in it, or have NaN, are left out.

    Returns:
        None: no method with masks, no vanilla, no predictions, or fewer than two classes.
    """
    masked = {run.config.method for run in comparison.begun if run.provenance["masks"]}
    gained = {method: gain for method, gain in gains(comparison).items() if method in masked}
    classes = comparison.classes
    share = np.array([shares.get(name, math.nan) for name in classes], float)
    known = {method: ~np.isnan(share) & ~np.isnan(gain) for method, gain in gained.items()}
    gained = {method: gain for method, gain in gained.items() if known[method].sum() > 1}
    if not gained:
        return None
    heading = Heading(
        f"What each class gains over {PLAIN}",
        "Points of the class's accuracy, mean over seeds, against the share of its masks that are valid. If masks were what helps, "
        "classes with more valid ones would gain more: Spearman's rho would be near 1.",
    )
    plain = comparison.scores_of(PLAIN).keys()
    titles = labels_of(comparison, {method: len(comparison.scores_of(method).keys() & plain) for method in gained})
    said = {
        method: f"{_rho(share[known[method]], gain[known[method]])}, {known[method].sum()} classes"
        for method, gain in gained.items()
    }
    columns = min(2, len(gained))
    figure, panel = panels(
        heading, titles, styles, columns, 2.9 if columns == 2 else 3.4, 0.45, 0.4, below=0.45, foot=FOOT, said=said
    )
    for method, axes in panel.items():
        style, keep = styles[method], known[method]
        x, y = share[keep], gained[method][keep]
        axes.axhline(0, color=TEXT, lw=0.8)
        axes.scatter(x, y, color=style.colour, marker=style.marker, s=26, lw=0, zorder=3)
        axes.margins(x=0.12, y=0.12)
        axes.grid(True)
        axes.set_xlabel("Valid masks of the class (%)")
        _name(axes, x, y, [shortened(name, NAME) for name, kept in zip(classes, keep, strict=True) if kept])
    return figure


def _rho(x: Float[NDArray, "n"], y: Float[NDArray, "n"]) -> str:
    rho, _ = rank_correlation(x, y)
    return "rho is not defined" if math.isnan(rho) else f"rho = {signed(rho, 2)}"


def _name(axes: Axes, x: Float[NDArray, "n"], y: Float[NDArray, "n"], names: Sequence[str]) -> None:
    """Each name beside its point, where it meets no other point nor name; those of the outermost points first."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    axes.get_xlim(), axes.get_ylim()  # matplotlib finds the limits when they are asked for
    points = axes.transData.transform(np.stack([x, y], 1)) / figure.dpi
    box = axes.get_position()
    width, height = figure.get_size_inches()
    bounds = np.array([[box.x0 * width, box.y0 * height], [box.x1 * width, box.y1 * height]])
    taken = [np.stack([point - 0.05, point + 0.05]) for point in points]
    order = np.argsort(
        -np.abs(y - np.median(y)) / max(np.ptp(y), 1e-9) - np.abs(x - np.median(x)) / max(np.ptp(x), 1e-9)
    )
    for n in order.tolist():
        size = np.array([width_of(names[n], SMALL) + 0.02, line_height(SMALL)])
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)):
            middle = points[n] + np.array([dx, dy]) * (size / 2 + NEAR * (1 if not (dx and dy) else 0.3))
            mine = np.stack([middle - size / 2, middle + size / 2])
            others = [one for m, one in enumerate(taken) if m != n]
            if (mine[0] < bounds[0]).any() or (mine[1] > bounds[1]).any() or any(_meet(mine, one) for one in others):
                continue
            taken.append(mine)
            text = figure.text(
                float(middle[0]),
                float(middle[1]),
                names[n],
                fontsize=SMALL,
                ha="center",
                va="center_baseline",
                color=TEXT,
            )
            text.set_transform(figure.dpi_scale_trans)
            break


def _meet(one: Float[NDArray, "2 2"], other: Float[NDArray, "2 2"]) -> bool:
    """Return whether two boxes, each its lower left and upper right corner, have a point in common."""
    return bool((one[0] < other[1]).all() and (other[0] < one[1]).all())
