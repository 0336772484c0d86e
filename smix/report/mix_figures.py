"""Draw the mixes of methods: the same ones under every method, with weight maps and label shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from numpy.typing import NDArray

from smix.report.comparison import Comparison
from smix.report.images import show
from smix.report.layout import EDGE, WIDTH, Heading, line_height, mark, sheet, shortened, width_of, wrapped, write
from smix.report.style import SIZE, SMALL, Style, looks
from smix.training.samples import Samples

CELL = (0.58, 1.3)
"""Least and most side of an image in a grid of several."""
GAP = 0.05


@looks
def mixes(samples: Mapping[str, Samples], classes: Sequence[str]) -> Figure:
    """Draw the same images under every method: each mix, below it its weight map (white: the image) and its label weights.

    Args:
        samples: Of each method, all of the same images.
    """
    first = next(iter(samples.values()))
    count = len(first.labels)
    left = 1.28
    cell = float(np.clip((WIDTH - EDGE - left) / count - GAP, *CELL))
    bands = [_Band("own image", [first.images], [[classes[label]] for label in first.labels.tolist()])]
    partner = partners(samples)
    if all(((one.partner == partner) | (one.partner == np.arange(count))).all() for one in samples.values()):
        names = [[classes[label]] for label in first.labels[partner].tolist()]
        bands.append(_Band("partner", [first.images[partner]], names))
    for method, one in samples.items():
        if (one.weight == 1).all():
            bands.append(_Band(method, [one.mixed], [[]] * count))
        else:
            bands.append(
                _Band(method, [one.mixed, _maps(one)], [_weights(one, n, classes, cell) for n in range(count)])
            )
    heading = Heading(
        "The same images mixed by each method",
        "Each mix shows the image where its weight map is white, and its partner where it is black. The numbers are the label "
        "weights.",
    )
    height = sum(band.height(cell) for band in bands)
    figure = sheet(heading, height, max(WIDTH, left + count * (cell + GAP) + EDGE))
    top = heading.height
    for band in bands:
        write(
            figure,
            left - 0.1,
            top + cell / 2,
            wrapped(band.name, left - 0.15, SMALL, bold=True),
            SMALL,
            "right",
            bold=True,
        )
        for column, lines in enumerate(band.texts):
            x = left + column * (cell + GAP)
            for row, images in enumerate(band.images):
                show(figure, x, top + row * (cell + GAP), cell, cell, images[column])
            below = top + len(band.images) * (cell + GAP) + len(lines) * line_height(SMALL) / 2
            write(figure, x + cell / 2, below, [shortened(line, cell) for line in lines], SMALL, "center")
        top += band.height(cell)
    return figure


@looks
def pair(comparison: Comparison, styles: Mapping[str, Style]) -> Figure | None:
    """One pair of images, large, and what each method makes of it: the mix, its weight map, the label shares.

    It is the pair that most methods mix, of two classes if there is one, and of those the one of which most is seen of both.
    None: there are no images, or no method mixes any.
    """
    samples, classes = comparison.samples, comparison.classes
    if not samples or (own := best_pair(samples)) is None:
        return None
    other = int(partners(samples)[own])
    first = next(iter(samples.values()))
    columns, gap = 3, 0.15
    cell = (WIDTH - 2 * EDGE - (columns - 1) * gap) / columns
    high = cell * min(1.0, first.images.shape[1] / first.images.shape[2])
    shown = {method: one for method, one in samples.items() if not (one.weight == 1).all()}
    titles = {method: wrapped(method, cell - 0.2, SIZE, bold=True) for method in shown}
    rows = [list(shown)[n : n + columns] for n in range(0, len(shown), columns)]
    heads = [max(len(titles[method]) for method in row) * line_height() + 0.06 for row in rows]
    foot = line_height(SMALL) * 2 + 0.15
    heading = Heading(
        "One pair of images, mixed by every method",
        "Each method's mix, and below it its weight map (white: own image, black: partner), and the shares of the labels.",
    )
    figure = sheet(heading, line_height() + 0.06 + high + foot + sum(heads) + len(rows) * (2 * high + GAP + foot))
    top = heading.height + line_height() + 0.06
    for column, (name, place) in enumerate((("own image", own), ("partner", other))):
        x = EDGE + column * (cell + gap)
        write(figure, x, top - 0.06 - line_height() / 2, name, bold=True)
        show(figure, x, top, cell, high, first.images[place])
        write(figure, x, top + high + 0.1, shortened(classes[first.labels[place]], cell), SMALL)
    top += high + foot
    for row, head in zip(rows, heads, strict=True):
        top += head
        for column, method in enumerate(row):
            x, one, lines = EDGE + column * (cell + gap), shown[method], titles[method]
            above = top - 0.06 - (len(lines) - 0.5) * line_height()
            mark(figure, x + 0.06, above, styles[method])
            write(figure, x + 0.18, above + (len(lines) - 1) / 2 * line_height(), lines, bold=True)
            show(figure, x, top, cell, high, one.mixed[own])
            show(figure, x, top + high + GAP, cell, high, _maps(one)[own])
            said = [shortened(line, cell) for line in _shares(one, own, classes)]
            write(figure, x, top + 2 * high + GAP + 0.06 + len(said) * line_height(SMALL) / 2, said, SMALL)
        top += 2 * high + GAP + foot
    return figure


def partners(samples: Mapping[str, Samples]) -> NDArray[np.int64]:
    """The partner of each image: that of the first method that gives it another one, as some leave some images unmixed."""
    itself = np.arange(len(next(iter(samples.values())).labels))
    found = itself.copy()
    for one in reversed(list(samples.values())):
        found = np.where(one.partner != itself, one.partner, found)
    return found


def best_pair(samples: Mapping[str, Samples]) -> int | None:
    """The place of the image to show: see `pair`."""
    partner, labels = partners(samples), next(iter(samples.values())).labels
    found: list[tuple[int, bool, float, int]] = []
    for n in range(len(labels)):
        weights = [float(one.weight[n].mean()) for one in samples.values() if one.partner[n] == partner[n] != n]
        both = sum(min(weight, 1 - weight) for weight in weights)
        found.append((len(weights), bool(labels[n] != labels[partner[n]]), both, -n))
    best = max(found, default=(0, False, 0.0, 0))
    return -best[3] if best[0] else None


@dataclass(frozen=True)
class _Band:
    """A band of a grid: one or more rows of images with some lines under each column."""

    name: str
    images: Sequence[UInt8[NDArray, "n H W _"]]
    texts: Sequence[Sequence[str]]

    def height(self, cell: float) -> float:
        lines = max(len(text) for text in self.texts)
        names = len(wrapped(self.name, 1.15, SMALL, bold=True)) * line_height(SMALL)
        return max(len(self.images) * (cell + GAP) + lines * line_height(SMALL), names) + 0.1


def _maps(samples: Samples) -> UInt8[NDArray, "n H W 1"]:
    return np.rint(255 * samples.weight).astype(np.uint8)[..., None]


def _state(samples: Samples, n: int) -> str:
    """Describe a mix next to its shares."""
    if samples.partner[n] == n:
        return "unmixed" if (samples.weight[n] == 1).all() else "blanked"
    if samples.fell_back[n]:
        return "fell back"
    return "empty" if samples.share[n] > 0 and not samples.weight[n].any() else ""


def _weights(samples: Samples, n: int, classes: Sequence[str], width: float) -> list[str]:
    """Lines for a narrow column, such as "cat: 0.25", "dog: 0.75" and what else became of the mix."""
    state = _state(samples, n)
    if samples.partner[n] == n:
        return [state]
    share, room = float(samples.share[n]), width - width_of(": 0.00", SMALL)
    names = [shortened(classes[samples.labels[place]], room) for place in (n, samples.partner[n])]
    return [f"{names[0]}: {share:.2f}", f"{names[1]}: {1 - share:.2f}", *filter(None, [state])]


def _shares(samples: Samples, n: int, classes: Sequence[str]) -> list[str]:
    own, other = classes[samples.labels[n]], classes[samples.labels[samples.partner[n]]]
    share, state = float(samples.share[n]), _state(samples, n)
    if samples.partner[n] == n:
        return [own, state]
    return [f"{share:.2f} {own}", f"{1 - share:.2f} {other}" + (f" ({state})" if state else "")]
