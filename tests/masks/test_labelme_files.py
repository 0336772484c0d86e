"""Test files that labelme itself wrote: the masks are those that labelme draws, pixel by pixel (labelme_files/make.py)."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from smix import load_data
from smix.errors import MaskError
from smix.masks import build_masks, load_source
from smix.masks.sources.labelme import read_shapes
from tests.conftest import make_set
from tests.data.photographs import save_photograph

FILES = Path(__file__).parent / "labelme_files"
SIZE = (40, 60)
EXPECTED = json.loads((FILES / "expected.json").read_text())


def expected(name: str) -> np.ndarray:
    bits = np.frombuffer(bytes.fromhex(EXPECTED[name]), np.uint8)
    return np.unpackbits(bits, count=SIZE[0] * SIZE[1]).reshape(SIZE).astype(bool)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_pixels_are_those_of_labelme(name):
    mask = read_shapes(FILES / f"{name}.json", None)
    assert np.array_equal(mask, expected(name))
    assert 50 < mask.sum() < 2000


def test_every_kind_of_shape_is_in_these_files():
    kinds = {json.loads((FILES / f"{name}.json").read_text())["shapes"][0]["shape_type"] for name in EXPECTED}
    assert kinds == {"polygon", "rectangle", "oriented_rectangle", "circle", "line", "linestrip", "point", "mask"}
    assert json.loads((FILES / "polygon.json").read_text())["version"] == "6.3.1"


def test_points_are_refused_by_name_as_labelme_does():
    with pytest.raises(MaskError, match=r'^points\.json: leaf: a shape of type "points" has no area; draw a polygon'):
        read_shapes(FILES / "points.json", None)
    assert not read_shapes(FILES / "points.json", {"other"}).any()


def test_unknown_pixels_and_background_are_no_object_and_no_classes(tmp_path):
    mask = read_shapes(FILES / "reserved.json", {"leaf"})
    assert mask[30, 10]
    assert not mask[20, 20]  # drawn as _background_
    assert not mask[12, 37]  # drawn as __ignore__
    assert not mask[15, 40]
    assert read_shapes(FILES / "reserved.json", None)[15, 40]  # a vein, drawn later on pixels to ignore
    data = make_set(2, size=SIZE)
    for row in range(2):
        shutil.copy(FILES / "reserved.json", tmp_path / f"{row:06d}.json")
    with pytest.raises(ValueError, match='got "__ignore__"; choose one of: leaf, vein'):
        load_source(f"labelme:{tmp_path}", classes=["__ignore__"]).describe(data)


def test_a_file_with_pixels_to_ignore_alone_is_empty_and_a_file_with_points_is_named(tmp_path):
    data = make_set(3, size=SIZE)
    content = json.loads((FILES / "reserved.json").read_text())
    content["shapes"] = content["shapes"][1:3]
    (tmp_path / "000000.json").write_text(json.dumps(content))
    shutil.copy(FILES / "points.json", tmp_path / "000001.json")
    shutil.copy(FILES / "oriented_rectangle.json", tmp_path / "000002.json")
    store = build_masks(data, load_source(f"labelme:{tmp_path}"), tmp_path / "store", refine="none")
    assert store.usable.tolist() == [False, False, True]
    assert list(store.problems) == [1]
    assert store.problems[1].startswith('000001.json: leaf: a shape of type "points"')


def test_labelme_draws_on_upright_photographs(tmp_path):
    """labelme declares the upright size of a photograph that is stored with orientation 6."""
    save_photograph(tmp_path / "images/train/a/rotated.jpg", 6, size=(60, 40))
    (tmp_path / "images/test").mkdir()
    shutil.copy(FILES / "rotated.json", tmp_path / "images/train/a/rotated.json")
    data = load_data(f"folder:{tmp_path / 'images'}")
    source = load_source(f"labelme:{tmp_path / 'images/train'}")
    store = build_masks(data, source, tmp_path / "store", refine="none")
    assert store.shape == (60, 40)
    mask = store[0][0]
    assert mask[5:51, 3:21].all()
    assert mask.sum() == 46 * 18
