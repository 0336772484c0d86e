"""Pictures of judged mask stores: valid shares, coverage, and contact sheets of images with their masks in pink."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from smix.data.sets import ImageSet, balanced_order
from smix.masks.lookup import stretch
from smix.report.charts import FOOT, names_of, row_axes
from smix.report.images import paint, show
from smix.report.judge import CRITERIA, Checked, percent
from smix.report.layout import EDGE, WIDTH, Heading, axes_at, line_height, sheet, shortened, wrapped, write
from smix.report.style import FEWER, MORE, SMALL, SOFT, looks
from smix.report.thumbnails import thumbnail

SHEET = 60
"""Masks on a contact sheet."""
COLUMNS = 4
"""Images beside one another there."""
SIDE = 150
"""Longest side of an image there, in pixels: what such a sheet can show."""
VALID, INVALID = MORE, FEWER


@looks
def valid_chart(checked: Sequence[Checked], criterion: str = "figure14") -> Figure:
    """Valid and invalid masks below each other for each store: the report's figure 14, lying."""
    heading = Heading(
        "Valid masks", "Share of the masks, in percent, as in figure 14: valid with a coverage of 1 % or more."
    )
    names = names_of({str(n): f"{one.name} ({len(one.rows):,} masks)" for n, one in enumerate(checked)})
    heights = [max(0.62, names.height_of(str(n)) + 0.1) for n in range(len(checked))]
    figure = sheet(heading, sum(heights) + FOOT)
    left = EDGE + names.width + 0.12
    axes, middles = row_axes(figure, left, heading.height, WIDTH - left - 1.2, heights)
    for shift, colour, label, values in (
        (-0.12, VALID, "valid", [one.share(criterion) for one in checked]),
        (0.12, INVALID, "invalid", [100 - one.share(criterion) for one in checked]),
    ):
        places = np.asarray(middles) + shift
        bars = axes.barh(places, values, 0.22, color=colour)
        axes.bar_label(bars, [f"{value:.1f} {label}" for value in values], padding=3, fontsize=SMALL)
    for n, middle in enumerate(middles):
        write(figure, left - 0.12, heading.height + middle, names.lines[str(n)], SMALL, ha="right")
    axes.set(xlim=(0, 100), xlabel="Share of the masks (%)")
    return figure


@looks
def coverage_chart(checked: Sequence[Checked]) -> Figure:
    """Draw how much of the image the masks cover, one chart per store; the bounds of the default rule are marked."""
    default = CRITERIA["default"].shape
    heading = Heading(
        "How much of the image the masks cover",
        "Share of the masks, in percent, for each percent of coverage. Blue: valid by the default rule, orange: not. Dotted: "
        f"{100 * default.min_coverage:g} and {100 * default.max_coverage:g} %, the bounds of that rule.",
    )
    drawn = [one.coverage > 0 for one in checked]  # so many masks can be empty that nothing else would be seen
    titles = [
        wrapped(
            f"{one.name}: {len(one.rows):,} masks"
            + (f", {percent(~some):.1f} % of them empty (not drawn)" if len(some) else ""),
            WIDTH - 2 * EDGE,
            SMALL,
        )
        for one, some in zip(checked, drawn, strict=True)
    ]
    left, height = EDGE + 0.5, 1.3
    heads = [len(lines) * line_height(SMALL) + 0.08 for lines in titles]
    figure = sheet(heading, sum(heads) + len(checked) * (height + 0.35) + FOOT - 0.35)
    top, first = heading.height, None
    for one, some, lines, head in zip(checked, drawn, titles, heads, strict=True):
        write(figure, EDGE, top + (head - 0.08) / 2, lines, SMALL)
        axes = axes_at(figure, left, top + head, WIDTH - left - EDGE - 0.12, height)
        first = first or axes
        axes.sharey(first) if axes is not first else None
        coverage, good = 100 * one.coverage[some], one.valid["default"][some]
        share = np.full(len(coverage), 100 / max(1, len(one.rows)))
        axes.hist(
            [coverage[good], coverage[~good]],
            list(range(101)),
            weights=[share[good], share[~good]],
            stacked=True,
            color=[VALID, INVALID],
        )
        for bound in (default.min_coverage, default.max_coverage):
            axes.axvline(100 * bound, color=SOFT, linewidth=1, linestyle=":")
        axes.set_xlim(0, 100)
        axes.grid(axis="y")
        top += head + height + 0.35
    axes.set_xlabel("Coverage of the image (%)")
    return figure


@looks
def contact_sheet(data: ImageSet, checked: Checked, count: int = SHEET) -> Figure:
    """Images beside themselves with the mask in pink, class-balanced; under each its class and the mask's coverage.

    Args:
        data: The whole split.
    """
    order = balanced_order(data.labels, data.fingerprint)
    rows = order[np.isin(order, checked.rows)][:count]
    masks = checked.store[rows]
    verdicts = checked.valid["default"][np.searchsorted(checked.rows, rows)]
    gap, text = 0.12, line_height(SMALL) + 0.12
    cell = (WIDTH - 2 * EDGE - (COLUMNS - 1) * gap) / COLUMNS
    heading = Heading(
        f"Masks of {checked.name}",
        f"{len(rows)} of {len(checked.rows):,}, class-balanced: each image, and with its mask in pink; the mask's coverage "
        "(✗: not valid by the default rule).",
    )
    pictures = [thumbnail(data, row, SIDE) for row in rows.tolist()]
    high = cell / 2 * max((image.shape[0] / max(image.shape[:2]) for image in pictures), default=1.0)
    figure = sheet(heading, math.ceil(len(rows) / COLUMNS) * (high + text))
    for place, (row, image, mask, good) in enumerate(
        zip(rows.tolist(), pictures, masks, verdicts.tolist(), strict=True)
    ):
        line, column = divmod(place, COLUMNS)
        x, y = EDGE + column * (cell + gap), heading.height + line * (high + text)
        show(
            figure,
            x,
            y,
            cell,
            high,
            np.concatenate([image, paint(image, stretch(mask[None], image.shape[:2])[0])], 1),
        )
        said = f"{100 * checked.store.coverage[row]:.1f} %{'' if good else ' ✗'}"
        name = shortened(data.classes[data.labels[row]], cell - 0.65)
        write(figure, x, y + high + 0.09, name, SMALL)
        write(figure, x + cell, y + high + 0.09, said, SMALL, ha="right", bold=not good)
    return figure
