"""The picture of `smix mix`: the same images of a data set under every method."""

from collections.abc import Sequence
from pathlib import Path

from smix.data import load_data
from smix.errors import DataError
from smix.masks.lookup import masks_of
from smix.mixing import parse_method
from smix.report.mix_figures import mixes
from smix.report.render import check_picture, save
from smix.training.samples import draw_samples

MOST = 16
"""More images cannot be read in one picture."""


def write_mixes(
    out: Path, methods: Sequence[str], data: str, masks: str, count: int, seed: int, data_root: Path
) -> Path:
    """Draw `count` images of the training split of `data` under each method, and write the picture, a PNG or an SVG.

    Raises:
        DataError: too few or too many images, or images without 2 spatial dimensions.
        MaskError: a method needs masks, and there are none.
        OptionError: an unknown method, or a picture of another format.
    """
    if not 2 <= count <= MOST:
        raise DataError(f"count: expected 2 to {MOST} images (more cannot be read in one picture), got {count}")
    check_picture(out)
    chosen = {text: parse_method(text) for text in methods}
    images = load_data(data, data_root, "train")
    shown = images.take(min(count, len(images))).loaded()
    if shown.array.ndim != 4:
        raise DataError(f"{data}: expected images with 2 spatial dimensions to draw, got size {shown.size}")
    found = masks_of(shown, masks) if any(method.needs_masks for method in chosen.values()) else None
    samples = {
        text: draw_samples(method, shown, seed, *((found.masks, found.valid) if found else ()))
        for text, method in chosen.items()
    }
    return save(mixes(samples, images.classes), out)
