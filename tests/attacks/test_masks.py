"""Test that truncated encodings, shards of other builds and swapped files never give a wrong mask, the worst possible defect."""

import base64
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as codes

from smix.errors import MaskError
from smix.masks import MaskStore, build_masks, load_source
from smix.masks.sources.labelme import read_shapes
from smix.masks.sources.run_lengths import decode_rle, polygon_mask
from smix.masks.staged import npy
from smix.untrusted import UnreadableError, parse_json
from tests.conftest import make_set
from tests.masks.stores import BrightnessSource, content, raise_at, use_small_shards
from tests.sealed import edit

SIZES = [(1, 1), (1, 9), (7, 1), (10, 14), (33, 17)]


# COCO


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 0.98, 1.0])
def test_codes_are_decoded_as_pycocotools_does(size, density):
    for seed in range(10):
        mask = np.random.default_rng(seed).random(size) < density
        code = codes.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert np.array_equal(decode_rle(code, size), mask)
        runs = np.flatnonzero(np.diff(np.r_[0, mask.T.ravel(), 2])) + 1
        assert np.array_equal(decode_rle(np.diff(np.r_[0, runs - 1]).tolist(), size), mask)


def test_long_runs_are_decoded_as_pycocotools_does():
    mask = np.zeros((3000, 2000), bool)
    mask[17:2900, 300:1800] = True
    code = codes.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(decode_rle(code, mask.shape), mask)


def test_truncated_codes_give_no_mask():
    refused = 0
    for seed in range(4):
        mask = np.random.default_rng(seed).random((20, 30)) < 0.3
        code = codes.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        for length in range(len(code)):
            with pytest.raises(ValueError, match="run-length encoding"):
                decode_rle(code[:length], mask.shape)
            refused += 1
    assert refused > 500


def test_an_altered_code_is_refused_or_fills_the_image_exactly():
    rng, kept = np.random.default_rng(0), 0
    mask = rng.random((20, 30)) < 0.3
    code = codes.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    for _ in range(500):
        place = rng.integers(len(code))
        altered = code[:place] + chr(rng.integers(0, 300)) + code[place + 1 :]
        try:
            result = decode_rle(altered, mask.shape)
        except ValueError:
            continue
        kept += 1
        assert result.shape == mask.shape
        assert np.array_equal(result, codes.decode({"size": [20, 30], "counts": altered.encode()}).astype(bool))
    assert kept < 50


@pytest.mark.parametrize(
    "counts",
    ["o" * 100000, "\u20ac", "0" * 10**6, [2**70], [-1, 141], [10**9], "", "P", "ooooooooooo0", [1.5]],
    ids=lambda counts: str(counts)[:12],
)
def test_hostile_counts_are_refused_at_once(counts):
    began = time.monotonic()
    with pytest.raises((ValueError, TypeError)):
        decode_rle(counts, (10, 14))
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "polygon",
    [
        [0, 0, 1e9, 0, 0, 1e9],
        [0, 0, 1e300, 0, 0, 1],
        [-1e18, 0, 5, 5, 9, 9],
        [0, 0, 1.0, 1.0],
        [0, 0, 1, 1, 2],
        [],
        [float("nan"), 0, 1, 1, 2, 2],
        [float("inf"), 0, 1, 1, 2, 2],
        [0, 0, 9e6, 0, 0, 0] * 100,
    ],
    ids=str,
)
def test_hostile_polygons_are_refused(polygon):
    with pytest.raises(ValueError, match="a polygon"):
        polygon_mask([polygon], (10, 14))


def test_polygons_slightly_outside_of_the_image_are_filled_as_pycocotools_does():
    rng = np.random.default_rng(0)
    for _ in range(50):
        polygon = rng.uniform(-20, 40, 2 * rng.integers(3, 9)).tolist()
        expected = codes.decode(codes.merge(codes.frPyObjects([polygon], 12, 16))).astype(bool)
        assert np.array_equal(polygon_mask([polygon], (12, 16)), expected)


def write_annotations(folder: Path, **changes: object) -> Path:
    """Write COCO annotations of the first image of a data set of 10 x 14 pixels."""
    annotations = {
        "images": [{"id": 4, "file_name": "000000.jpg", "height": 10, "width": 14}],
        "annotations": [{"id": 1, "image_id": 4, "category_id": 3, "segmentation": [[0, 6, 14, 6, 14, 8, 0, 8]]}],
        "categories": [{"id": 3, "name": "cup"}],
    }
    folder.mkdir()
    (folder / "annotations.json").write_text(json.dumps({**annotations, **changes}))
    return folder


TWICE = [{"id": 4, "file_name": name, "height": 10, "width": 14} for name in ("000000.jpg", "000001.jpg")]
HOSTILE = {
    "an image id twice": ({"images": TWICE}, "the duplicate image id 4"),
    "a name twice": ({"images": [{**TWICE[0], "id": 5}, TWICE[0]]}, "the duplicate image name 000000"),
    "names that differ by the suffix": (
        {"images": [TWICE[0], {**TWICE[0], "id": 5, "file_name": "000000.png"}]},
        "the duplicate image name",
    ),
    "a category id twice": (
        {"categories": [{"id": 3, "name": "cup"}, {"id": 3, "name": "dog"}]},
        "the duplicate category id 3",
    ),
    "a huge image": ({"images": [{**TWICE[0], "height": 10**6, "width": 10**6}]}, "an image of more than"),
    "a height that is a text": ({"images": [{**TWICE[0], "height": "10"}]}, r"images\[0\]\.height: expected int"),
    "a height of 0": ({"images": [{**TWICE[0], "height": 0}]}, r"images\[0\]\.height: expected int >= 1"),
    "a list as id": ({"images": [{**TWICE[0], "id": [4]}]}, r"images\[0\]\.id: expected"),
    "no images": ({"images": None}, "images: expected array"),
    "a number as annotation": ({"annotations": [5]}, r"annotations\[0\]: expected object"),
}


@pytest.mark.parametrize(("changes", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_impossible_annotations_are_refused(tmp_path, changes, message):
    with pytest.raises(MaskError, match=message) as caught:
        load_source(f"masks:{write_annotations(tmp_path / 'coco', **changes)}").describe(make_set(3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [], "images": [], "annotations": [], "categories": []}', 'a duplicate key "images"'),
        ("[" * 10000 + '"images""annotations""categories"', "nested too deeply"),
        ('{"images": NaN, "annotations": [], "categories": []}', "the number NaN"),
        ('{"images": [1e999], "annotations": [], "categories": []}', "the number 1e999"),
        ('{"images": ["\\ud800"], "annotations": [], "categories": []}', "not text in UTF-8"),
    ],
    ids=["a key twice", "deep", "NaN", "infinite", "half a character"],
)
def test_ambiguous_or_empty_json_is_refused(tmp_path, text, message):
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(MaskError, match=message):
        load_source(f"masks:{tmp_path}").describe(make_set(3))


def test_many_keys_and_images_are_read_in_seconds(tmp_path):
    keys = ", ".join(f'"{number}": 0' for number in range(200_000))
    began = time.monotonic()
    with pytest.raises(UnreadableError, match='a duplicate key "199999"'):
        parse_json(f'{{{keys}, "199999": 1}}')
    images = [{"id": number, "file_name": f"{number}.jpg", "height": 1, "width": 1} for number in range(100_000)]
    with pytest.raises(MaskError, match="the duplicate image id 99999"):
        load_source(f"masks:{write_annotations(tmp_path / 'coco', images=[*images, images[-1]])}").describe(make_set(3))
    assert time.monotonic() - began < 10


# labelme


def draw_shapes(tmp_path: Path, *shapes: dict[str, object], **changes: object) -> np.ndarray:
    values = {"imageHeight": 20, "imageWidth": 30, "shapes": [{"label": "a", **shape} for shape in shapes], **changes}
    (tmp_path / "a.json").write_text(json.dumps(values))
    return read_shapes(tmp_path / "a.json", None)


@pytest.mark.parametrize("far", [1e3, 1e5, 1e9, 1e18, 1e300])
@pytest.mark.parametrize("kind", ["circle", "rectangle"])
def test_a_shape_of_any_size_that_covers_the_image_gives_a_full_mask(tmp_path, kind, far):
    points = [[15, 10], [15 + far, 10]] if kind == "circle" else [[-far, -far], [far, far]]
    assert draw_shapes(tmp_path, {"shape_type": kind, "points": points}).all()


@pytest.mark.parametrize("far", [40.0, 1e5, 1e300])
@pytest.mark.parametrize("kind", ["circle", "rectangle"])
def test_a_shape_at_any_distance_outside_of_the_image_is_refused(tmp_path, kind, far):
    points = [[far, far], [far + 3, far]] if kind == "circle" else [[far, far], [far + 2, far + 2]]
    with pytest.raises(MaskError, match=f"{kind} (has no pixel in|is far outside)"):
        draw_shapes(tmp_path, {"shape_type": kind, "points": points})


@pytest.mark.parametrize("radius", [16000.0, 17000.0])
def test_both_ways_to_draw_large_circles_agree(tmp_path, radius):
    """Pillow draws small circles and a formula large ones; their borders differ by at most one column."""
    mask = draw_shapes(tmp_path, {"shape_type": "circle", "points": [[15 - radius, 10], [15, 10]]})
    assert mask[10, :14].all()
    assert not mask[10, 17:].any()


@pytest.mark.parametrize("side", [1, 3, 20])
def test_clipping_a_rectangle_changes_nothing(tmp_path, side):
    rng = np.random.default_rng(side)
    for _ in range(20):
        points = rng.uniform(-40, 60, (2, 2))
        picture = Image.new("L", (30, 20))
        (left, right), (top, bottom) = np.sort(points.T)
        ImageDraw.Draw(picture).rectangle([left, top, right, bottom], fill=1, outline=1)
        if not np.asarray(picture).any():
            with pytest.raises(MaskError, match="has no pixel"):
                draw_shapes(tmp_path, {"shape_type": "rectangle", "points": points.tolist()})
            continue
        result = draw_shapes(tmp_path, {"shape_type": "rectangle", "points": points.tolist()})
        assert np.array_equal(result, np.asarray(picture) != 0)


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
BAD_SHAPES = {
    "a polygon far away": ({"shape_type": "polygon", "points": [[0, 0], [1e9, 0], [0, 1e9]]}, {}, "far outside"),
    "not finite": ({"shape_type": "polygon", "points": [[0, 0], [5, 0], [0, "Infinity"]]}, {}, "points"),
    "a huge image": ({"points": []}, {"imageHeight": 10**6, "imageWidth": 10**6}, "size"),
    "a size that is a text": ({"points": []}, {"imageHeight": "20"}, "imageHeight: expected int"),
    "half a pixel": ({"points": []}, {"imageHeight": 20.5}, "imageHeight: expected int"),
    "a size of 0": ({"points": []}, {"imageHeight": 0}, "imageHeight: expected int"),
    "no mask": ({"shape_type": "mask", "points": [[0, 0], [5, 5]], "mask": PNG}, {}, "UnidentifiedImageError"),
    "no base64": ({"shape_type": "mask", "points": [[0, 0], [5, 5]], "mask": "\u20ac"}, {}, "ASCII"),
}


@pytest.mark.parametrize(("shape", "changes", "message"), BAD_SHAPES.values(), ids=BAD_SHAPES.keys())
def test_impossible_shapes_are_refused(tmp_path, shape, changes, message):
    with pytest.raises(MaskError, match=message):
        draw_shapes(tmp_path, shape, **changes)


def test_a_file_with_contradictory_sizes_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"imageHeight": 20, "imageWidth": 30, "imageHeight": 10, "shapes": []}')
    with pytest.raises(MaskError, match='a duplicate key "imageHeight"'):
        read_shapes(tmp_path / "a.json", None)


# Parts of other builds


@pytest.fixture
def interrupted_build(tmp_path, monkeypatch) -> Path:
    """Return a build that was interrupted after three of five shards."""
    use_small_shards(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        build_masks(make_set(), BrightnessSource(before=raise_at(10, KeyboardInterrupt())), tmp_path / "store")
    assert len(list((tmp_path / "store" / "building").glob("[0-9]*.json"))) == 3
    return tmp_path / "store"


def test_parts_of_other_settings_are_discarded_and_named(interrupted_build, tmp_path, capsys):
    (interrupted_build / "building" / "manifest.json").unlink()  # as the message about a damaged manifest advises
    build_masks(make_set(), BrightnessSource(), interrupted_build, refine="none")
    assert capsys.readouterr().err.count("or was built with other settings or for other images") == 3
    build_masks(make_set(), BrightnessSource(), tmp_path / "new", refine="none")
    assert content(interrupted_build) == content(tmp_path / "new")


def test_parts_of_other_images_are_discarded_and_named(interrupted_build, tmp_path, capsys):
    other = make_set(seed=1)
    with pytest.raises(KeyboardInterrupt):
        build_masks(other, BrightnessSource(before=raise_at(10, KeyboardInterrupt())), tmp_path / "other")
    for name in ("00001.json", "shard-00001.npy"):
        shutil.copy(interrupted_build / "building" / name, tmp_path / "other" / "building" / name)
    store = build_masks(other, BrightnessSource(), tmp_path / "other")
    assert "00001.json: the shard is damaged, or was built with other settings" in capsys.readouterr().err
    build_masks(other, BrightnessSource(), tmp_path / "new")
    assert content(store.path) == content(tmp_path / "new")


def test_parts_under_another_number_are_discarded(interrupted_build, tmp_path, capsys):
    for name in ("{}.json", "shard-{}.npy"):
        source, target = (interrupted_build / "building" / name.format(number) for number in ("00000", "00002"))
        shutil.copy(source, target)
    build_masks(make_set(), BrightnessSource(), interrupted_build)
    assert "00002.json: the shard is damaged, or was built with other settings" in capsys.readouterr().err
    build_masks(make_set(), BrightnessSource(), tmp_path / "new")
    assert content(interrupted_build) == content(tmp_path / "new")


@pytest.mark.parametrize(
    "changes",
    [
        {"stats": ""},
        {"stats": "AAAA"},
        {"broken": {"500": "x"}},
        {"broken": {"a": "x"}},
        {"number": 1},
        {"checksums": ["0" * 64]},
        {"x": 1},
    ],
    ids=str,
)
def test_an_altered_part_with_a_valid_checksum_is_built_again(interrupted_build, tmp_path, changes):
    edit(interrupted_build / "building" / "00000.json", **changes)
    build_masks(make_set(), BrightnessSource(), interrupted_build)
    build_masks(make_set(), BrightnessSource(), tmp_path / "new")
    assert content(interrupted_build) == content(tmp_path / "new")


def test_a_folder_of_parts_that_is_a_link_is_refused(interrupted_build, tmp_path):
    (interrupted_build / "building").rename(tmp_path / "elsewhere")
    (interrupted_build / "building").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MaskError, match="building: expected a folder, got a symbolic link"):
        build_masks(make_set(), BrightnessSource(), interrupted_build)
    assert len(list((tmp_path / "elsewhere").iterdir())) == 7


# Finished stores


@pytest.fixture
def store(tmp_path, monkeypatch) -> MaskStore:
    use_small_shards(monkeypatch)
    return build_masks(make_set(), load_source("carried"), tmp_path / "store")


BAD_MANIFESTS = {
    "no rows in a shard": ({"rows_per_shard": 0}, "rows_per_shard: expected int >= 1"),
    "fewer rows in a shard": ({"rows_per_shard": 4}, r"no sha256 of shard-00005\.npy"),
    "more rows in a shard": ({"rows_per_shard": 9}, r"of shape \(8, 18\) instead"),
    "another shape": (
        {"shape": [14, 11]},
        r"shard-00000\.npy contains uint8 of shape \(8, 18\) instead of uint8 of shape \(8, 20\)",
    ),
    "a shape of four": ({"shape": [2, 5, 7, 2]}, "shape: expected array of at most length 3|shape: "),
    "a shape of texts": ({"shape": ["10", "14"]}, r"shape\[0\]: expected int"),
    "a negative shape": ({"shape": [-10, -14]}, r"shape\[0\]: expected int >= 1"),
    "a huge shape": ({"shape": [2**39, 2**39]}, "a shape of more than"),
    "no files": ({"files": {}}, r"no sha256 of shard-00000\.npy"),
    "a checksum that is none": ({"files": {"shard-00000.npy": "../x"}}, r"files\[...\]: expected str matching"),
    "class maps that are not there": ({"classes": ["a"]}, r"no sha256 of classes-00000\.npy"),
    "a name with an escape": ({"source": {"name": "\x1b[2J"}}, "source.name: expected str matching"),
    "no name": ({"refine": {}}, "refine.name: expected str, got null"),
    "another field": ({"rows": 5}, 'an unknown, missing or altered field "rows"'),
}


@pytest.mark.parametrize(("changes", "message"), BAD_MANIFESTS.values(), ids=BAD_MANIFESTS.keys())
def test_an_impossible_manifest_with_a_valid_checksum_is_refused(store, changes, message):
    edit(store.path / "manifest.json", **changes)
    with pytest.raises(MaskError, match=message) as caught:
        MaskStore(store.path)[:]
    assert str(caught.value).isprintable()


def test_a_store_with_fewer_masks_than_images_is_refused(store):
    manifest = json.loads((store.path / "manifest.json").read_text())
    edit(store.path / "manifest.json", data={**manifest["data"], "count": 38})
    with pytest.raises(MaskError, match=r"stats\.npy contains .* of shape \(40,\) instead of .* of shape \(38,\)"):
        MaskStore(store.path)


def test_masks_that_are_overwritten_while_the_store_is_open_are_detected(store):
    opened, expected = MaskStore(store.path), make_set().masks
    assert np.array_equal(opened[:], expected)
    file = store.path / "shard-00001.npy"
    os.utime(file, ns=(0, 0))  # only the modification time has changed: the file is read and compared again
    assert np.array_equal(opened[8:16], expected[8:16])
    content = bytearray(file.read_bytes())
    content[-1] ^= 0xFF
    with file.open("r+b") as opened_file:  # in place, which also changes the mapped memory
        opened_file.write(content)
    with pytest.raises(MaskError, match=r"shard-00001\.npy has sha256"):
        opened[8:16]
    assert np.array_equal(opened[:8], expected[:8])


def test_a_store_may_grow_while_it_is_open(tmp_path, monkeypatch):
    use_small_shards(monkeypatch)
    data, source = make_set(), load_source("carried")
    few = build_masks(data, source, tmp_path / "store", limit=20)
    rows = np.flatnonzero(few.built)
    read = MaskStore(few.path)
    read[rows[:10]]
    build_masks(data, source, tmp_path / "store")
    assert np.array_equal(few[rows], data.masks[rows])  # before any shard was read
    assert np.array_equal(read[rows], data.masks[rows])  # after some shards were read


def test_a_shard_of_another_store_with_the_same_name_is_detected(store):
    opened = MaskStore(store.path)
    (store.path / "new").write_bytes(npy(np.zeros((8, 18), np.uint8)))
    (store.path / "new").replace(store.path / "shard-00002.npy")
    with pytest.raises(MaskError, match=r"shard-00002\.npy has sha256"):
        opened[16]
    (store.path / "shard-00003.npy").unlink()
    with pytest.raises(MaskError, match=r"shard-00003\.npy cannot be read: No such file"):
        opened[24]


def test_loaded_masks_do_not_change_when_the_files_are_replaced(store):
    opened, expected = MaskStore(store.path), make_set().masks
    opened[:]
    (store.path / "new").write_bytes(npy(np.zeros((8, 18), np.uint8)))
    (store.path / "new").replace(store.path / "shard-00002.npy")
    assert np.array_equal(opened[:], expected)


def test_validity_does_not_change_after_the_store_was_opened(store):
    opened = MaskStore(store.path)
    before = opened.usable.copy()
    with (store.path / "stats.npy").open("r+b") as file:
        file.seek(-9, os.SEEK_END)
        file.write(b"\xff" * 9)
    assert np.array_equal(opened.usable, before)
    with pytest.raises(MaskError, match=r"stats\.npy has sha256"):
        MaskStore(store.path)


def test_masks_of_other_images_are_refused_regardless_of_their_names(store):
    other = replace(make_set(seed=3), name="made")
    with pytest.raises(MaskError, match="masks of another data set"):
        store.check_belongs(other)
