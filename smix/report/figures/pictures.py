"""Figures that show images: mixes, the most confident errors, and masks."""

import math

from matplotlib.figure import Figure

from smix.evaluation.scores import Mistake
from smix.plots.layout import Heading
from smix.plots.pictures import Band, Tile, image_grid, tile_width
from smix.report.images import best_pair, draw_mixes, drawable, mix_tile, partners, thumbnail
from smix.report.mask_check import draw_valid
from smix.report.page import figure
from smix.report.records import Comparison, ReportAssets
from smix.report.sheet import draw_sheet

MISTAKES = 5
"""Errors in a row: the names of classes are not readable under more of them."""
SIDE = 160
"""Longest side of a mistaken image, in pixels."""


@figure("mixes", raster=True)
def mixes(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the same images mixed by each method. None: no images."""
    if not comparison.samples:
        return None
    return draw_mixes(comparison.samples, comparison.classes, assets.styles)


@figure("pair", raster=True)
def pair(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the pair of images that most methods mix, large, with each mix, its weight map and its label weights.

    None: There are no images, or no method mixes any.
    """
    samples, classes = comparison.samples, comparison.classes
    if not samples or (own := best_pair(samples)) is None:
        return None
    first, width = next(iter(samples.values())), tile_width(3, 0.15)
    names = {"own image": own, "partner": int(partners(samples)[own])}
    tiles = [Tile([first.images[n]], [classes[first.labels[n]]]) for n in names.values()]
    bands = [Band(tiles, dict.fromkeys(names))]
    mixing = [method for method, one in samples.items() if not (one.weight == 1).all()]
    for row in (mixing[n : n + 3] for n in range(0, len(mixing), 3)):
        tiles = [mix_tile(samples[method], own, classes, width) for method in row]
        bands.append(Band(tiles, {method: assets.styles[method] for method in row}))
    heading = Heading(
        "One pair of images, mixed by each method",
        "The mix, and below it its weight map (white: own image, black: partner) and its label weights.",
    )
    return image_grid(heading, bands, 3, 0.15)


@figure("mistakes", raster=True)
def mistakes(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the most confident errors of the first seed of each method, with their predictions and labels.

    None: There are no test images, no predictions, or no errors.
    """
    images = assets.test_images
    if images is None or not drawable(images):
        return None
    bands = []
    for method in comparison.methods:
        scores = next(iter(comparison.scores_of(method).values()), None)
        if scores is None or not scores.mistakes:
            continue
        tiles = [
            Tile([thumbnail(images, one.row, SIDE)], _caption(comparison, one)) for one in scores.mistakes[:MISTAKES]
        ]
        level = next((one for one in scores.sure if one.low == 0.9), None)
        note = "" if level is None else f"{level.wrong:,} of {level.samples:,}"
        bands.append(Band(tiles, {method: assets.styles[method]}, note))
    if not bands:
        return None
    heading = Heading(
        "The most confident errors",
        "Test images, with the prediction, its confidence, and the label. Next to each method: wrong predictions with a confidence "
        "above 90 %.",
    )
    return image_grid(heading, bands, MISTAKES, 0.1)


def _caption(comparison: Comparison, mistake: Mistake) -> list[str]:
    confidence = math.floor(1e4 * mistake.confidence) / 100  # 99.996 % is not 100
    predicted, label = comparison.classes[mistake.predicted], comparison.classes[mistake.label]
    return [f"predicted {predicted}", f"{confidence:.2f} % sure", f"label {label}"]


@figure("valid-masks")
def valid_masks(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the shares of valid and invalid masks. None: no masks."""
    return None if assets.masks is None else draw_valid([assets.masks])


@figure("contact-sheet", raster=True)
def contact_sheet(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw images next to their masks. None: no masks, or images that cannot be drawn."""
    return None if assets.masks is None or not drawable(assets.masks.data) else draw_sheet(assets.masks)
