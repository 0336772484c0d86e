"""Pictures of judged mask stores: valid shares, coverage, and contact sheets of images with their masks in pink."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from smix.data.sets import ImageSet, balanced_order
from smix.mixing import Validity
from smix.report.figures import columns_for, paint, shortened
from smix.report.judge import Checked
from smix.report.sheet import tile

SHEET = 60
"""Masks on a contact sheet."""


def valid_chart(checked: Sequence[Checked], criterion: str = "figure14") -> Figure:
    """Valid and invalid masks side by side for each store: the report's figure 14."""
    figure = Figure(figsize=(max(4.8, 1.6 * len(checked) + 2), 4.2), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(checked))
    for shift, colour, label, values in (
        (-0.2, "#0072B2", "valid", [one.share(criterion) for one in checked]),
        (0.2, "#D55E00", "invalid", [100 - one.share(criterion) for one in checked]),
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
    figure = Figure(figsize=(7.2, 1.2 + 1.9 * len(checked)), layout="constrained")
    rows = figure.subplots(len(checked), 1, sharex=True, squeeze=False)[:, 0]
    bins, default = np.linspace(0, 100, 51), Validity()
    for axes, one in zip(rows, checked, strict=True):
        coverage = 100 * one.store.coverage[one.rows]
        good = one.valid["default"]
        axes.hist(
            [coverage[good], coverage[~good]],
            bins,
            stacked=True,
            color=["#0072B2", "#D55E00"],
            label=["valid", "invalid"],
        )
        for bound in (default.min_coverage, default.max_coverage):
            axes.axvline(100 * bound, color="black", linewidth=0.8, linestyle=":")
        axes.set(ylabel="Masks", xlim=(0, 100))
        axes.set_title(f"{one.name}: {len(one.rows):,} masks", loc="left", fontsize=10, parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
    rows[-1].set_xlabel("Coverage of the image (%); dotted: bounds of the default rule")
    rows[0].legend(frameon=False, loc="upper right", bbox_to_anchor=(0.94, 1))
    return figure


def contact_sheet(data: ImageSet, checked: Checked, count: int = SHEET) -> Figure:
    """Images beside themselves with the mask in pink, class-balanced; under each its class and the mask's coverage."""
    order = balanced_order(data.labels, data.fingerprint)
    shown = order[np.isin(data.index[order], checked.rows)][:count]
    rows = data.index[shown]
    masks = checked.store[rows]
    verdict = dict(zip(checked.rows.tolist(), checked.valid["default"].tolist(), strict=True))
    columns = columns_for(len(shown), widest=8)
    lines = math.ceil(len(shown) / columns)
    cell, text, head, gap = 1.0, 0.34, 0.5, 0.14
    width = columns * (2 * cell + gap) + gap
    height = head + lines * (cell + text)
    figure = Figure(figsize=(width, height))
    figure.text(
        gap / width,
        1 - 0.24 / height,
        f"{checked.name}: {len(shown)} of {len(checked.rows):,} masks; each image, and with its mask in pink "
        "(✗: not valid by the default rule)",
        va="center",
        fontsize=10,
        parse_math=False,
    )
    for place, (where, row, mask) in enumerate(zip(shown, rows, masks, strict=True)):
        line, column = divmod(place, columns)
        x, y = gap + column * (2 * cell + gap), height - head - line * (cell + text) - cell
        picture, small = tile(data, int(where), mask)
        both = np.concatenate([picture, paint(picture, small)], 1)
        axes = figure.add_axes((x / width, y / height, 2 * cell / width, cell / height))
        axes.imshow(both, aspect="auto")
        axes.set_axis_off()
        good = verdict[int(row)]
        note = f"{shortened(data.classes[data.labels[where]], 20)}  {100 * mask.mean():.1f} %{'' if good else '  ✗'}"
        colour = "black" if good else "#B00020"
        figure.text(
            (x + cell) / width,
            (y - 0.04) / height,
            note,
            ha="center",
            va="top",
            fontsize=8,
            color=colour,
            parse_math=False,
        )
    return figure
