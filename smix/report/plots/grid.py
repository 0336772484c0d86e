"""Image grids: bands of images with captions, such as the mixes of each method."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from smix.report.plots.layout import (
    EDGE,
    WIDTH,
    Heading,
    axes_at,
    line_height,
    mark,
    sheet,
    shortened,
    text_width,
    wrapped,
    write,
)
from smix.report.style import SIZE, SMALL, SOFT, Style

PIXELS = 150
"""Pixels per inch; larger images are reduced."""
GAP = 0.05
"""Between two images below one another, in inches."""


@dataclass(frozen=True, eq=False)
class Tile:
    """Images below one another, and lines of text under them."""

    images: Sequence[UInt8[NDArray, "H W C"]]
    caption: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Band:
    """Tiles next to one another, below a title; `titles` has one title for the band, or one for each tile."""

    tiles: Sequence[Tile]
    titles: Sequence[str] = ()
    styles: Sequence[Style | None] = ()
    """Markers in front of the titles; None for no marker."""
    note: str = ""
    """Text after the title."""


def image_grid(
    heading: Heading, bands: Sequence[Band], columns: int, gap: float = 0.1, min_width: float = 0.0
) -> Figure:
    """Draw bands below one another.

    Args:
        columns: Tiles in a full band; the width of a figure is divided by it.
        gap: Space between two tiles in inches.
        min_width: Minimum width of a tile in inches; the figure grows to the right if necessary.
    """
    width = max(min_width, (WIDTH - 2 * EDGE - (columns - 1) * gap) / columns)
    shapes = [image.shape[:2] for band in bands for tile in band.tiles for image in tile.images]
    height = width * min(1.0, max((high / wide for high, wide in shapes), default=1.0))
    titles = [
        [wrapped(title, _title_width(band, columns, width, gap), SIZE, bold=True) for title in band.titles]
        for band in bands
    ]
    heads = [max(map(len, lines)) * line_height() + 0.06 if lines else 0.0 for lines in titles]
    stacks = [max(len(tile.images) for tile in band.tiles) * (height + GAP) - GAP for band in bands]
    feet = [max(len(tile.caption) for tile in band.tiles) * line_height(SMALL) + 0.14 for band in bands]
    full_width = 2 * EDGE + columns * width + (columns - 1) * gap
    figure, top = sheet(heading, sum((*heads, *stacks, *feet)), max(WIDTH, full_width))
    for band, lines, head, stack, foot in zip(bands, titles, heads, stacks, feet, strict=True):
        _write_titles(figure, top, band, lines, head, width + gap)
        for column, tile in enumerate(band.tiles):
            x = EDGE + column * (width + gap)
            for n, image in enumerate(tile.images):
                show_image(figure, x, top + head + n * (height + GAP), width, height, image)
            caption = [shortened(line, width) for line in tile.caption]
            write(figure, x, top + head + stack + 0.04 + len(caption) / 2 * line_height(SMALL), caption, SMALL)
        top += head + stack + foot
    return figure


def _title_width(band: Band, columns: int, width: float, gap: float) -> float:
    """Return the width of a title in inches: that of a tile, or of the whole band without its note and a marker."""
    if len(band.titles) > 1:
        return width - 0.2
    return columns * (width + gap) - gap - 0.3 - (text_width(band.note, SMALL) + 0.15 if band.note else 0.0)


def _write_titles(
    figure: Figure, top: float, band: Band, titles: Sequence[list[str]], head: float, step: float
) -> None:
    for column, (lines, style) in enumerate(zip(titles, band.styles or [None] * len(titles), strict=True)):
        x, first = EDGE + column * step, top + head - 0.06 - (len(lines) - 0.5) * line_height()
        if style is not None:
            mark(figure, x + 0.06, first, style)
            x += 0.18
        write(figure, x, first + (len(lines) - 1) / 2 * line_height(), lines, bold=True)
        if band.note:
            after = x + max(text_width(line, SIZE, bold=True) for line in lines) + 0.12
            write(figure, after, first, band.note, SMALL, colour=SOFT)


def show_image(
    figure: Figure, left: float, top: float, width: float, height: float, image: UInt8[NDArray, "H W C"]
) -> None:
    """Draw an image of 1 or 3 channels with a thin frame, as large as it fits, at the top left of a place in inches."""
    high, wide = image.shape[:2]
    scale = min(width / wide, height / high)
    axes = axes_at(figure, left, top, scale * wide, scale * high)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=SOFT, linewidth=0.5)
    colours = np.broadcast_to(image, (high, wide, 3))
    if scale * PIXELS < 1:
        size = (max(1, round(scale * wide * PIXELS)), max(1, round(scale * high * PIXELS)))
        colours = np.asarray(Image.fromarray(colours).resize(size, Image.Resampling.BOX))
    axes.imshow(colours, interpolation="none", aspect="auto")
