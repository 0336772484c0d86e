"""Pictures of judged mask stores: valid shares, coverage, and contact sheets of images with their masks in pink."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from smix.data.sets import ImageSet, balanced_order
from smix.masks.lookup import stretched
from smix.report.figures import columns_for, paint, shortened
from smix.report.judge import CRITERIA, Checked, percent
from smix.report.thumbnails import thumbnail

SHEET = 60
"""Masks on a contact sheet."""
SIDE = 240
"""Longest side of an image there, in pixels: twice what a sheet of 120 dpi can show."""
VALID, INVALID = "#0072B2", "#D55E00"


def valid_chart(checked: Sequence[Checked], criterion: str = "figure14") -> Figure:
    """Valid and invalid masks side by side for each store: the report's figure 14."""
    figure = Figure(figsize=(max(4.8, 1.6 * len(checked) + 2), 4.2), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(checked))
    for shift, colour, label, values in (
        (-0.2, VALID, "valid", [one.share(criterion) for one in checked]),
        (0.2, INVALID, "invalid", [100 - one.share(criterion) for one in checked]),
    ):
        bars = axes.bar(places + shift, values, 0.38, color=colour, label=label)
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=9)
    axes.set_xticks(places, [f"{one.name}\n({len(one.rows):,} masks)" for one in checked], parse_math=False)
    axes.set(ylabel="Share of the masks (%)", ylim=(0, 108), xlim=(-0.7, len(checked) - 0.3))
    axes.set_title("Valid masks, as in figure 14: coverage of 1 % or more", loc="left", fontsize=11)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def coverage_chart(checked: Sequence[Checked]) -> Figure:
    """How much of the image the masks cover, one row a store; the bounds of the default rule are marked."""
    figure = Figure(figsize=(7.2, 1.0 + 1.7 * len(checked)), layout="constrained")
    rows = figure.subplots(len(checked), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    default = CRITERIA["default"].shape
    for axes, one in zip(rows, checked, strict=True):
        drawn = one.coverage > 0  # so many masks can be empty that nothing else would be seen
        coverage, good = 100 * one.coverage[drawn], one.valid["default"][drawn]
        share = np.full(len(coverage), 100 / max(1, len(one.rows)))
        axes.hist(
            [coverage[good], coverage[~good]],
            np.arange(101),
            weights=[share[good], share[~good]],
            stacked=True,
            color=[VALID, INVALID],
            label=["valid by default", "invalid"],
        )
        for bound in (default.min_coverage, default.max_coverage):
            axes.axvline(100 * bound, color="black", linewidth=0.8, linestyle=":")
        axes.set(ylabel="Masks (%)", xlim=(0, 100))
        empty = f", {percent(~drawn):.1f} % of them empty (not drawn)" if len(drawn) else ""
        axes.set_title(f"{one.name}: {len(one.rows):,} masks{empty}", loc="left", fontsize=10, parse_math=False)
        axes.grid(axis="y", alpha=0.25)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    rows[-1].set_xlabel(
        f"Coverage of the image (%), in steps of 1 %; dotted: {100 * default.min_coverage:g} and "
        f"{100 * default.max_coverage:g} %, the bounds of the default rule"
    )
    figure.legend(*rows[0].get_legend_handles_labels(), frameon=False, loc="outside upper right", ncols=2, fontsize=9)
    return figure


def contact_sheet(data: ImageSet, checked: Checked, count: int = SHEET) -> Figure:
    """Images beside themselves with the mask in pink, class-balanced; under each its class and the mask's coverage.

    Args:
        data: The whole split.
    """
    order = balanced_order(data.labels, data.fingerprint)
    rows = order[np.isin(order, checked.rows)][:count]
    masks = checked.store[rows]
    verdicts = checked.valid["default"][np.searchsorted(checked.rows, rows)]
    columns = columns_for(len(rows), widest=8)
    lines = math.ceil(len(rows) / columns)
    cell, text, head, gap = 1.0, 0.34, 0.5, 0.14
    width = columns * (2 * cell + gap) + gap
    height = head + lines * (cell + text)
    figure = Figure(figsize=(width, height))
    heading = (
        f"{checked.name}: {len(rows)} of {len(checked.rows):,} masks; each image, and with its mask in pink "
        "(✗: not valid by default)"
    )
    figure.text(gap / width, 1 - 0.24 / height, heading, va="center", fontsize=10, parse_math=False)
    for place, (row, mask, good) in enumerate(zip(rows.tolist(), masks, verdicts.tolist(), strict=True)):
        line, column = divmod(place, columns)
        x, y = gap + column * (2 * cell + gap), height - head - line * (cell + text) - cell
        image = thumbnail(data, row, SIDE)
        axes = figure.add_axes((x / width, y / height, 2 * cell / width, cell / height))
        axes.imshow(np.concatenate([image, paint(image, stretched(mask[None], image.shape[:2])[0])], 1))
        axes.set_axis_off()
        name = shortened(data.classes[data.labels[row]], 20)
        figure.text(
            (x + cell) / width,
            (y - 0.04) / height,
            f"{name}  {100 * checked.store.coverage[row]:.1f} %{'' if good else '  ✗'}",
            ha="center",
            va="top",
            fontsize=8,
            color="black" if good else "#B00020",
            parse_math=False,
        )
    return figure
