"""Images of the data: thumbnails, the mixes of methods, the most confident errors, and masks."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, UInt8
from matplotlib.figure import Figure
from PIL import Image

from smix.data import load_data
from smix.data.sets import ImageSet
from smix.data.streaming import SIDE as CROPPED
from smix.data.streaming import as_evaluated
from smix.errors import DataError
from smix.evaluation.scores import Mistake
from smix.masks.lookup import ObjectMasks, masks_of
from smix.mixing import parse_method
from smix.plots.layout import Heading, shortened, text_width
from smix.plots.pictures import Band, Tile, image_grid, is_picture, tile_width
from smix.plots.style import SMALL, Style, looks
from smix.plots.svg import check_picture, save
from smix.report.comparison import Comparison, ReportAssets
from smix.training.samples import Samples, draw_samples

GREY = 128
MAX_MIXES = 16
"""Maximum number of images in one figure of mixes: more are too small to see."""
MIN_WIDTH = 0.62
"""Minimum width of a mixed image, in inches."""
GAP = 0.05
"""Space between two mixed images, in inches."""


def drawable(data: ImageSet) -> bool:
    """Return whether the images of a data set can be drawn."""
    return is_picture((*(data.size or (1, 1)), data.channels))


def thumbnail(data: ImageSet, index: int, side: int) -> UInt8[np.ndarray, "h w 3"]:
    """Return an image reduced to sides of at most `side` pixels; a grey square for a file that cannot be read."""
    try:
        image = data.images[index]
    except DataError:
        return np.full((side, side, 3), GREY, np.uint8)
    picture = Image.fromarray(np.broadcast_to(image, (*image.shape[:2], 3)))
    picture.thumbnail((side, side))
    return np.asarray(picture)


def write_mixes(
    out: Path, methods: Sequence[str], data: str, masks: str, count: int, seed: int, data_root: Path
) -> Path:
    """Mix `count` training images of `data` by each method, and write the figure as PNG or SVG.

    Raises:
        DataError: There are too few or too many images, or images without 2 spatial dimensions.
        MaskError: A method needs masks, and there are none.
        OptionError: A method is unknown, or the file name does not end in .png or .svg.
    """
    if not 2 <= count <= MAX_MIXES:
        raise DataError(f"count: expected 2 to {MAX_MIXES} images (more would be too small to see), got {count}")
    check_picture(out)
    parsed = {text: parse_method(text) for text in methods}
    images = load_data(data, data_root, "train")
    chosen = images.take(min(count, len(images)))
    if chosen.size is not None and len(chosen.size) != 2:
        raise DataError(f"{data}: expected images with 2 spatial dimensions to draw, got size {chosen.size}")
    shown = chosen if chosen.size is None else chosen.loaded()
    found = masks_of(shown, masks) if any(method.needs_masks for method in parsed.values()) else None
    shown, shown_masks = (shown, found and found.masks) if shown.size else _cropped(shown, found)
    mask_arrays = (shown_masks, found.valid) if found else ()
    samples = {text: draw_samples(method, shown, seed, *mask_arrays) for text, method in parsed.items()}
    return save(draw_mixes(samples, images.classes), out)


def _cropped(images: ImageSet, masks: ObjectMasks | None) -> tuple[ImageSet, Bool[np.ndarray, "n H W"] | None]:
    """Resize and crop images of different sizes, and their masks, to one size as in evaluation."""
    return as_evaluated(images, (CROPPED, CROPPED), np.arange(len(images)), None if masks is None else masks.masks)


@looks
def draw_mixes(
    samples: Mapping[str, Samples], classes: Sequence[str], styles: Mapping[str, Style] | None = None
) -> Figure:
    """Draw the same images mixed by each method: below each mix its weight map (white: own image) and its label weights.

    Args:
        samples: Mixes by method, all of the same images.
        styles: Markers in front of the methods; None: no markers.
    """
    first = next(iter(samples.values()))
    count = len(first.labels)
    width = tile_width(count, GAP, MIN_WIDTH)
    names = [classes[label] for label in first.labels]
    bands = [
        Band([Tile([image], [name]) for image, name in zip(first.images, names, strict=True)], {"own image": None})
    ]
    partner = partners(samples)
    if all(((one.partner == partner) | (one.partner == np.arange(count))).all() for one in samples.values()):
        bands.append(Band([Tile([first.images[n]], [names[n]]) for n in partner], {"partner": None}))
    for method, one in samples.items():
        marker = None if styles is None else styles[method]
        bands.append(Band([mix_tile(one, n, classes, width) for n in range(count)], {method: marker}))
    heading = Heading(
        "The same images mixed by each method",
        "Each mix shows its own image where the weight map is white, and its partner where it is black. The numbers are the label "
        "weights.",
    )
    return image_grid(heading, bands, count, GAP, MIN_WIDTH)


def mix_tile(samples: Samples, n: int, classes: Sequence[str], width: float) -> Tile:
    """Return a mix, its weight map and its label weights, such as "cat: 0.25"; names are shortened to `width` inches.

    A method that mixes no image has no weight maps.
    """
    if (samples.weight == 1).all():
        return Tile([samples.mixed[n]])
    partner, share = samples.partner[n], float(samples.share[n])
    state = _state(samples, n)
    caption = [state]
    if partner != n:
        room = width - text_width(": 0.00", SMALL)
        names = [shortened(classes[samples.labels[place]], room) for place in (n, partner)]
        caption = [f"{names[0]}: {share:.2f}", f"{names[1]}: {1 - share:.2f}", *([state] if state else [])]
    weight = np.rint(255 * samples.weight[n]).astype(np.uint8)[..., None]
    return Tile([samples.mixed[n], weight], caption)


def _state(samples: Samples, n: int) -> str:
    """Return a short note on a special mix, such as "unmixed"; an empty string for any other."""
    if samples.partner[n] == n:
        return "unmixed" if (samples.weight[n] == 1).all() else "blanked"
    if samples.fell_back[n]:
        return "fell back"
    return "empty" if samples.share[n] > 0 and not samples.weight[n].any() else ""


def partners(samples: Mapping[str, Samples]) -> Int[np.ndarray, "n"]:
    """Return the partner of each image under the first method that mixes it; some methods leave some images unmixed."""
    itself = np.arange(len(next(iter(samples.values())).labels))
    found = itself.copy()
    for one in reversed(list(samples.values())):
        found = np.where(one.partner != itself, one.partner, found)
    return found


def best_pair(samples: Mapping[str, Samples]) -> int | None:
    """Return the image that most methods mix with its partner; None if no method mixes any.

    If there are several, an image whose partner has another class is preferred, then the one whose mixes show most of both
    images.
    """
    partner, labels = partners(samples), next(iter(samples.values())).labels
    ranked: list[tuple[int, bool, float, int]] = []
    for n in range(len(labels)):
        weights = [float(one.weight[n].mean()) for one in samples.values() if one.partner[n] == partner[n] != n]
        both = sum(min(weight, 1 - weight) for weight in weights)
        ranked.append((len(weights), bool(labels[n] != labels[partner[n]]), both, -n))
    best = max(ranked, default=(0, False, 0.0, 0))
    return -best[3] if best[0] else None


MISTAKES = 5
"""Number of errors in a row: with more, the class names would not be readable."""
SIDE = 160
"""Longest side of a misclassified image, in pixels."""


@looks
def mixes(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the same images mixed by each method; return None if there are no images."""
    if not comparison.samples:
        return None
    return draw_mixes(comparison.samples, comparison.classes, assets.styles)


@looks
def pair(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the pair of images that most methods mix, large, with each mix, its weight map and its label weights.

    Returns None if there are no images, or no method mixes any.
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


@looks
def mistakes(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the most confident errors of the first seed of each method, with their predictions and labels.

    Returns None if there are no test images, no predictions, or no errors.
    """
    images = assets.test_images
    if images is None or not drawable(images):
        return None
    bands = []
    for method, seeds in comparison.scores.items():
        scores = next(iter(seeds.values()))
        if not scores.mistakes:
            continue
        tiles = [
            Tile([thumbnail(images, one.row, SIDE)], _caption(comparison.classes, one))
            for one in scores.mistakes[:MISTAKES]
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


def _caption(classes: Sequence[str], mistake: Mistake) -> list[str]:
    confidence = math.floor(1e4 * mistake.confidence) / 100  # 99.996 % is not 100
    predicted, label = classes[mistake.predicted], classes[mistake.label]
    return [f"predicted {predicted}", f"{confidence:.2f} % sure", f"label {label}"]
