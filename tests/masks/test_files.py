"""Test masks from files: search paths, styles of images, chosen classes, and messages about missing masks."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import Cityscapes

from smix import load_data
from smix.data.sets import ImageSet
from smix.errors import MaskError, OptionError
from smix.masks import build_masks, load_source
from smix.masks.sources.places import resize_class_map
from smix.masks.sources.styles import VOC
from tests.conftest import make_set

SIZE = (10, 14)


def write(path: Path, pixels: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    if palette:
        picture = picture.convert("P")
        picture.putdata(pixels.ravel().tolist())
    picture.save(path)


def rows_of_values(*values: int) -> np.ndarray:
    """Return a mask whose first rows have these values, and whose other rows are 0."""
    pixels = np.zeros(SIZE, np.uint8)
    pixels[: len(values)] = np.array(values, np.uint8)[:, None]
    return pixels


@pytest.fixture
def folder(tmp_path) -> ImageSet:
    """Write a/one.jpg, a/two.png and b/three.jpg of 10 x 14 pixels."""
    for name in ("a/one.jpg", "a/two.png", "b/three.jpg"):
        write(tmp_path / "images/train" / name, np.full((*SIZE, 3), 90, np.uint8))
    (tmp_path / "images/test").mkdir()
    return load_data(f"folder:{tmp_path / 'images'}")


def object_rows(data: ImageSet, name: Path | str, **options) -> list[list[int] | str]:
    """Return the object rows of each image, or the reason why it has no mask. All masks of these tests consist of complete rows."""
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
def test_masks_are_found_in_a_separate_folder(folder, tmp_path, names, ending):
    for row, name in enumerate(names):
        write(tmp_path / f"masks/{name}{ending}", rows_of_values(*[0] * row, 255))
    assert object_rows(folder, tmp_path / "masks") == [[0], [1], [2]]


def test_masks_next_to_images_are_not_mistaken_for_images_or_vice_versa(folder, tmp_path):
    home = tmp_path / "images/train"
    for row, name in enumerate(("a/one.png", "a/two_mask.png", "b/three.png")):
        write(home / name, rows_of_values(*[0] * row, 1))
    again = load_data(f"folder:{tmp_path / 'images'}")
    assert again.images.names.tolist() == folder.images.names.tolist() == ["a/one.jpg", "a/two.png", "b/three.jpg"]
    assert again.fingerprint == folder.fingerprint
    assert object_rows(again, home) == [[0], [1], [2]]
    (home / "a/two_mask.png").unlink()
    assert object_rows(again, home) == [[0], "no mask", [2]]


def test_masks_of_arrays_are_named_by_the_row_in_the_complete_split(tmp_path):
    data = make_set(40)
    for row in (0, 17):
        write(tmp_path / f"{row:06d}.png", rows_of_values(*[0] * (row // 17), 1))
    assert object_rows(data, tmp_path)[:2] == [[0], "no mask"]
    part = data.rows(np.array([17, 0]))
    assert object_rows(part, tmp_path) == [[1], [0]]


def test_voc_images_have_a_palette_unknown_pixels_and_names(folder, tmp_path):
    for name in ("one", "two", "three"):
        write(tmp_path / f"masks/{name}.png", rows_of_values(8, 255, 15), palette=True)
    source = load_source(f"masks:{tmp_path / 'masks'}")
    answer = source(folder, np.arange(3))
    assert source.describe(folder)["style"] == "classes"
    assert source.classes == VOC[1:]
    assert answer.classes[:, :4, 0].tolist() == [[8, 0, 15, 0]] * 3
    assert object_rows(folder, tmp_path / "masks", classes=["cat"]) == [[0]] * 3
    assert object_rows(folder, tmp_path / "masks", classes=["person", "cat"]) == [[0, 2]] * 3
    with pytest.raises(OptionError, match='classes: expected a known name, got "catt"; did you mean "cat"'):
        load_source(f"masks:{tmp_path / 'masks'}", classes=["catt"])(folder, np.arange(1))


def test_0_1_and_255_are_background_object_and_unknown(folder, tmp_path):
    for name in ("one", "two", "three"):
        write(tmp_path / f"masks/{name}.png", rows_of_values(1, 255))
    assert object_rows(folder, tmp_path / "masks") == [[0]] * 3


def test_files_of_0_and_1_and_files_of_0_and_255_are_both_binary(folder, tmp_path):
    for name, value in (("one", 1), ("two", 255), ("three", 255)):
        write(tmp_path / f"masks/{name}.png", rows_of_values(0, value))
    assert object_rows(folder, tmp_path / "masks") == [[1]] * 3
    write(tmp_path / "masks/two.png", rows_of_values(0, 1, 255))
    assert object_rows(folder, tmp_path / "masks", style="binary") == [
        [1],
        "two.png: style binary needs values 0 and 1, or 0 and 255, got 1 and 255; choose --style classes if 255 is unknown",
        [1],
    ]


def test_the_suffix_of_a_mask_may_have_capitals(folder, tmp_path):
    for name, ending in (("one", ".PNG"), ("two", "_mask.PNG"), ("three", ".png")):
        write(tmp_path / f"masks/{name}{ending}", rows_of_values(0, 1))
    assert object_rows(folder, tmp_path / "masks") == [[1]] * 3
    write(tmp_path / "images/train/b/three.PNG", rows_of_values(1))
    assert object_rows(folder, tmp_path / "images/train")[2] == [0]


def test_an_image_with_capitals_in_its_suffix_is_not_its_own_mask(tmp_path):
    for name in ("a/one.PNG", "a/two.jpg"):
        write(tmp_path / "train" / name, rows_of_values(1))
    write(tmp_path / "train/a/two.png", rows_of_values(1))
    data = load_data(f"folder:{tmp_path}", split="all")
    assert object_rows(data, tmp_path / "train") == ["no mask", [0]]


def test_class_names_are_read_from_a_file_next_to_the_masks(folder, tmp_path):
    for name in ("one", "two", "three"):
        write(tmp_path / f"masks/{name}.png", rows_of_values(1, 2, 3))
    with pytest.raises(
        MaskError, match="the style of the masks cannot be determined from their values 0, 1, 2, 3; pass --style"
    ):
        object_rows(folder, tmp_path / "masks")
    (tmp_path / "masks/classes.txt").write_text("nothing\nwing\nbeak\ntail\n")
    assert object_rows(folder, tmp_path / "masks", classes=["beak"]) == [[1]] * 3
    assert object_rows(folder, tmp_path / "masks", style="trimap") == [[0]] * 3
    assert object_rows(folder, tmp_path / "masks", style="classes") == [[0, 1, 2]] * 3


def test_object_classes_restrict_each_image_to_its_label(folder, tmp_path):
    for name in ("one", "two", "three"):
        write(tmp_path / f"masks/{name}.png", rows_of_values(8, 0, 15), palette=True)
    file = tmp_path / "map.json"
    for given, expected in (
        ({"a": ["cat"], "b": ["person"]}, [[0], [0], [2]]),
        ({"a": None, "b": []}, [[0, 2], [0, 2], []]),
        ({"a": ["cat", "person"], "b": ["dog"]}, [[0, 2], [0, 2], []]),
    ):
        file.write_text(json.dumps(given))
        assert object_rows(folder, tmp_path / "masks", object_classes=file) == expected
    file.write_text('{"a": ["cat"]}')
    with pytest.raises(MaskError, match=r"object-classes: the file has no entry for class b of .*; add one"):
        object_rows(folder, tmp_path / "masks", object_classes=file)
    for text in ("{", "[]", '{"a": "cat"}', '{"a": [1]}'):
        file.write_text(text)
        with pytest.raises(MaskError, match="object-classes: expected "):
            object_rows(folder, tmp_path / "masks", object_classes=file)


def test_cityscapes_label_ids_are_recognised_and_classes_with_instances_are_objects(tmp_path):
    name = "x_000_leftImg8bit"
    write(tmp_path / f"city/train/aachen/{name}.png", np.zeros((*SIZE, 3), np.uint8))
    (tmp_path / "city/test").mkdir()
    numbers_of = {kind.name: kind.id for kind in Cityscapes.classes}
    car, sky, person = (numbers_of[name] for name in ("car", "sky", "person"))
    assert (car, sky, person, numbers_of["bicycle"]) == (26, 23, 24, 33)
    write(tmp_path / "gtFine/train/aachen/x_000_gtFine_labelIds.png", rows_of_values(car, sky, person, 0))
    data = load_data(f"folder:{tmp_path / 'city'}")
    for place in ("gtFine", "gtFine/train"):
        assert object_rows(data, tmp_path / place) == [[0, 2]]
    assert object_rows(data, tmp_path / "gtFine", classes=["sky"]) == [[1]]


def test_things_of_panoptic_images_are_objects(folder, tmp_path):
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
    assert object_rows(folder, tmp_path / "panoptic") == [
        [0, 2],
        [0, 2],
        "three.png: the picture is not listed in panoptic.json",
    ]
    assert object_rows(folder, tmp_path / "panoptic", classes=["sky"])[0] == [1]


def test_coco_instances_are_united_from_codes_and_polygons(folder, tmp_path):
    box = [0, 6, 14, 6, 14, 8, 0, 8]
    counts = [2, *[1, 9] * 13, 1, 7]  # in column-major order: row 2
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
    assert object_rows(folder, tmp_path / "coco") == [[2, 6, 7], [], "no mask"]
    assert object_rows(folder, tmp_path / "coco", classes=["pan"])[0] == [6, 7]


def test_chosen_instances_are_united_where_they_overlap(folder, tmp_path):
    image = {"height": 10, "width": 14}
    upper, lower = [0, 2, 14, 2, 14, 6, 0, 6], [0, 4, 14, 4, 14, 8, 0, 8]
    content = {
        "images": [
            {"id": row, "file_name": f"{name}.jpg", **image} for row, name in enumerate(("one", "two", "three"))
        ],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 3, "segmentation": [upper], "iscrowd": 1},
            {"id": 2, "image_id": 0, "category_id": 8, "segmentation": [lower]},
        ],
        "categories": [{"id": 3, "name": "cup"}, {"id": 8, "name": "pan"}],
    }
    home = tmp_path / "coco"
    home.mkdir()
    (home / "some.json").write_text(json.dumps(content))
    assert object_rows(folder, home) == [[2, 3, 4, 5, 6, 7], [], []]
    assert object_rows(folder, home, classes=["cup"]) == [[2, 3, 4, 5], [], []]
    source = load_source(f"masks:{home}")
    assert source(folder, np.arange(1)).classes[0, :, 0].tolist() == [0, 0, 1, 1, 2, 2, 2, 2, 0, 0]
    # A file that is corrected while Python runs is read again.
    content["annotations"].pop()
    (home / "some.json").write_text(json.dumps(content))
    assert object_rows(folder, home) == [[2, 3, 4, 5], [], []]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [', "annotations.json: expected COCO annotations, got invalid JSON "),
        ("[]", "annotations.json: expected COCO annotations, got expected object, got array"),
        (
            '{"images": [], "annotations": []}',
            "annotations.json: expected COCO annotations, got no categories",
        ),
        (
            '{"images": [{"id": 1, "file_name": "one.jpg", "height": 3}], "annotations": [], "categories": []}',
            "expected COCO annotations, got images\\[0\\]: no width; repair the file",
        ),
        (
            json.dumps({"images": [], "annotations": [], "categories": [{"id": n, "name": "x"} for n in range(255)]}),
            "expected at most 254 categories, got 255; remove some",
        ),
        (
            '{"images": [], "annotations": [], "categories": []}',
            r"no image of .* has a mask here, such as a/one\.png",
        ),
    ],
)
def test_damaged_annotations_are_refused_in_one_line(folder, tmp_path, content, message):
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/annotations.json").write_text(content)
    with pytest.raises(MaskError, match=message) as caught:
        object_rows(folder, tmp_path / "coco")
    assert "\n" not in str(caught.value)


def test_one_of_several_annotation_files_must_be_named(folder, tmp_path):
    (tmp_path / "coco").mkdir()
    for name in ("train", "val"):
        (tmp_path / f"coco/{name}.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(MaskError, match=r"got train\.json, val\.json; name the right one annotations\.json"):
        object_rows(folder, tmp_path / "coco")


@pytest.mark.parametrize(
    "change",
    [
        {"category_id": 7},
        {"segmentation": {"size": [3, 3], "counts": [1, 8]}},
        {"segmentation": 3},
        {"segmentation": {"size": [10, 14], "counts": [1, 2]}},
        {"segmentation": [[0, 6, 14, 6, 14]]},
    ],
)
def test_an_invalid_annotation_affects_only_its_image(folder, tmp_path, change):
    image = {"height": 10, "width": 14}
    one = {"category_id": 3, "segmentation": [[0, 6, 14, 6, 14, 8, 0, 8]]}
    content = {
        "images": [{"id": 4, "file_name": "a/one.jpg", **image}, {"id": 5, "file_name": "two.png", **image}],
        "annotations": [{"id": 1, "image_id": 4, **one, **change}, {"id": 2, "image_id": 5, **one}],
        "categories": [{"id": 3, "name": "cup"}],
    }
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/annotations.json").write_text(json.dumps(content))
    got = object_rows(folder, tmp_path / "coco")
    assert got[0].startswith("annotation 1: expected a known category and a mask of 10x14 pixels, got ")
    assert got[1:] == [[6, 7], "no mask"]


def test_unreadable_masks_are_reported_and_do_not_affect_other_masks(folder, tmp_path):
    for name in ("one", "two", "three"):
        write(tmp_path / f"masks/{name}.png", rows_of_values(1))
    (tmp_path / "masks/two.png").write_bytes(b"none")
    got = object_rows(folder, tmp_path / "masks")
    assert got == object_rows(folder, tmp_path / "masks", style="binary")
    assert got[0] == got[2] == [0]
    assert got[1].startswith("two.png: expected a readable image, got UnidentifiedImageError")
    store = build_masks(
        folder, load_source(f"masks:{tmp_path / 'masks'}", style="binary"), tmp_path / "store", refine="none"
    )
    assert list(store.problems) == [1]
    assert store.problems[1].startswith("a/two.png: expected a readable image")
    for name in ("one", "three"):
        (tmp_path / f"masks/{name}.png").write_bytes(b"none")
    with pytest.raises(MaskError, match=r"\.png: expected a readable image, got UnidentifiedImageError"):
        object_rows(folder, tmp_path / "masks")


def test_a_corrected_mask_changes_the_store(folder, tmp_path):
    for name in ("one", "two", "three"):
        write(tmp_path / f"masks/{name}.png", rows_of_values(1))
    build_masks(folder, load_source(f"masks:{tmp_path / 'masks'}"), tmp_path / "store", refine="none")
    write(tmp_path / "masks/two.png", rows_of_values(0, 1))
    with pytest.raises(MaskError, match="the existing masks were built with source sha256"):
        build_masks(folder, load_source(f"masks:{tmp_path / 'masks'}"), tmp_path / "store", refine="none")


def test_class_names_are_part_of_the_description_of_the_source(folder, tmp_path):
    for name in ("one", "two", "three"):
        write(tmp_path / f"masks/{name}.png", rows_of_values(1, 2))
    shas = []
    for names in ("nothing\nwing\nbeak", "nothing\nbeak\nwing"):
        (tmp_path / "masks/classes.txt").write_text(names)
        source = load_source(f"masks:{tmp_path / 'masks'}", classes=["beak"])
        shas.append(source.describe(folder)["sha256"])
    assert shas[0] != shas[1]
    (tmp_path / "masks/classes.txt").write_text("nothing\nbeak\n")
    assert object_rows(folder, tmp_path / "masks", style="classes") == [
        f"{name}.png: expected classes below 2, got 2" for name in ("one", "two", "three")
    ]
    (tmp_path / "masks/classes.txt").write_text("nothing\n")
    with pytest.raises(MaskError, match=r"classes\.txt: expected 2 to 255 names, one per line"):
        object_rows(folder, tmp_path / "masks", style="classes")


def test_a_mask_saved_in_another_image_mode_is_the_same_mask(folder, tmp_path):
    mask = np.isin(np.arange(140).reshape(SIZE) // 14, (2, 5))
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    turned = grey.convert("P")
    turned.putpalette([255, 255, 255, 0, 0, 0])
    turned.putdata((~mask).ravel().astype(int).tolist())  # white has index 0
    saved = {
        "1": grey.convert("1"),
        "RGB": grey.convert("RGB"),
        "RGBA": grey.convert("RGBA"),
        "LA": grey.convert("LA"),
        "I;16": Image.fromarray(mask.astype(np.uint16)),
        "P": turned,
        "edges": Image.fromarray(np.where(mask, 200, 90).astype(np.uint8)),
    }
    home = tmp_path / "masks"
    home.mkdir()
    for mode, picture in saved.items():
        for name in ("one", "two", "three"):
            picture.save(home / f"{name}.png")
        assert object_rows(folder, home, style="binary") == [[2, 5]] * 3, mode
        if mode != "edges":
            assert load_source(f"masks:{home}").describe(folder)["style"] == "binary", mode


BINARY = "style binary needs values 0 and 1, or 0 and 255, got a maximum of 7; choose another --style, such as classes"


@pytest.mark.parametrize(
    ("style", "pixels", "message"),
    [
        ("binary", rows_of_values(0, 7), BINARY),
        ("trimap", rows_of_values(1, 128, 255), "style trimap needs values from 1 to 3, got 255"),
        ("cityscapes", rows_of_values(24, 34), "expected classes below 34, got 34"),
        (
            "classes",
            np.arange(420).reshape(*SIZE, 3).astype(np.uint8),
            "style classes needs one channel, but the image has colours",
        ),
    ],
)
def test_values_unknown_to_a_style_are_reported_for_the_image(folder, tmp_path, style, pixels, message):
    for name in ("one", "two", "three"):
        write(tmp_path / f"masks/{name}.png", pixels)
    assert object_rows(folder, tmp_path / "masks", style=style)[1] == f"two.png: {message}"


def test_colour_images_without_annotations_have_no_style(folder, tmp_path):
    for name in ("one", "two", "three"):
        write(tmp_path / f"masks/{name}.png", np.arange(420).reshape(*SIZE, 3).astype(np.uint8))
    with pytest.raises(
        MaskError, match="the style of the masks cannot be determined from their colours; save them as grey"
    ):
        object_rows(folder, tmp_path / "masks")
    with pytest.raises(
        MaskError, match="style panoptic needs a JSON file of COCO annotations; save it in this folder as"
    ):
        object_rows(folder, tmp_path / "masks", style="panoptic")


def test_the_style_is_recognised_from_all_classes(tmp_path):
    for kind, number in (("a", 1), ("b", 2)):
        for row in range(30):
            write(tmp_path / f"images/train/{kind}/{kind}{row}.jpg", np.zeros((*SIZE, 3), np.uint8))
            write(tmp_path / f"masks/{kind}{row}.png", rows_of_values(number))
    (tmp_path / "images/test").mkdir()
    with pytest.raises(MaskError, match="from their values 0, 1, 2; pass --style"):
        object_rows(load_data(f"folder:{tmp_path / 'images'}"), tmp_path / "masks")


def test_a_mask_is_never_mistaken_for_that_of_another_image(tmp_path):
    for name in ("a/one", "b/one"):
        write(tmp_path / f"images/train/{name}.png", np.zeros((*SIZE, 3), np.uint8))
    (tmp_path / "images/test").mkdir()
    data = load_data(f"folder:{tmp_path / 'images'}")
    write(tmp_path / "masks/one.png", rows_of_values(1))
    with pytest.raises(MaskError, match=r"no image of .* has a mask here, such as a/one\.png"):
        object_rows(data, tmp_path / "masks")
    write(tmp_path / "masks/b/one.png", rows_of_values(0, 1))
    assert object_rows(data, tmp_path / "masks") == ["no mask", [1]]


def test_an_image_is_not_a_mask_for_any_spelling_of_the_folder(tmp_path, monkeypatch):
    for name in ("a/one", "b/two"):
        write(tmp_path / f"images/train/{name}.png", rows_of_values(1))
    (tmp_path / "images/test").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    data = load_data("folder:images")
    for place in (
        "images",
        "images/train",
        tmp_path / "images/train",
        "link/train",
        "images/train/a",
        "images/train/b",
    ):
        with pytest.raises(MaskError, match=r"no image of .* has a mask here, such as a/one\.png"):
            object_rows(data, place)


def test_masks_of_val_are_in_the_folder_val(tmp_path):
    for name in ("train/a/one", "val/a/two"):
        write(tmp_path / f"images/{name}.jpg", np.zeros((*SIZE, 3), np.uint8))
    write(tmp_path / "masks/val/a/two.png", rows_of_values(0, 1))
    assert object_rows(load_data(f"folder:{tmp_path / 'images'}", split="test"), tmp_path / "masks") == [[1]]


def test_mask_files_of_volumes_are_refused(tmp_path):
    data = make_set(4)
    volumes = replace(data, images=data.images[..., None, :1], masks=None, fingerprint="")
    with pytest.raises(
        MaskError, match=r"expected images with 2 spatial dimensions, but those of made have size \(10, 14, 1\)"
    ):
        load_source(f"masks:{tmp_path}").describe(volumes)


@pytest.mark.parametrize("given", ["none", "empty"])
def test_a_folder_without_masks_is_refused(folder, tmp_path, given):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        MaskError, match=r"there is no folder .*none|no image of .* has a mask here, such as a/one\.png"
    ):
        object_rows(folder, tmp_path / given)


def test_masks_of_images_of_different_sizes_are_resized_to_one_size(tmp_path):
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


def test_masks_of_one_size_keep_it_in_batches_and_in_the_complete_set(tmp_path):
    for number, size in enumerate([(11, 7), (22, 14), (22, 14), (44, 28)]):
        write(tmp_path / f"images/train/a/{number}.jpg", np.zeros((*size, 3), np.uint8))
        write(tmp_path / f"masks/{number}.png", np.random.default_rng(number).integers(0, 2, (33, 21)).astype(np.uint8))
        write(tmp_path / f"others/{number}.png", np.random.default_rng(number).integers(0, 2, size).astype(np.uint8))
    (tmp_path / "images/test").mkdir()
    data = load_data(f"folder:{tmp_path / 'images'}")
    for place, size in (("masks", (33, 21)), ("others", (512, 512))):
        source = load_source(f"masks:{tmp_path / place}")
        assert source.describe(data)["size"] == list(size)
        whole = source(data, np.arange(4))
        assert whole.object.shape == (4, *size)
        for row in range(4):
            alone = source(data.rows(np.array([row])), np.arange(1))
            assert torch.equal(alone.object[0], whole.object[row])
    assert np.array_equal(
        whole.mask()[0].numpy(), np.asarray(Image.open(tmp_path / "others/0.png").resize((512, 512), 0)) > 0
    )


def test_resizing_keeps_pixels_that_are_at_least_half_object_and_their_class():
    given = np.array([[7, 0, 0, 0], [0, 7, 0, 0], [9, 9, 0, 0], [9, 9, 0, 9]], np.uint8)
    assert resize_class_map(given, (2, 2)).tolist() == [[7, 0], [9, 0]]
    assert resize_class_map(given, (4, 4)).tolist() == given.tolist()
    assert resize_class_map(given, (8, 8)).tolist() == given.repeat(2, 0).repeat(2, 1).tolist()


def test_the_mask_of_an_image_named_like_a_mask_belongs_to_that_image(tmp_path):
    """001_mask.png is the mask of 001_mask.jpg, and 001.jpg has none."""
    for name in ("x.jpg", "x_mask.jpg", "y.jpg"):
        write(tmp_path / "images/train/a" / name, np.full((*SIZE, 3), 90, np.uint8))
    (tmp_path / "images/test").mkdir()
    for place in ("masks/a", "flat"):
        write(tmp_path / place / "x_mask.png", rows_of_values(1))
        write(tmp_path / place / "y_mask.png", rows_of_values(0, 1))
    data = load_data(f"folder:{tmp_path / 'images'}")
    for place in ("masks", "flat"):
        assert object_rows(data, tmp_path / place) == ["no mask", [0], [1]]


@pytest.mark.parametrize("kind", ["masks", "labelme"])
def test_images_whose_names_differ_only_by_the_suffix_have_no_separate_masks(tmp_path, kind):
    for name in ("x.jpg", "x.bmp"):
        write(tmp_path / "images/train/a" / name, np.full((*SIZE, 3), 90, np.uint8))
    (tmp_path / "images/test").mkdir()
    data = load_data(f"folder:{tmp_path / 'images'}")
    with pytest.raises(MaskError, match=r"two images are called a/x \(without suffix\); rename one"):
        load_source(f"{kind}:{tmp_path}").describe(data)
