"""Polygons drawn with labelme."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smix.errors import MaskError
from smix.masks import build_masks, load_source
from smix.masks.sources.labelme import read_shapes
from tests.conftest import make_set

HEIGHT, WIDTH = 20, 30


def shape(kind: str, points: list, label: str = "cat", **more) -> dict:
    return {"label": label, "shape_type": kind, "points": points, **more}


def write(path: Path, *shapes: dict, **changes) -> Path:
    content = {"imageHeight": HEIGHT, "imageWidth": WIDTH, "shapes": list(shapes), **changes}
    path.write_text(json.dumps(content))
    return path


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : bottom + 1, left : right + 1] = True
    return mask


def test_rectangles_and_polygons_are_filled_with_their_outline(tmp_path):
    corners = [[4, 3], [10, 3], [10, 8], [4, 8]]
    for one in (shape("rectangle", [[10, 8], [4, 3]]), shape("polygon", corners)):
        assert np.array_equal(read_shapes(write(tmp_path / "a.json", one), None), box(3, 4, 8, 10))


def test_a_circle_is_a_centre_and_a_point_on_its_rim(tmp_path):
    mask = read_shapes(write(tmp_path / "a.json", shape("circle", [[15, 10], [15, 4]])), None)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    distance = np.hypot(y - 10, x - 15)
    assert mask[distance <= 5.5].all()
    assert not mask[distance >= 6.8].any()


def test_a_mask_is_placed_at_its_box(tmp_path):
    part = np.zeros((4, 5), np.uint8)
    part[1:3, 1:4] = 255
    file = io.BytesIO()
    Image.fromarray(part).save(file, "png")
    code = base64.b64encode(file.getvalue()).decode()
    one = shape("mask", [[7, 6], [11, 9]], mask=code)
    assert np.array_equal(read_shapes(write(tmp_path / "a.json", one), None), box(7, 8, 8, 10))


def test_shapes_are_joined_lines_and_points_left_out_and_labels_chosen(tmp_path):
    path = write(
        tmp_path / "a.json",
        shape("rectangle", [[0, 0], [2, 2]]),
        shape("rectangle", [[20, 10], [22, 12]], "dog"),
        shape("line", [[0, 0], [29, 19]]),
        shape("point", [[15, 15]]),
    )
    assert np.array_equal(read_shapes(path, None), box(0, 0, 2, 2) | box(10, 20, 12, 22))
    assert np.array_equal(read_shapes(path, {"dog"}), box(10, 20, 12, 22))
    assert not read_shapes(path, {"bird"}).any()


def test_a_store_of_what_is_labelled_and_the_rest_named(tmp_path):
    data = make_set(8, size=(HEIGHT, WIDTH))
    write(tmp_path / "000003.json", shape("rectangle", [[4, 3], [10, 8]]))
    write(tmp_path / "000005.json", shape("polygon", [[4, 3], [10, 8]]))
    (tmp_path / "000006.json").write_text("{")
    store = build_masks(data, load_source(f"labelme:{tmp_path}"), tmp_path / "store", refine="none")
    assert np.array_equal(store[3][0], box(3, 4, 8, 10))
    assert store.valid.tolist() == [row == 3 for row in range(8)]
    assert store.problems[0] == "000000: no mask"
    assert store.problems[5] == "000005: cat: expected a polygon of at least 3 points, got 2"
    assert store.problems[6].startswith("000006: 000006.json: expected a file of labelme's, got JSONDecodeError")


def test_labels_of_the_data_set_choose_labels_of_shapes(tmp_path):
    data = make_set(4, size=(HEIGHT, WIDTH))
    for row in range(4):
        both = shape("rectangle", [[0, 0], [2, 2]]), shape("rectangle", [[20, 10], [22, 12]], "dog")
        write(tmp_path / f"{row:06d}.json", *both)
    file = tmp_path / "map.txt"
    file.write_text(json.dumps({"class 0": ["cat"], "class 1": ["dog"], "class 2": None, "class 3": []}))
    masks = load_source(f"labelme:{tmp_path}", class_map=file)(data, np.arange(4)).mask().numpy()
    cat, dog = box(0, 0, 2, 2), box(10, 20, 12, 22)
    for mask, expected in zip(masks, (cat, dog, cat | dog, cat & dog), strict=True):
        assert np.array_equal(mask, expected)


def test_a_folder_that_is_none_or_has_no_file_is_refused(tmp_path):
    with pytest.raises(MaskError, match=r"labelme: expected a folder .*none, got none"):
        load_source(f"labelme:{tmp_path / 'none'}")
    with pytest.raises(MaskError, match=r"expected files such as 000000\.json, got none of any image of made"):
        load_source(f"labelme:{tmp_path}").describe(make_set(4))
