"""Masks that are written as files, corrected, and read back."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from smix import load_data
from smix.errors import MaskError
from smix.masks import build_masks, load_source
from smix.masks.export import export
from tests.conftest import make_set
from tests.masks.stores import Drawn


@pytest.fixture
def data():
    data = make_set(20)
    data.masks[7] = False
    return data


@pytest.fixture
def store(data, tmp_path):
    return build_masks(data, load_source("carried"), tmp_path / "store", refine="none")


@pytest.mark.parametrize("format", ["png", "coco"])
def test_what_is_written_is_read_back_to_the_same_bits(store, data, tmp_path, format):
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


def test_coco_reads_the_annotations(store, data, tmp_path, capsys):
    export(store, data, tmp_path / "out", "coco")
    coco = COCO(tmp_path / "out/annotations.json")
    capsys.readouterr()
    assert len(coco.getImgIds()) == 20
    for row, mask in enumerate(store[:]):
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[row]))
        assert len(annotations) == (0 if row == 7 else 1)
        for one in annotations:
            assert np.array_equal(coco.annToMask(one), mask)
            assert one["area"] == mask.sum()
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert one["bbox"] == [columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert coco.loadCats([one["category_id"]])[0]["name"] == data.classes[data.labels[row]]


def test_masks_of_files_keep_their_names_and_broken_ones_are_left_out(tmp_path):
    for number in range(4):
        path = tmp_path / "images/train" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((10, 14, 3), 50 * number, np.uint8)).save(path)
    (tmp_path / "images/train/b/3.jpg").write_bytes(b"none")
    (tmp_path / "images/test").mkdir()
    data = load_data(f"folder:{tmp_path / 'images'}")

    class Half(Drawn):
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


def test_a_store_of_other_images_is_refused_before_anything_is_written(store, data, tmp_path):
    with pytest.raises(MaskError, match="got masks of another split"):
        export(store, replace(data, split="test"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_volumes_are_refused(tmp_path):
    data = make_set(6)
    volumes = replace(data, images=data.images[..., None, :1], masks=data.masks[..., None], fingerprint="")
    store = build_masks(volumes, load_source("carried"), tmp_path / "store", refine="none")
    with pytest.raises(MaskError, match=r"expected masks with 2 spatial dimensions to export, got size \(10, 14, 1\)"):
        export(store, volumes, tmp_path / "out")
