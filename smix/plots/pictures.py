"""Matrices as heat maps, and grids of images with captions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from smix.plots import layout
from smix.plots.charts import panels
from smix.plots.layout import EDGE, WIDTH, Heading, line_height, shortened, signed, text_width, write
from smix.plots.style import SIZE, SMALL, SOFT, TEXT, Style

NAMED, NUMBERED = 16, 10
"""Maximum numbers of classes whose names fit next to a matrix, and whose numbers fit into its cells."""
NAME = 0.85
"""Maximum width of the name of a class, in inches."""
CELLS = 250
"""Maximum number of visible cells per side; in larger matrices, the largest of neighbouring values is drawn."""
PIXELS = 150
"""Pixels per inch; larger images are reduced."""
PINK = np.array([255, 20, 147])
"""Colour of object masks."""
GAP = 0.05
"""Vertical space between two images, in inches."""


@dataclass(frozen=True)
class ColourScale:
    """Colours of cells: the opacity is the square root of |value| / maximum, on the background of the page.

    The square root makes small values visible: a class is mistaken in a few percent of its images, and correct in most.
    """

    maximum: float
    positive: str
    negative: str
    opacity: float = 1.0
    """Opacity at the maximum, in [0, 1]. Text on an opaque cell is white."""

    def colours(self, values: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 4"]:
        """Return the colour of each cell as RGBA; NaN is transparent."""
        values = np.nan_to_num(values)[..., None]
        strength = self.opacity * np.sqrt(np.abs(values) / self.maximum)
        colours = np.where(values >= 0, to_rgb(self.positive), to_rgb(self.negative))
        rgba: NDArray[np.float64] = np.rint(255 * np.concatenate([colours, strength], -1))
        return rgba.astype(np.uint8)


def matrices(
    heading: Heading,
    values: Mapping[str, Float[np.ndarray, "k k"]],
    classes: Sequence[str],
    scale: ColourScale,
    labels: Mapping[str, str],
    styles: Mapping[str, Style],
    notes: Mapping[str, str],
    unit: str = "",
) -> Figure:
    """Draw the matrix of each method on one colour scale.

    Args:
        values: Matrix of each method; NaN for unknown cells.
        classes: Names of rows and columns; more than `NAMED` are numbered.
        labels: Name of each method as it is shown.
        notes: Line above each matrix.
        unit: Unit of the values in a colour bar; empty: no colour bar.
    """
    names = [shortened(name, NAME) for name in classes] if len(classes) <= NAMED else []
    left = max((text_width(name, SMALL) for name in names), default=0.3) + 0.12
    columns, below = 3 if not names and len(values) > 4 else 2, 0.4 if unit else 0.0
    figure, axes = panels(heading, labels, styles, notes, columns, left=left, foot=left + 0.1, below=below)
    for n, (method, one) in enumerate(axes.items()):
        one.spines[:].set(visible=True, linewidth=0.5)
        _draw_cells(one, values[method], scale)
        if names:
            ticks = range(len(names))
            one.set_xticks(ticks, names, rotation=90, rotation_mode="anchor", ha="right", va="center")
            one.set_yticks(ticks, names if n % columns == 0 else [""] * len(names))
            one.tick_params(length=0)
        else:
            for axis in (one.xaxis, one.yaxis):
                axis.set_major_locator(MaxNLocator(4, integer=True))
            one.tick_params(labelleft=n % columns == 0)
    if unit:
        _draw_colour_bar(figure, scale, unit)
    return figure


def _draw_cells(axes: Axes, values: Float[np.ndarray, "k k"], scale: ColourScale) -> None:
    """Draw the cells, and the number in each that does not round to 0, if it fits, with hyphens as minus signs."""
    ratio = -(-len(values) // CELLS)
    colours = scale.colours(values if ratio == 1 else _largest(np.nan_to_num(values), ratio))
    last = ratio * len(colours) - 0.5
    axes.imshow(colours, interpolation="none", extent=(-0.5, last, last, -0.5))
    if len(values) > NUMBERED:
        return
    _, _, ((left, _), (right, _)) = layout.in_inches(axes, np.zeros((1, 2)))
    for (row, column), value in np.ndenumerate(np.nan_to_num(values)):
        text = f"{value:.0f}"
        if float(text) and text_width(text, SMALL) < (right - left) / len(values):
            colour = "white" if scale.opacity == 1 and colours[row, column, 3] > 153 else TEXT
            axes.text(column, row, text, ha="center", va="center_baseline", fontsize=SMALL, color=colour)


def _largest(matrix: Float[np.ndarray, "k k"], ratio: int) -> Float[np.ndarray, "m m"]:
    """Return the value farthest from 0 in each square of `ratio` cells per side; the last squares may be smaller."""
    starts = np.arange(0, len(matrix), ratio)
    high, low = (f.reduceat(f.reduceat(matrix, starts, 0), starts, 1) for f in (np.maximum, np.minimum))
    return np.where(high >= -low, high, low)


def _draw_colour_bar(figure: Figure, scale: ColourScale, unit: str) -> None:
    """Draw the colours and their numbers at the bottom of the figure."""
    width, height, top = 2.2, 0.13, figure.get_figheight() - 0.3
    left = (WIDTH - width) / 2
    axes = layout.axes_at(figure, left, top, width, height)
    colours = scale.colours(np.linspace(-scale.maximum, scale.maximum, 101)[None])
    axes.imshow(colours, interpolation="none", aspect="auto")
    axes.set_axis_off()
    write(figure, left - 0.08, top + height / 2, signed(-scale.maximum, 1), ha="right")
    write(figure, left + width + 0.08, top + height / 2, f"{signed(scale.maximum, 1)} {unit}")


@dataclass(frozen=True, eq=False)
class Tile:
    """Images below one another, and lines of text under them."""

    images: Sequence[UInt8[np.ndarray, "_ _ _"]]
    """Images (H, W, C) of 1 or 3 channels."""
    caption: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Band:
    """Tiles next to one another."""

    tiles: Sequence[Tile]
    titles: Mapping[str, Style | None]
    """Titles with their markers, None for no marker: one for the band, or one for each tile."""
    note: str = ""
    """Text after the title of the band."""


def tile_width(columns: int, gap: float, minimum: float = 0.0) -> float:
    """Return the width of a tile in inches, given the number of columns of a figure."""
    return max(minimum, (WIDTH - 2 * EDGE - (columns - 1) * gap) / columns)


def image_grid(heading: Heading, bands: Sequence[Band], columns: int, gap: float, min_width: float = 0.0) -> Figure:
    """Draw bands below one another.

    Args:
        columns: Tiles in a full band.
        gap: Space between two tiles in inches.
        min_width: Minimum width of a tile in inches; the figure grows to the right if necessary.
    """
    width = tile_width(columns, gap, min_width)
    shapes = [image.shape for band in bands for tile in band.tiles for image in tile.images]
    height = width * min(1.0, max((shape[0] / shape[1] for shape in shapes), default=1.0))
    titles, heads, stacks, feet = [], [], [], []
    for band in bands:
        room = width if len(band.titles) > 1 else WIDTH - 2 * EDGE - text_width(band.note, SMALL) - 0.2
        titles.append([layout.wrapped(title, room - 0.2, SIZE, bold=True) for title in band.titles])
        heads.append(max(map(len, titles[-1]), default=0) * line_height() + (0.06 if band.titles else 0.0))
        stacks.append(max(len(tile.images) for tile in band.tiles) * (height + GAP))
        feet.append(max(len(tile.caption) for tile in band.tiles) * line_height(SMALL) + 0.1)
    figure, top = layout.sheet(
        heading, sum((*heads, *stacks, *feet)), max(WIDTH, columns * (width + gap) + 2 * EDGE - gap)
    )
    for band, names, head, stack, foot in zip(bands, titles, heads, stacks, feet, strict=True):
        for column, (lines, style) in enumerate(zip(names, band.titles.values(), strict=True)):
            end = layout.title(figure, EDGE + column * (width + gap), top + head - 0.06, lines, style)
            write(figure, end + 0.12, top + line_height() / 2, band.note, color=SOFT)
        for column, tile in enumerate(band.tiles):
            x, y = EDGE + column * (width + gap), top + head
            for n, image in enumerate(tile.images):
                show_image(figure, x, y + n * (height + GAP), width, height, image)
            caption = [shortened(line, width) for line in tile.caption]
            write(figure, x, y + stack + len(caption) / 2 * line_height(SMALL), caption)
        top += head + stack + foot
    return figure


def show_image(
    figure: Figure, left: float, top: float, width: float, height: float, image: UInt8[np.ndarray, "H W C"]
) -> None:
    """Draw an image of 1 or 3 channels with a thin frame, as large as it fits, at the top left of a rectangle."""
    high, wide = image.shape[:2]
    scale = min(width / wide, height / high)
    axes = layout.axes_at(figure, left, top, scale * wide, scale * high)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=SOFT, linewidth=0.5)
    colours = np.broadcast_to(image, (high, wide, 3))
    if scale * PIXELS < 1:
        size = (max(1, round(scale * wide * PIXELS)), max(1, round(scale * high * PIXELS)))
        colours = np.asarray(Image.fromarray(colours).resize(size, Image.Resampling.BOX))
    axes.imshow(colours, interpolation="none", aspect="auto")


def is_picture(shape: tuple[int, ...]) -> bool:
    """Return whether an array with this shape is an image with 1 or 3 channels, not a signal or a volume."""
    return len(shape) == 3 and shape[-1] in (1, 3)


def paint(
    image: UInt8[np.ndarray, "H W C"], mask: Bool[np.ndarray, "H W"], strength: float = 0.55
) -> UInt8[np.ndarray, "H W 3"]:
    """Return the image with its mask in pink; `strength` in [0, 1] is the opacity of the pink."""
    colours = np.broadcast_to(image, (*image.shape[:2], 3)).astype(np.float64)
    painted = colours + mask[..., None] * strength * (PINK - colours)
    return np.rint(painted).astype(np.uint8)
