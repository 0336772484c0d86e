"""Test that the images and masks of a report are those of its runs."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smix.data.sets import load_data
from smix.errors import DataError, MaskError
from smix.masks import build_masks, load_source
from smix.masks.lookup import masks_of
from smix.report import mask_check, pictures
from smix.report.comparison import Comparison
from smix.report.reading import load_masks, load_test_images, read_comparison
from smix.training.inputs import split
from tests.report.comparisons import assets_of
from tests.report.runs import CLASSES, TESTED, write_run
from tests.sealed import edit


def written(folder: Path, shape: tuple[int, ...], flipped: bool = False) -> str:
    """Write a data set of images of this shape; flipped: with other masks."""
    draws = np.random.default_rng(0)
    arrays = {"classes": np.array(CLASSES)}
    for part, count in (("train", 113), ("test", TESTED)):
        arrays[f"x_{part}"] = draws.integers(0, 255, (count, *shape)).astype(np.uint8)
        arrays[f"y_{part}"] = np.arange(count) % len(CLASSES)
        arrays[f"mask_{part}"] = (draws.random((count, *shape[:-1])) < 0.5) ^ flipped
    np.savez(folder / "made.npz", **arrays)
    return f"npz:{folder / 'made.npz'}"


def compared(folder: Path, data: str, where: str = "carried", loaded: bool = False) -> Comparison:
    """Return the comparison of a run that used these masks; loaded: with the images in memory."""
    path = write_run(folder / "runs", "smix", 0, data=data, masks=where, train_limit=90)
    made = json.loads((path / "config.json").read_text())
    sets = {part: load_data(data, folder, part) for part in ("train", "test")}
    images = sets["train"].loaded() if loaded else sets["train"]
    made["masks"] = masks_of(split(images.take(90), 0.1)[0], where).provenance
    made["data"] |= {f"fingerprint_{part}": one.fingerprint for part, one in sets.items()}
    edit(path / "config.json", **{part: made[part] for part in ("masks", "data")})
    return read_comparison(folder / "runs")


def test_changed_carried_masks_are_refused(tmp_path):
    result = compared(tmp_path, written(tmp_path, (9, 7, 3)))
    masks = load_masks(result, tmp_path)
    assert masks is not None
    assert len(masks.rows) == 113
    written(tmp_path, (9, 7, 3), flipped=True)
    with pytest.raises(MaskError, match=r"expected the masks that the runs used .*, got different masks"):
        load_masks(result, tmp_path)


def test_changed_images_are_refused_without_naming_their_path(tmp_path):
    result = compared(tmp_path, written(tmp_path, (9, 7, 3)))
    written(tmp_path, (7, 9, 3))
    with pytest.raises(DataError, match=r"^made: expected the images that the runs used .*, got different images"):
        load_test_images(result, tmp_path)


def test_a_store_of_another_source_is_refused(tmp_path):
    data = written(tmp_path, (9, 7, 3))
    images = load_data(data, tmp_path, "train")
    build_masks(images, load_source("carried"), tmp_path / "store", "none")
    result = compared(tmp_path, data, str(tmp_path / "store"))
    assert load_masks(result, tmp_path) is not None
    (tmp_path / "store").rename(tmp_path / "old")
    written(tmp_path, (9, 7, 3), flipped=True)
    build_masks(load_data(data, tmp_path, "train"), load_source("carried"), tmp_path / "store", "none")
    with pytest.raises(MaskError, match=r"expected the masks that the runs used .*, got different masks"):
        load_masks(result, tmp_path)


def test_masks_of_files_kept_in_memory_are_recognised(tmp_path):
    for part, count in (("train", 25), ("test", 4)):
        for label in (*CLASSES[:3], "d"):
            folder = tmp_path / "birds" / part / label.replace("/", "")
            folder.mkdir(parents=True)
            for n in range(count):
                Image.new("RGB", (8, 6), (n, 9, 9)).save(folder / f"{n}.png")
    data = f"folder:{tmp_path / 'birds'}"
    images = load_data(data, tmp_path, "train")
    drawn = np.random.default_rng(0).random((100, 6, 8)) < 0.5
    for n in range(100):
        path = tmp_path / "masks" / f"{images.stem(n)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn[n]).save(path)
    build_masks(images, load_source(f"masks:{tmp_path / 'masks'}"), tmp_path / "store", "none")
    assert load_masks(compared(tmp_path, data, str(tmp_path / "store"), loaded=True), tmp_path) is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "drawn"), [((17, 2), False), ((5, 6, 7, 1), False), ((9, 7, 2), False), ((9, 7, 1), True)]
)
def test_data_without_drawable_images_shows_only_valid_masks(tmp_path, shape, drawn):
    result = compared(tmp_path, written(tmp_path, shape))
    assets = assets_of(list(result.by_method), load_test_images(result, tmp_path), load_masks(result, tmp_path))
    assert mask_check.valid_masks(result, assets) is not None
    for draw in (mask_check.contact_sheet, pictures.mistakes):
        assert (draw(result, assets) is not None) == drawn
