"""The images and masks that a report shows beside the runs: they must be those of the runs."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smix.data.sets import load_data
from smix.errors import DataError, MaskError
from smix.masks import build_masks, load_source
from smix.masks.lookup import masks_of
from smix.report import pictures
from smix.report.reading import load_masks, load_test_images, read_comparison
from smix.report.records import Comparison
from smix.training.inputs import split
from tests.report.comparisons import assets_of
from tests.report.runs import CLASSES, TESTED, write_run
from tests.sealed import edit


def written(folder: Path, shape: tuple[int, ...], flipped: bool = False) -> str:
    """A data set of images of this shape; flipped: with other masks."""
    draws = np.random.default_rng(0)
    arrays = {"classes": np.array(CLASSES)}
    for part, count in (("train", 113), ("test", TESTED)):
        arrays[f"x_{part}"] = draws.integers(0, 255, (count, *shape)).astype(np.uint8)
        arrays[f"y_{part}"] = np.arange(count) % len(CLASSES)
        arrays[f"mask_{part}"] = (draws.random((count, *shape[:-1])) < 0.5) ^ flipped
    np.savez(folder / "made.npz", **arrays)
    return f"npz:{folder / 'made.npz'}"


def compared(folder: Path, data: str, where: str = "carried", loaded: bool = False) -> Comparison:
    """Of a run that used these masks; loaded: with the images in memory."""
    path = write_run(folder / "runs", "smix", 0, data=data, masks=where, train_limit=90)
    made = json.loads((path / "config.json").read_text())
    sets = {part: load_data(data, folder, part) for part in ("train", "test")}
    whole = sets["train"].loaded() if loaded else sets["train"]
    made["masks"] = masks_of(split(whole.take(90), 0.1)[0], where).provenance
    made["data"] |= {f"fingerprint_{part}": one.fingerprint for part, one in sets.items()}
    edit(path / "config.json", **{part: made[part] for part in ("masks", "data")})
    return read_comparison(folder / "runs")


def test_carried_masks_that_are_others_meanwhile_are_refused(tmp_path):
    found = compared(tmp_path, written(tmp_path, (9, 7, 3)))
    masks = load_masks(found, tmp_path)
    assert masks is not None
    assert len(masks.rows) == 113
    written(tmp_path, (9, 7, 3), flipped=True)
    with pytest.raises(MaskError, match="expected the masks that the runs used, got others"):
        load_masks(found, tmp_path)


def test_images_that_are_others_meanwhile_are_refused_without_their_path(tmp_path):
    found = compared(tmp_path, written(tmp_path, (9, 7, 3)))
    written(tmp_path, (7, 9, 3))
    with pytest.raises(DataError, match=r"^made: expected the images that the runs used, got others"):
        load_test_images(found, tmp_path)


def test_a_store_of_another_source_is_refused(tmp_path):
    data = written(tmp_path, (9, 7, 3))
    whole = load_data(data, tmp_path, "train")
    build_masks(whole, load_source("carried"), tmp_path / "store", "none")
    found = compared(tmp_path, data, str(tmp_path / "store"))
    assert load_masks(found, tmp_path) is not None
    (tmp_path / "store").rename(tmp_path / "old")
    written(tmp_path, (9, 7, 3), flipped=True)
    build_masks(load_data(data, tmp_path, "train"), load_source("carried"), tmp_path / "store", "none")
    with pytest.raises(MaskError, match="expected the masks that the runs used, got others"):
        load_masks(found, tmp_path)


def test_masks_of_files_that_a_run_had_in_memory_are_known_again(tmp_path):
    for part, count in (("train", 25), ("test", 4)):
        for label in (*CLASSES[:3], "d"):
            folder = tmp_path / "birds" / part / label.replace("/", "")
            folder.mkdir(parents=True)
            for n in range(count):
                Image.new("RGB", (8, 6), (n, 9, 9)).save(folder / f"{n}.png")
    data = f"folder:{tmp_path / 'birds'}"
    whole = load_data(data, tmp_path, "train")
    drawn = np.random.default_rng(0).random((100, 6, 8)) < 0.5
    for n in range(100):
        path = tmp_path / "masks" / f"{whole.stem(n)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn[n]).save(path)
    build_masks(whole, load_source(f"masks:{tmp_path / 'masks'}"), tmp_path / "store", "none")
    assert load_masks(compared(tmp_path, data, str(tmp_path / "store"), loaded=True), tmp_path) is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "drawn"), [((17, 2), False), ((5, 6, 7, 1), False), ((9, 7, 2), False), ((9, 7, 1), True)]
)
def test_data_without_pictures_is_not_drawn_and_its_valid_masks_are(tmp_path, shape, drawn):
    found = compared(tmp_path, written(tmp_path, shape))
    assets = assets_of(found.methods, load_test_images(found, tmp_path), load_masks(found, tmp_path))
    assert pictures.valid_masks(found, assets) is not None
    for draw in (pictures.contact_sheet, pictures.mistakes):
        assert (draw(found, assets) is not None) == drawn
