"""Test masks that are exported to files, corrected, and read back."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from smix import load_data
from smix.errors import MaskError, RunError
from smix.masks import build_masks, load_source
from smix.masks.export import export
from smix.masks.sources import Segmentation
from smix.masks.sources.places import EXPORTED
from tests.conftest import make_set
from tests.masks.stores import BrightnessSource


@pytest.fixture
def data():
    data = make_set(20)
    data.masks[7] = False
    return data


@pytest.fixture
def store(data, tmp_path):
    return build_masks(data, load_source("carried"), tmp_path / "store", refine="none")


@pytest.mark.parametrize("format", ["png", "coco"])
def test_exported_masks_are_read_back_to_the_same_bits(store, data, tmp_path, format):
    assert export(store, data, tmp_path / "out", format) == 20
    again = build_masks(data, load_source(f"masks:{tmp_path / 'out'}"), tmp_path / "again", refine="none")
    assert np.array_equal(again[:], store[:])
    assert again.problems == {}


def test_a_corrected_mask_is_read_back_corrected(store, data, tmp_path):
    export(store, data, tmp_path / "out")
    path = tmp_path / "out" / "000004.png"
    mask = np.array(Image.open(path))
    assert set(np.unique(mask)) == {0, 255}
    mask[2:4] = 255
    Image.fromarray(mask).save(path)
    again = build_masks(data, load_source(f"masks:{tmp_path / 'out'}"), tmp_path / "again", refine="none")
    assert np.array_equal(again[4][0], mask > 0)
    rest = np.arange(20) != 4
    assert np.array_equal(again[:][rest], store[:][rest])


def test_pycocotools_reads_the_annotations(store, data, tmp_path, capsys):
    export(store, data, tmp_path / "out", "coco")
    coco = COCO(tmp_path / "out/annotations.json")
    capsys.readouterr()
    assert [(one["file_name"], one["height"], one["width"]) for one in coco.loadImgs(coco.getImgIds())] == [
        (f"{row:06d}.png", 10, 14) for row in range(20)
    ]
    for row, mask in enumerate(store[:]):
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[row + 1]))
        assert len(annotations) == (0 if row == 7 else 1)
        for one in annotations:
            assert np.array_equal(coco.annToMask(one), mask)
            assert one["area"] == mask.sum()
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert one["bbox"] == [columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert one["iscrowd"] == 0
            assert coco.loadCats([one["category_id"]])[0]["name"] == data.classes[data.labels[row]]


def test_masks_of_files_keep_their_names(tmp_path):
    for number in range(4):
        path = tmp_path / "images/train" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((10, 14, 3), 50 * number, np.uint8)).save(path)
    (tmp_path / "images/test").mkdir()
    data = load_data(f"folder:{tmp_path / 'images'}")

    class Half(BrightnessSource):
        needs_images = False

        def __call__(self, data, index):
            return load_source("carried")(make_set(8), index)

    store = build_masks(data, Half(), tmp_path / "store", refine="none")
    assert export(store, data, tmp_path / "out") == 4
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png")) == [
        "a/0.png",
        "a/2.png",
        "b/1.png",
        "b/3.png",
    ]
    export(store, data, tmp_path / "coco", "coco")
    names = [one["file_name"] for one in json.loads((tmp_path / "coco/annotations.json").read_text())["images"]]
    assert names == ["a/0.jpg", "a/2.jpg", "b/1.jpg", "b/3.jpg"]


def write_images(home, names) -> None:
    for number, name in enumerate(names):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((10 + number, 14, 3), 40 * number, np.uint8)).save(home / name)


class RandomSource(BrightnessSource):
    """Source of masks of 512 x 512 pixels, larger than any image."""

    needs_images = False

    def __call__(self, data, index):
        rng = np.random.default_rng(data.index[index])
        return Segmentation(torch.from_numpy(rng.random((len(index), 512, 512), np.float32)), None)


@pytest.mark.parametrize("format", ["png", "coco"])
@pytest.mark.parametrize("size", [None, (23, 17)])
def test_masks_of_another_size_than_the_images_are_read_back_to_the_same_bits(tmp_path, format, size):
    write_images(tmp_path / "images", ["train/a/0.jpg", "train/a/1.png", "train/b/2.webp", "val/a/0.jpg"])
    data = load_data(f"folder:{tmp_path / 'images'}")
    store = build_masks(data, RandomSource(), tmp_path / "store", refine="none", size=size)
    assert store.shape == (size or (224, 224))
    export(store, data, tmp_path / "out", format)
    source = load_source(f"masks:{tmp_path / 'out'}")
    again = build_masks(data, source, tmp_path / "again", refine="none", size=size)
    assert np.array_equal(again[:], store[:])
    assert 0.3 < store.coverage.mean() < 0.7


def test_only_built_masks_are_exported_and_other_images_have_none(data, tmp_path):
    part = build_masks(data, load_source("carried"), tmp_path / "store", refine="none", limit=6)
    built = np.flatnonzero(part.built)
    assert export(part, data, tmp_path / "out") == 6
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.png")) == [f"{row:06d}" for row in built]
    again = build_masks(data, load_source(f"masks:{tmp_path / 'out'}"), tmp_path / "again", refine="none")
    assert len(again.problems) == 14
    assert np.array_equal(again[built], part[built])
    assert export(again, data, tmp_path / "without-broken") == 6


@pytest.mark.parametrize("format", ["png", "coco"])
def test_a_second_export_replaces_all_files_of_the_first(store, data, tmp_path, format):
    export(store, data, tmp_path / "out", format)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    next(path for path in (tmp_path / "out").iterdir() if path.name != EXPORTED).write_bytes(b"another")
    export(store, data, tmp_path / "out", format)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert len(before) == (21 if format == "png" else 2)


def test_images_are_not_written_where_annotations_would_take_precedence(store, data, tmp_path):
    export(store, data, tmp_path / "out", "coco")
    with pytest.raises(MaskError, match=r"the folder contains annotations\.json, .* remove it or choose another"):
        export(store, data, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize("place", ["images/train", "images/train/a", "images/test", "images/val", "link/train"])
@pytest.mark.parametrize("format", ["png", "coco"])
def test_images_are_never_replaced_by_masks(tmp_path, place, format):
    write_images(tmp_path / "images", ["train/a/0.png", "val/a/0.png"])
    (tmp_path / "link").symlink_to(tmp_path / "images")
    data = load_data(f"folder:{tmp_path / 'images'}")
    store = build_masks(data, RandomSource(), tmp_path / "store", refine="none")
    before = (tmp_path / "images/train/a/0.png").read_bytes()
    with pytest.raises(MaskError, match="the folder lies inside the folder of the images"):
        export(store, data, tmp_path / place, format)
    assert (tmp_path / "images/train/a/0.png").read_bytes() == before
    assert len(list((tmp_path / "images").rglob("*.*"))) == 2


def test_images_whose_names_differ_by_the_suffix_alone_are_refused(tmp_path):
    write_images(tmp_path / "images", ["train/a/0.jpg", "train/a/0.webp", "val/a/0.jpg"])
    data = load_data(f"folder:{tmp_path / 'images'}")
    store = build_masks(data, RandomSource(), tmp_path / "store", refine="none")
    with pytest.raises(MaskError, match=r"two images are called a/0 \(without suffix\); rename one"):
        export(store, data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_subset_of_the_data_is_refused_because_its_file_names_differ(store, data, tmp_path):
    with pytest.raises(MaskError, match="but this is a subset of made; pass the whole split"):
        export(store, data.take(7), tmp_path / "out")


@pytest.mark.parametrize("format", ["png", "coco"])
def test_a_read_only_folder_is_a_one_line_error(store, data, tmp_path, format):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(RunError, match=r"cannot write to this folder: .*; choose another"):
        export(store, data, tmp_path / "out", format)


def test_a_store_of_other_images_is_refused_before_anything_is_written(store, data, tmp_path):
    with pytest.raises(MaskError, match="got masks of another split"):
        export(store, replace(data, split="test"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_volumes_are_refused(tmp_path):
    data = make_set(6)
    volumes = replace(data, images=data.images[..., None, :1], masks=data.masks[..., None], fingerprint="")
    store = build_masks(volumes, load_source("carried"), tmp_path / "store", refine="none")
    with pytest.raises(
        MaskError, match=r"only masks with 2 spatial dimensions can be exported, got size \(10, 14, 1\)"
    ):
        export(store, volumes, tmp_path / "out")


@pytest.mark.parametrize("format", ["png", "coco"])
def test_masks_of_one_split_are_neither_read_nor_replaced_by_another(store, data, tmp_path, format):
    export(store, data, tmp_path / "out", format)
    test = make_set(20, seed=1, split="test")
    others = build_masks(test, load_source("carried"), tmp_path / "others", refine="none")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    message = (
        r"expected masks of made test \(\w{8}\), got masks exported for made train \(\w{8}\); choose another folder"
    )
    with pytest.raises(MaskError, match=message):
        load_source(f"masks:{tmp_path / 'out'}").describe(test)
    with pytest.raises(MaskError, match=message):
        export(others, test, tmp_path / "out", format)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    (tmp_path / "out" / EXPORTED).unlink()
    load_source(f"masks:{tmp_path / 'out'}").describe(test)  # as a user would
    (tmp_path / "out" / EXPORTED).write_text("[]")
    with pytest.raises(MaskError, match=r"exported\.json: the file is damaged .*; remove this file"):
        load_source(f"masks:{tmp_path / 'out'}").describe(test)
