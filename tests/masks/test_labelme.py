"""Test polygons drawn with labelme."""

import base64
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from smix import load_data
from smix.errors import MaskError, OptionError
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


def test_rectangles_and_polygons_are_filled_including_their_outline(tmp_path):
    corners = [[4, 3], [10, 3], [10, 8], [4, 8]]
    for one in (shape("rectangle", [[10, 8], [4, 3]]), shape("polygon", corners)):
        assert np.array_equal(read_shapes(write(tmp_path / "a.json", one), None), box(3, 4, 8, 10))


def shape_to_mask(size: tuple[int, int], points: list, kind: str) -> np.ndarray:
    """Rasterise a shape with an area as in labelme 5.5, labelme/utils/shape.py."""
    mask = Image.fromarray(np.zeros(size, np.uint8))
    draw = ImageDraw.Draw(mask)
    xy = [tuple(point) for point in points]
    if kind == "circle":
        (cx, cy), (px, py) = xy
        d = math.sqrt((cx - px) ** 2 + (cy - py) ** 2)
        draw.ellipse([cx - d, cy - d, cx + d, cy + d], outline=1, fill=1)
    elif kind == "rectangle":
        draw.rectangle(xy, outline=1, fill=1)
    else:
        draw.polygon(xy=xy, outline=1, fill=1)
    return np.array(mask, dtype=bool)


@pytest.mark.parametrize("kind", ["polygon", "rectangle", "circle"])
def test_pixels_equal_those_of_labelme(tmp_path, kind):
    rng = np.random.default_rng(0)
    for _ in range(40):
        points = (
            rng.uniform(-5, 35, (7, 2)) if kind == "polygon" else np.sort(rng.uniform(-5, 35, (2, 2)), 0)
        ).tolist()
        path, expected = write(tmp_path / "a.json", shape(kind, points)), shape_to_mask((HEIGHT, WIDTH), points, kind)
        if expected.any():
            assert np.array_equal(read_shapes(path, None), expected)
        else:
            with pytest.raises(MaskError, match="has no pixel in the picture"):
                read_shapes(path, None)


def test_polygons_without_type_and_rectangles_with_four_corners_are_read(tmp_path):
    corners = [[4, 3], [10, 3], [10, 8], [4, 8]]
    for one in ({"label": "cat", "points": corners}, shape(None, corners), shape("rectangle", corners)):
        assert np.array_equal(read_shapes(write(tmp_path / "a.json", one), None), box(3, 4, 8, 10))


def test_a_circle_is_given_by_its_centre_and_a_point_on_its_rim(tmp_path):
    mask = read_shapes(write(tmp_path / "a.json", shape("circle", [[15, 10], [15, 4]])), None)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    distance = np.hypot(y - 10, x - 15)
    assert mask[distance <= 5.5].all()
    assert not mask[distance >= 6.8].any()


@pytest.mark.parametrize("value", [1, 255, True])
def test_a_mask_is_placed_in_its_box(tmp_path, value):
    part = np.zeros((4, 5), bool if value is True else np.uint8)
    part[1:3, 1:4] = value
    file = io.BytesIO()
    Image.fromarray(part).save(file, "png")
    code = base64.b64encode(file.getvalue()).decode()
    one = shape("mask", [[7.6, 6.0], [11.6, 9.0]], mask=code)
    assert np.array_equal(read_shapes(write(tmp_path / "a.json", one), None), box(7, 8, 8, 10))


def test_shapes_with_chosen_labels_are_united(tmp_path):
    path = write(
        tmp_path / "a.json",
        shape("rectangle", [[0, 0], [2, 2]]),
        shape("rectangle", [[20, 10], [22, 12]], "dog"),
        shape("point", [[15, 5]], "eye"),
        shape("points", [[15, 5]], "nose"),
    )
    assert np.array_equal(read_shapes(path, {"cat", "dog"}), box(0, 0, 2, 2) | box(10, 20, 12, 22))
    assert np.array_equal(read_shapes(path, {"dog"}), box(10, 20, 12, 22))
    assert np.flatnonzero(read_shapes(path, {"eye"}).any(0)).tolist() == list(range(10, 21))  # a disc of radius 5
    assert not read_shapes(path, {"bird"}).any()
    with pytest.raises(MaskError, match=r'^a\.json: nose: a shape of type "points" has no area'):
        read_shapes(path, None)


@pytest.mark.parametrize(
    ("kind", "count", "bounds"),
    [
        ("polygon", 2, "3 points or more"),
        ("rectangle", 1, "2 or 4 points"),
        ("rectangle", 3, "2 or 4 points"),
        ("oriented_rectangle", 3, "4 points"),
        ("circle", 3, "2 points"),
        ("line", 1, "2 points"),
        ("linestrip", 1, "2 points or more"),
        ("point", 2, "1 point"),
        ("mask", 1, "2 points"),
    ],
)
def test_shapes_of_too_few_or_too_many_points_are_named(tmp_path, kind, count, bounds):
    path = write(tmp_path / "a.json", shape(kind, [[n, n] for n in range(count)]))
    with pytest.raises(MaskError, match=rf"^a\.json: cat: a {kind} needs {bounds}, got {count}$"):
        read_shapes(path, None)


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        ("polygon", [[50, 60], [70, 60], [70, 80]]),
        ("rectangle", [[50, 60], [70, 80]]),
        ("oriented_rectangle", [[50, 60], [70, 60], [70, 80], [50, 80]]),
        ("circle", [[60, 60], [60, 70]]),
        ("circle", [[10**6, 60], [10**6, 70]]),
        ("rectangle", [[10**6, 60], [10**7, 70]]),
        ("line", [[50, 60], [70, 80]]),
        ("linestrip", [[-50, -60], [-70, -80], [-50, -90]]),
        ("point", [[60, 60]]),
        ("mask", [[50, 60], [51, 61]]),
    ],
)
def test_shapes_outside_the_declared_picture_are_named(tmp_path, kind, points):
    """Such as those of a file whose imageHeight and imageWidth are those of another version of the photograph."""
    content = io.BytesIO()
    Image.new("1", (2, 2), 1).save(content, "PNG")
    more = {"mask": base64.b64encode(content.getvalue()).decode()} if kind == "mask" else {}
    inside = shape("rectangle", [[4, 3], [10, 8]], "dog")
    path = write(tmp_path / "a.json", inside, shape(kind, points, **more))
    message = rf"^a\.json: cat: the {kind} has no pixel in the picture of {WIDTH}x{HEIGHT} pixels; correct imageWidth"
    with pytest.raises(MaskError, match=message):
        read_shapes(path, None)
    assert read_shapes(path, {"dog"}).any()


def test_a_shape_far_outside_is_named(tmp_path):
    path = write(tmp_path / "a.json", shape("linestrip", [[4, 3], [10**7, 8]]))
    with pytest.raises(
        MaskError, match=r"^a\.json: cat: the linestrip is far outside the picture of .* pixels; correct or remove"
    ):
        read_shapes(path, None)


def test_a_store_has_masks_of_labelled_images_and_names_the_others(tmp_path):
    data = make_set(8, size=(HEIGHT, WIDTH))
    write(tmp_path / "000003.json", shape("rectangle", [[4, 3], [10, 8]]))
    write(tmp_path / "000005.json", shape("polygon", [[4, 3], [10, 8]]))
    (tmp_path / "000006.json").write_text("{")
    store = build_masks(data, load_source(f"labelme:{tmp_path}"), tmp_path / "store", refine="none")
    assert np.array_equal(store[3][0], box(3, 4, 8, 10))
    assert store.usable.tolist() == [row == 3 for row in range(8)]
    assert store.problems[0] == "000000: no mask"
    assert store.problems[5] == "000005.json: cat: a polygon needs 3 points or more, got 2"
    assert store.problems[6].startswith("000006.json: expected a labelme file, got invalid JSON")


@pytest.mark.parametrize(
    "changes",
    [
        {"imageHeight": None},
        {"imageHeight": 0},
        {"imageWidth": -3},
        {"imageWidth": 1e400},
        {"imageHeight": 10**15},
        {"shapes": None},
        {"shapes": [{}]},
        {"shapes": [3]},
        {"shapes": [shape("polygon", [[1, 2], [3, None], [4, 5]])]},
        {"shapes": [shape("polygon", [[1, 2], [math.inf, 5], [4, 5]])]},
        {"shapes": [shape("circle", [[1, 2], [math.nan, 5]])]},
        {"shapes": [shape("mask", [[1, 2], [3, 4]], mask="AAAA")]},
        {"shapes": [shape("mask", [[1, 2], [3, 4]])]},
        {"shapes": [shape("rectangle", [[1, 2, 3], [4, 5, 6]])]},
    ],
)
def test_an_invalid_file_is_reported_in_one_line(tmp_path, changes):
    with pytest.raises(MaskError, match=r"^a\.json: expected a labelme file, got ") as caught:
        read_shapes(write(tmp_path / "a.json", shape("rectangle", [[4, 3], [10, 8]]), **changes), None)
    assert "\n" not in str(caught.value)


def test_a_label_that_no_shape_has_is_refused(tmp_path):
    data = make_set(4, size=(HEIGHT, WIDTH))
    write(tmp_path / "000002.json", shape("rectangle", [[4, 3], [10, 8]]))
    (tmp_path / "000003.json").write_text("{")
    with pytest.raises(OptionError, match='classes: expected a known name, got "catt"; did you mean "cat"'):
        load_source(f"labelme:{tmp_path}", classes=["catt"]).describe(data)
    (tmp_path / "map.txt").write_text('{"class 0": ["dog"]}')
    with pytest.raises(OptionError, match='got "dog"; choose one of: cat'):
        load_source(f"labelme:{tmp_path}", object_classes=tmp_path / "map.txt").describe(data)


def test_files_next_to_images_of_different_sizes_are_read_in_any_batch(tmp_path):
    for name, size in (("a/0", (20, 30)), ("a/1", (40, 30)), ("b/2", (20, 30))):
        path = tmp_path / f"images/train/{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path)
        write(path.with_suffix(".json"), shape("rectangle", [[0, 0], [14, size[0]]]), imageHeight=size[0])
    (tmp_path / "images/test").mkdir()
    data = load_data(f"folder:{tmp_path / 'images'}")
    for place in ("images", "images/train"):
        source = load_source(f"labelme:{tmp_path / place}")
        whole = source(data, np.arange(3))
        assert whole.problems == {}
        assert whole.object.shape == (3, 512, 512)
        assert whole.object.mean((1, 2)).tolist() == [0.5] * 3
        alone = source(data.rows(np.array([2])), np.arange(1))
        assert torch.equal(alone.object[0], whole.object[2])


def test_object_classes_choose_labels_of_shapes_by_image_label(tmp_path):
    data = make_set(4, size=(HEIGHT, WIDTH))
    for row in range(4):
        both = shape("rectangle", [[0, 0], [2, 2]]), shape("rectangle", [[20, 10], [22, 12]], "dog")
        write(tmp_path / f"{row:06d}.json", *both)
    file = tmp_path / "map.txt"
    file.write_text(json.dumps({"class 0": ["cat"], "class 1": ["dog"], "class 2": None, "class 3": []}))
    masks = load_source(f"labelme:{tmp_path}", object_classes=file)(data, np.arange(4)).mask().numpy()
    cat, dog = box(0, 0, 2, 2), box(10, 20, 12, 22)
    for mask, expected in zip(masks, (cat, dog, cat | dog, cat & dog), strict=True):
        assert np.array_equal(mask, expected)
    masks = load_source(f"labelme:{tmp_path}", object_classes=file, classes=["dog"])(data, np.arange(4)).mask().numpy()
    for mask, expected in zip(masks, (cat & dog, dog, dog, cat & dog), strict=True):
        assert np.array_equal(mask, expected)
    file.write_text('{"class 0": ["cat"]}')
    with pytest.raises(MaskError, match=r"object-classes: the file has no entry for class class 1 of .*; add one"):
        load_source(f"labelme:{tmp_path}", object_classes=file)(data, np.arange(4))


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(MaskError, match=r"labelme: there is no folder .*none"):
        load_source(f"labelme:{tmp_path / 'none'}")
    with pytest.raises(MaskError, match=r"no image of made has a file here, such as 000000\.json"):
        load_source(f"labelme:{tmp_path}").describe(make_set(4))


def test_a_file_that_was_drawn_on_another_picture_is_refused(tmp_path):
    for name in ("one", "two", "three", "four"):
        (tmp_path / "cat").mkdir(exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / f"cat/{name}.jpg")
    rectangle = shape("rectangle", [[4, 3], [10, 8]])
    for name, drawn_on in (
        ("one", "two.jpg"),
        ("two", "..\\photos\\two.JPG"),
        ("three", "renamed.jpg"),
        ("four", None),
    ):
        write(tmp_path / f"cat/{name}.json", rectangle, imagePath=drawn_on)
    store = build_masks(
        load_data(f"folder:{tmp_path}", split="all"), load_source(f"labelme:{tmp_path}"), tmp_path / "store"
    )
    message = "one.json: drawn on two.jpg (imagePath), which is another picture than one.jpg; rename the file, or correct its imagePath"
    assert list(store.problems.values()) == [f"cat/{message}"]
    assert [
        mask.any() for mask in store[store.lookup([f"cat/{name}.jpg" for name in ("one", "two", "three", "four")])]
    ] == [*(False, True, True, True)]
