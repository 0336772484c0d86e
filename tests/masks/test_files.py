"""Masks from files: where they are looked for, the styles of pictures, chosen classes, and what is said when there is none."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from smix import load_data
from smix.data.sets import ImageSet
from smix.errors import MaskError, OptionError
from smix.masks import build_masks, load_source
from smix.masks.sources.files import CITYSCAPES, VOC, fitted
from tests.conftest import make_set

SIZE = (10, 14)


def write(path: Path, pixels: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    if palette:
        picture = picture.convert("P")
        picture.putdata(pixels.ravel().tolist())
    picture.save(path)


def numbers(*values: int) -> np.ndarray:
    """Rows of these values, the rest 0."""
    pixels = np.zeros(SIZE, np.uint8)
    pixels[: len(values)] = np.array(values, np.uint8)[:, None]
    return pixels


@pytest.fixture
def folder(tmp_path) -> ImageSet:
    """a/one.jpg, a/two.png, b/three.jpg, 10 x 14 pixels."""
    for name in ("a/one.jpg", "a/two.png", "b/three.jpg"):
        write(tmp_path / "images/train" / name, np.full((*SIZE, 3), 90, np.uint8))
    (tmp_path / "images/test").mkdir()
    return load_data(f"folder:{tmp_path / 'images'}")


def found(data: ImageSet, name: Path | str, **options) -> list[list[int] | str]:
    """Per image the rows that are object (all masks here are of whole rows), or why there is none."""
    answer = load_source(f"masks:{name}", **options)(data, np.arange(len(data)))
    rows = []
    for place, mask in enumerate(answer.mask().numpy()):
        assert (mask == mask[:, :1]).all()
        assert answer.object[place].isnan().all() == (place in answer.problems)
        rows.append(answer.problems.get(place, np.flatnonzero(mask[:, 0]).tolist()))
    return rows


@pytest.mark.parametrize(
    "names", [("a/one", "a/two", "b/three"), ("one", "two", "three"), ("train/a/one", "train/a/two", "train/b/three")]
)
@pytest.mark.parametrize("ending", [".png", "_mask.png", "-mask.png"])
def test_masks_are_found_in_a_folder_of_their_own(folder, tmp_path, names, ending):
    for row, name in enumerate(names):
        write(tmp_path / f"masks/{name}{ending}", numbers(*[0] * row, 255))
    assert found(folder, tmp_path / "masks") == [[0], [1], [2]]


def test_masks_beside_the_images_are_no_images_and_images_no_masks(folder, tmp_path):
    home = tmp_path / "images/train"
    for row, name in enumerate(("a/one.png", "a/two_mask.png", "b/three.png")):
        write(home / name, numbers(*[0] * row, 1))
    again = load_data(f"folder:{tmp_path / 'images'}")
    assert again.images.names.tolist() == folder.images.names.tolist() == ["a/one.jpg", "a/two.png", "b/three.jpg"]
    assert again.fingerprint == folder.fingerprint
    assert found(again, home) == [[0], [1], [2]]
    (home / "a/two_mask.png").unlink()
    assert found(again, home) == [[0], "no mask", [2]]


def test_masks_of_arrays_are_named_by_the_row_of_the_whole_split(tmp_path):
    data = make_set(40)
    for row in (0, 17):
        write(tmp_path / f"{row:06d}.png", numbers(*[0] * (row // 17), 1))
    assert found(data, tmp_path)[:2] == [[0], "no mask"]
    part = data.rows(np.array([17, 0]))
    assert found(part, tmp_path) == [[1], [0]]


def test_voc_pictures_have_a_palette_unknown_pixels_and_names(folder, tmp_path):
    for name in ("one", "two", "three"):
        write(tmp_path / f"masks/{name}.png", numbers(8, 255, 15), palette=True)
    source = load_source(f"masks:{tmp_path / 'masks'}")
    answer = source(folder, np.arange(3))
    assert source.describe(folder)["style"] == "classes"
    assert source.classes == VOC[1:]
    assert answer.classes[:, :4, 0].tolist() == [[8, 0, 15, 0]] * 3
    assert found(folder, tmp_path / "masks", classes=["cat"]) == [[0]] * 3
    assert found(folder, tmp_path / "masks", classes=["person", "cat"]) == [[0, 2]] * 3
    with pytest.raises(OptionError, match='classes: expected a known name, got "catt"; did you mean "cat"'):
        load_source(f"masks:{tmp_path / 'masks'}", classes=["catt"])(folder, np.arange(1))


def test_0_1_and_255_are_background_object_and_unknown(folder, tmp_path):
    for name in ("one", "two", "three"):
        write(tmp_path / f"masks/{name}.png", numbers(1, 255))
    assert found(folder, tmp_path / "masks") == [[0]] * 3


def test_names_of_classes_can_lie_beside_the_pictures(folder, tmp_path):
    for name in ("one", "two", "three"):
        write(tmp_path / f"masks/{name}.png", numbers(1, 2, 3))
    with pytest.raises(
        MaskError, match="expected masks whose style can be told from them, got values 0, 1, 2, 3; give --style"
    ):
        found(folder, tmp_path / "masks")
    (tmp_path / "masks/classes.txt").write_text("nothing\nwing\nbeak\ntail\n")
    assert found(folder, tmp_path / "masks", classes=["beak"]) == [[1]] * 3
    assert found(folder, tmp_path / "masks", style="trimap") == [[0]] * 3
    assert found(folder, tmp_path / "masks", style="classes") == [[0, 1, 2]] * 3


def test_a_class_map_restricts_each_image_to_its_label(folder, tmp_path):
    for name in ("one", "two", "three"):
        write(tmp_path / f"masks/{name}.png", numbers(8, 0, 15), palette=True)
    file = tmp_path / "map.json"
    for given, expected in (
        ({"a": ["cat"], "b": ["person"]}, [[0], [0], [2]]),
        ({"a": None, "b": []}, [[0, 2], [0, 2], []]),
        ({"a": ["cat", "person"], "b": ["dog"]}, [[0, 2], [0, 2], []]),
    ):
        file.write_text(json.dumps(given))
        assert found(folder, tmp_path / "masks", class_map=file) == expected
    file.write_text('{"a": ["cat"]}')
    with pytest.raises(MaskError, match=r"class-map: expected an entry for each class .* got none for b; write \[\]"):
        found(folder, tmp_path / "masks", class_map=file)
    for text in ("{", "[]", '{"a": "cat"}', '{"a": [1]}'):
        file.write_text(text)
        with pytest.raises(MaskError, match="class-map: expected "):
            found(folder, tmp_path / "masks", class_map=file)


def test_cityscapes_label_ids_are_found_by_their_names_and_what_has_instances_is_object(tmp_path):
    name = "x_000_leftImg8bit"
    write(tmp_path / f"city/train/aachen/{name}.png", np.zeros((*SIZE, 3), np.uint8))
    (tmp_path / "city/test").mkdir()
    car, sky, person = (CITYSCAPES.index(one) for one in ("car", "sky", "person"))
    assert (car, sky, person, CITYSCAPES[33]) == (26, 23, 24, "bicycle")
    write(tmp_path / "gtFine/train/aachen/x_000_gtFine_labelIds.png", numbers(car, sky, person, 0))
    data = load_data(f"folder:{tmp_path / 'city'}")
    for place in ("gtFine", "gtFine/train"):
        assert found(data, tmp_path / place) == [[0, 2]]
    assert found(data, tmp_path / "gtFine", classes=["sky"]) == [[1]]


def test_panoptic_pictures_give_the_things(folder, tmp_path):
    segments = [{"id": 70_000, "category_id": 5}, {"id": 300, "category_id": 9}, {"id": 7, "category_id": 2}]
    colours = {one["id"]: (one["id"] % 256, one["id"] // 256 % 256, one["id"] // 256**2) for one in segments}
    pixels = np.zeros((*SIZE, 3), np.uint8)
    pixels[0], pixels[1], pixels[2] = colours[70_000], colours[300], colours[7]
    for name in ("one", "two", "three"):
        write(tmp_path / f"panoptic/{name}.png", pixels)
    categories = [
        {"id": 2, "name": "bear", "isthing": 1},
        {"id": 5, "name": "cup", "isthing": 1},
        {"id": 9, "name": "sky", "isthing": 0},
    ]
    annotations = [{"image_id": 1, "file_name": f"{name}.png", "segments_info": segments} for name in ("one", "two")]
    content = {"images": [], "annotations": annotations, "categories": categories}
    (tmp_path / "panoptic.json").write_text(json.dumps(content))
    assert found(folder, tmp_path / "panoptic") == [
        [0, 2],
        [0, 2],
        "three.png: expected its segments in panoptic.json, got none",
    ]
    assert found(folder, tmp_path / "panoptic", classes=["sky"])[0] == [1]


def test_coco_instances_are_joined_from_codes_and_polygons(folder, tmp_path):
    box = [0, 6, 14, 6, 14, 8, 0, 8]
    counts = [2, *[1, 9] * 13, 1, 7]  # column by column: row 2
    content = {
        "images": [
            {"id": 4, "file_name": "a/one.jpg", "height": 10, "width": 14},
            {"id": 5, "file_name": "two.png", "height": 10, "width": 14},
        ],
        "annotations": [
            {"id": 1, "image_id": 4, "category_id": 3, "segmentation": {"size": [10, 14], "counts": counts}},
            {"id": 2, "image_id": 4, "category_id": 8, "segmentation": [box]},
        ],
        "categories": [{"id": 3, "name": "cup"}, {"id": 8, "name": "pan"}],
    }
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/instances.json").write_text(json.dumps(content))
    assert found(folder, tmp_path / "coco") == [[2, 6, 7], [], "no mask"]
    assert found(folder, tmp_path / "coco", classes=["pan"])[0] == [6, 7]


@pytest.mark.parametrize(
    "change", [{"category_id": 7}, {"segmentation": {"size": [3, 3], "counts": [1, 2]}}, {"segmentation": 3}]
)
def test_an_annotation_that_cannot_be_read_is_the_problem_of_its_image(folder, tmp_path, change):
    image = {"height": 10, "width": 14}
    one = {"category_id": 3, "segmentation": [[0, 6, 14, 6, 14, 8, 0, 8]]}
    content = {
        "images": [{"id": 4, "file_name": "a/one.jpg", **image}, {"id": 5, "file_name": "two.png", **image}],
        "annotations": [{"id": 1, "image_id": 4, **one, **change}, {"id": 2, "image_id": 5, **one}],
        "categories": [{"id": 3, "name": "cup"}],
    }
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/annotations.json").write_text(json.dumps(content))
    got = found(folder, tmp_path / "coco")
    assert got[0].startswith("annotation 1: expected a class and a mask of 10x14, got ")
    assert got[1:] == [[6, 7], "no mask"]


def test_unreadable_masks_are_told_and_do_not_stop_the_others(folder, tmp_path):
    for name in ("one", "two", "three"):
        write(tmp_path / f"masks/{name}.png", numbers(1))
    (tmp_path / "masks/two.png").write_bytes(b"none")
    with pytest.raises(MaskError, match=r"two\.png: expected a readable picture"):
        found(folder, tmp_path / "masks")
    got = found(folder, tmp_path / "masks", style="binary")
    assert got[0] == got[2] == [0]
    assert got[1].startswith("two.png: expected a readable picture, got UnidentifiedImageError")
    store = build_masks(
        folder, load_source(f"masks:{tmp_path / 'masks'}", style="binary"), tmp_path / "store", refine="none"
    )
    assert list(store.problems) == [1]
    assert store.problems[1].startswith("a/two: two.png: expected a readable picture")


def test_one_corrected_mask_makes_another_store(folder, tmp_path):
    for name in ("one", "two", "three"):
        write(tmp_path / f"masks/{name}.png", numbers(1))
    build_masks(folder, load_source(f"masks:{tmp_path / 'masks'}"), tmp_path / "store", refine="none")
    write(tmp_path / "masks/two.png", numbers(0, 1))
    with pytest.raises(MaskError, match="masks made with source sha256"):
        build_masks(folder, load_source(f"masks:{tmp_path / 'masks'}"), tmp_path / "store", refine="none")


@pytest.mark.parametrize("given", ["none", "empty"])
def test_a_folder_without_masks_is_refused(folder, tmp_path, given):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        MaskError, match=r"expected a folder .*none|expected masks such as a/one\.png, got none of any image"
    ):
        found(folder, tmp_path / given)


def test_masks_of_images_of_different_sizes_come_at_one_size(tmp_path):
    for number, size in enumerate([(10, 14), (20, 14)]):
        write(tmp_path / f"images/train/a/{number}.jpg", np.zeros((*size, 3), np.uint8))
        write(
            tmp_path / f"masks/{number}.png",
            (np.arange(size[0] * 14).reshape(size) // (size[0] * 7) * 255).astype(np.uint8),
        )
    (tmp_path / "images/test").mkdir()
    data = load_data(f"folder:{tmp_path / 'images'}")
    answer = load_source(f"masks:{tmp_path / 'masks'}")(data, np.arange(2))
    assert answer.object.shape == (2, 512, 512)
    assert torch.equal(answer.object[0], answer.object[1])
    assert answer.object[0].mean() == 0.5


def test_fitting_keeps_a_pixel_that_is_object_by_half_and_its_class():
    given = np.array([[7, 0, 0, 0], [0, 7, 0, 0], [9, 9, 0, 0], [9, 9, 0, 9]], np.uint8)
    assert fitted(given, (2, 2)).tolist() == [[7, 0], [9, 0]]
    assert fitted(given, (4, 4)).tolist() == given.tolist()
    assert fitted(given, (8, 8)).tolist() == given.repeat(2, 0).repeat(2, 1).tolist()
