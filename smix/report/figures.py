"""Pictures of a comparison: accuracy per epoch, distribution over seeds, and the same images under every method."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from smix import files
from smix.report.tables import by_method, rows_of
from smix.training.records import Run
from smix.training.samples import Samples

# Okabe and Ito's colours, told apart by colour-blind people too (yellow is left out: too pale on white), then darker ones.
COLOURS = ("#000000", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#7F4F24", "#5B3A8C", "#6B8E23")
MARKERS = "osD^vP*X<>h"
PINK = np.array([255, 20, 147])


def styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each name."""
    return {name: (COLOURS[n % len(COLOURS)], MARKERS[n % len(MARKERS)]) for n, name in enumerate(names)}


def save(figure: Figure, path: Path) -> Path:
    """As a PNG; without the date, so that the same figure is the same file."""
    with files.atomic(path) as file:
        figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return path


def accuracy_per_epoch(runs: Sequence[Run]) -> Figure:
    """Accuracy of each method on the validation images, or on the training images that stand in for them: the mean over the
    seeds that got to an epoch, and the band from least to most."""
    methods = by_method(runs)
    seeds = len({run.config.seed for run in runs})
    most = max(len(run.metrics) for run in runs)
    figure = Figure(figsize=(8.5, 4.8), layout="constrained")
    axes = figure.subplots()
    for (method, mine), (colour, marker) in zip(methods.items(), styles(list(methods)).values(), strict=True):
        lines = [[100 * epoch.val_accuracy for epoch in run.metrics] for run in mine]
        known = [[line[n] for line in lines if len(line) > n] for n in range(max(map(len, lines)))]
        finished = sum(run.result is not None for run in mine)
        label = method if finished == seeds else f"{method} ({finished} of {seeds} finished)"
        epochs = range(1, len(known) + 1)
        axes.plot(
            epochs,
            [np.mean(one) for one in known],
            color=colour,
            marker=marker,
            markevery=max(1, most // 12),
            label=label,
        )
        axes.fill_between(
            epochs, [min(one) for one in known], [max(one) for one in known], color=colour, alpha=0.12, lw=0
        )
    band = ", mean and range" if seeds > 1 else ""
    trained_on = any(run.config.val_fraction == 0 for run in runs)
    on = "Accuracy on a fixed part of the training images (%)" if trained_on else "Validation accuracy (%)"
    axes.set(xlabel="Epoch", ylabel=on)
    axes.set_title(f"Accuracy per epoch ({seeds} seed{'s' if seeds > 1 else ''}{band})", loc="left")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _clean(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


def accuracy_distribution(runs: Sequence[Run]) -> Figure:
    """Test accuracy of each run as a point, with the mean of each method and one standard deviation.

    A method that lacks runs has points only, as it has no mean in the table.
    """
    rows = rows_of(runs)
    methods = by_method(runs)
    figure = Figure(figsize=(max(6.5, 1.3 * len(rows) + 1.5), 4.8), layout="constrained")
    axes = figure.subplots()
    for place, (row, (colour, marker)) in enumerate(zip(rows, styles(list(methods)).values(), strict=True)):
        values = [100 * run.result.test_accuracy for run in methods[row.method] if run.result is not None]
        # Side by side in their own order, so that equal values do not hide each other.
        spread = np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else np.zeros(len(values))
        axes.scatter(place + spread, values, color=colour, marker=marker, s=36, alpha=0.85, zorder=3)
        if row.accuracy is None:
            continue
        mean, deviation = row.accuracy.mean, row.accuracy.std
        axes.hlines(mean, place - 0.33, place + 0.33, color=colour, linewidth=2, zorder=2)
        if row.accuracy.count > 1:
            axes.bar(place, 2 * deviation, 0.66, bottom=mean - deviation, color=colour, alpha=0.15, zorder=1)
        axes.annotate(f"{mean:.2f}", (place + 0.35, mean), va="center", fontsize=9, color=colour, annotation_clip=False)
    names = [
        _wrapped(row.method) + ("" if row.finished == row.planned else f"\n({row.finished} of {row.planned} runs)")
        for row in rows
    ]
    axes.set_xticks(range(len(rows)), names)
    axes.set_xlim(-0.6, len(rows) - 0.2)
    axes.use_sticky_edges = False  # a bar would have no margin below it
    axes.margins(y=0.12)
    axes.set(ylabel="Test accuracy (%)")
    axes.set_title("Accuracy distribution (line: mean, box: ± one standard deviation)", loc="left", fontsize=11)
    _clean(axes)
    return figure


@dataclass(frozen=True)
class _Band:
    """A band of a grid: one or more lines of images with one text under each column."""

    name: str
    lines: Sequence[NDArray[np.uint8]]
    """Each (n, H, W, C)."""
    texts: Sequence[str]

    @property
    def height(self) -> float:
        """In cells."""
        most = max(text.count("\n") + 1 for text in self.texts)
        return 1.04 * len(self.lines) + 0.13 * most + 0.12


def mixes(samples: Mapping[str, Samples], classes: Sequence[str]) -> Figure:
    """The same images under every method: the mix, under it the weight map (white: the own image), and the label shares."""
    first = next(iter(samples.values()))
    classes = [shortened(name) for name in classes]
    itself = np.arange(len(first.labels))
    bands = [_Band("own image", [first.images], [classes[label] for label in first.labels])]
    partner = itself.copy()
    for one in samples.values():  # `prob` below 1 leaves some unmixed; those that are mixed have the same partner
        partner = np.where(one.partner != itself, one.partner, partner)
    if all(((one.partner == partner) | (one.partner == itself)).all() for one in samples.values()):
        bands.append(_Band("partner", [first.images[partner]], [classes[label] for label in first.labels[partner]]))
    for method, one in samples.items():
        if (one.weight == 1).all():
            bands.append(_Band(method, [one.mixed], bands[0].texts))
        else:
            maps = np.rint(255 * one.weight).astype(np.uint8)[..., None]
            bands.append(_Band(method, [one.mixed, maps], [_label(one, n, classes) for n in range(len(itself))]))
    return _grid(bands, "Each method: the mix, its weight map (white: own image, black: partner), the label shares")


def _label(samples: Samples, n: int, classes: Sequence[str]) -> str:
    own, other = classes[samples.labels[n]], classes[samples.labels[samples.partner[n]]]
    if samples.partner[n] == n:
        return f"{own}\n(not mixed)" if (samples.weight[n] == 1).all() else f"{own}\n(blanked)"
    share = float(samples.share[n])
    text = f"{share:.2f} {own}\n{1 - share:.2f} {other}"
    if samples.fell_back[n]:
        return f"{text}\n(fell back)"
    return f"{text}\n(empty mask)" if share > 0 and not samples.weight[n].any() else text


def _grid(bands: Sequence[_Band], heading: str) -> Figure:
    left, head, gap = 1.5, 0.4, 0.06
    columns = len(bands[0].texts)
    width, height = max(6.5, left + columns * (1 + gap)), head + sum(band.height for band in bands)
    figure = Figure(figsize=(width, height))
    figure.text(0.1 / width, 1 - 0.2 / height, heading, va="center", fontsize=9)
    top = height - head
    for band in bands:
        figure.text(
            (left - 0.12) / width,
            (top - 0.5) / height,
            _wrapped(band.name),
            ha="right",
            va="center",
            fontsize=9,
            weight="bold",
            parse_math=False,
        )
        for column, text in enumerate(band.texts):
            x = left + column * (1 + gap)
            y = top
            for images in band.lines:
                axes = figure.add_axes((x / width, (y - 1) / height, 1 / width, 1 / height), xticks=[], yticks=[])
                image = images[column]
                axes.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
                axes.spines[:].set(color="#999999", linewidth=0.5)
                y -= 1.04
            figure.text(
                (x + 0.5) / width, (y - 0.01) / height, text, ha="center", va="top", fontsize=7, parse_math=False
            )
        top -= band.height
    return figure


def shortened(name: str, most: int = 11) -> str:
    """A class name that fits under an image."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def paint(image: UInt8[NDArray, "H W C"], mask: NDArray[np.bool_], strength: float = 0.55) -> UInt8[NDArray, "H W 3"]:
    """The image with its mask in pink."""
    colours = np.broadcast_to(image, (*image.shape[:2], 3)).astype(np.float64)
    painted = colours + mask[..., None] * strength * (PINK - colours)
    return np.rint(painted).astype(np.uint8)


def _wrapped(name: str) -> str:
    """A method's name in lines short enough for an axis."""
    for separator in (",", "+", "("):
        name = name.replace(separator, f"{separator}\n") if len(name) > 14 else name
    return name


def _clean(axes: Axes) -> None:
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def columns_for(count: int, widest: int = 12) -> int:
    """Columns of a contact sheet that is about as wide as high."""
    return max(1, min(widest, math.ceil(math.sqrt(count * 1.4))))
