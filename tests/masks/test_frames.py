"""Test that masks are brought into the frame of their photographs: by their size, by --mask-frame, or not at all."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smix import load_data
from smix.data.orientation import Frame
from smix.data.sets import ImageSet
from smix.errors import MaskError, OptionError
from smix.masks import MaskStore, build_masks, load_source
from smix.masks.sources.frames import placement, same_aspect
from tests.conftest import make_set
from tests.data.photographs import as_stored, save_photograph

SIZE, SQUARE = (90, 120), (100, 100)


def object_mask(size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a mask that no rotation and no reflection maps to itself, upright."""
    mask = np.zeros(size, bool)
    mask[size[0] // 9 : size[0] // 2, size[1] // 6 : size[1] // 3] = True
    mask[size[0] // 3 : size[0] // 2, size[1] // 3 : size[1] * 3 // 4] = True
    return mask


def photographs(folder: Path, *orientations: int, size: tuple[int, int] = SIZE) -> ImageSet:
    for number in orientations:
        save_photograph(folder / f"images/train/a/{number}.jpg", number, size)
    (folder / "images/test").mkdir(exist_ok=True)
    return load_data(f"folder:{folder / 'images'}")


def save_mask(
    folder: Path, number: int, stored: bool, size: tuple[int, int] = SIZE, scale: float = 1.0, **options
) -> Path:
    picture = Image.fromarray(object_mask(size).astype(np.uint8) * 255)
    if stored:
        picture = as_stored(picture, number)
    path = folder / f"masks/{number}.png"
    path.parent.mkdir(exist_ok=True)
    new = (round(picture.width * scale), round(picture.height * scale))
    picture.resize(new, Image.Resampling.NEAREST).save(path, **options)
    return path


def built(folder: Path, data: ImageSet, source: str = "masks", size: tuple[int, int] = SIZE, **options) -> MaskStore:
    place = load_source(f"{source}:{folder / 'masks'}", **options)
    return build_masks(data, place, folder / "store", refine="none", size=size)


def agreement(store: MaskStore, row: int, size: tuple[int, int] = SIZE) -> float:
    """Return the IoU with the upright mask."""
    mask, expected = store[row][0], object_mask(size)
    return float((mask & expected).sum() / (mask | expected).sum())


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("scale", [1.0, 0.5, 1.7])
def test_the_size_tells_the_frame_of_photographs_turned_by_90_degrees(tmp_path, stored, scale):
    data = photographs(tmp_path, 1, 5, 6, 7, 8)
    for number in (1, 5, 6, 7, 8):
        save_mask(tmp_path, number, stored, scale=scale)
    store = built(tmp_path, data)
    assert store.usable.all()
    assert min(agreement(store, row) for row in range(5)) > (0.999 if scale == 1 else 0.93)


@pytest.mark.parametrize("frame", ["upright", "stored"])
@pytest.mark.parametrize("size", [SIZE, SQUARE])
def test_the_option_tells_where_the_size_does_not(tmp_path, frame, size):
    numbers = range(1, 9)
    data = photographs(tmp_path, *numbers, size=size)
    for number in numbers:
        save_mask(tmp_path, number, frame == "stored", size)
    store = built(tmp_path, data, size=size, mask_frame=frame)
    assert store.usable.all()
    assert min(agreement(store, row, size) for row in range(8)) > 0.999
    assert store.manifest.source["mask_frame"] == frame


@pytest.mark.parametrize("source", ["masks", "labelme"])
def test_without_the_option_an_unclear_frame_is_refused_before_anything_is_written(tmp_path, source):
    data = photographs(tmp_path, 1, 3, 4, 6)
    for number in (1, 3, 4, 6):
        if source == "masks":
            save_mask(tmp_path, number, stored=False)
        else:
            save_labelme(tmp_path, number, *SIZE)
    expected = (
        r"masks: for 2 of 4 images the size of the mask does not determine its frame, such as a/3\.jpg \(upside down, "
        r"EXIF orientation 3\); pass --mask-frame upright if .* or --mask-frame stored"
    )
    with pytest.raises(MaskError, match=expected):
        built(tmp_path, data, source)
    assert not (tmp_path / "store/manifest.json").exists()
    assert not (tmp_path / "store/building").exists()
    assert built(tmp_path, data, source, mask_frame="upright").usable.all()


def test_masks_of_square_rotated_photographs_are_unclear(tmp_path):
    data = photographs(tmp_path, 1, 6, size=SQUARE)
    save_mask(tmp_path, 1, False, SQUARE)
    save_mask(tmp_path, 6, False, SQUARE)
    with pytest.raises(MaskError, match=r"for 1 of 2 images .* a/6\.jpg \(square, rotated, EXIF orientation 6\)"):
        built(tmp_path, data)


def test_a_mask_of_another_aspect_is_empty_flagged_and_named(tmp_path):
    data = photographs(tmp_path, 1, 6, 8)
    save_mask(tmp_path, 1, False, (90, 100))
    save_mask(tmp_path, 6, False)
    save_mask(tmp_path, 8, False, SQUARE)
    store = built(tmp_path, data)
    assert store.usable.tolist() == [False, True, False]
    assert store.problems == {
        0: "a/1.png: the mask has 100x90 pixels, not the aspect ratio of its image a/1.jpg (120x90 pixels)",
        2: "a/8.png: the mask has 100x100 pixels, not the aspect ratio of its image a/8.jpg (120x90 pixels upright or 90x120 as stored)",
    }
    with pytest.raises(MaskError, match=r"a/1\.png: the mask has 100x90 pixels, .* a/1\.jpg"):
        build_masks(data, load_source(f"masks:{tmp_path / 'masks'}"), tmp_path / "strict", refine="none", strict=True)


@pytest.mark.parametrize(("frame", "stored"), [("upright", True), ("stored", False)])
def test_a_mask_that_does_not_fit_the_given_frame_is_an_error(tmp_path, frame, stored):
    data = photographs(tmp_path, 1, 6)
    for number in (1, 6):
        save_mask(tmp_path, number, stored)
    store = built(tmp_path, data, mask_frame=frame)
    assert store.usable.tolist() == [True, False]
    assert "not the aspect ratio of its image a/6.jpg" in store.problems[1]


def test_the_orientation_of_a_mask_picture_itself_counts(tmp_path):
    data = photographs(tmp_path, 1, 3, 6, 8)
    for number in (1, 3, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = number
        save_mask(tmp_path, number, stored=True, exif=exif)
    store = built(tmp_path, data)
    assert min(agreement(store, row) for row in range(4)) > 0.999


def save_labelme(folder: Path, number: int, height: int, width: int, stored: bool = False) -> None:
    """Write the object as rectangles, with the declared size of the upright or the stored picture."""
    size = (width, height) if stored and number >= 5 else (height, width)
    shapes = []
    mask = as_stored(Image.fromarray(object_mask((height, width)).astype(np.uint8) * 255), number if stored else 1)
    for y, row in enumerate(np.asarray(mask) > 0):
        if row.any():
            left, right = np.flatnonzero(row)[[0, -1]].tolist()
            shapes.append({"label": "a", "shape_type": "rectangle", "points": [[left, y], [right, y]]})
    (folder / "masks").mkdir(exist_ok=True)
    content = {"imageHeight": size[0], "imageWidth": size[1], "shapes": shapes}
    (folder / f"masks/{number}.json").write_text(json.dumps(content))


@pytest.mark.parametrize("stored", [False, True])
def test_labelme_declares_the_size_of_its_frame(tmp_path, stored):
    data = photographs(tmp_path, 1, 5, 6, 7, 8)
    for number in (1, 5, 6, 7, 8):
        save_labelme(tmp_path, number, *SIZE, stored=stored)
    store = built(tmp_path, data, "labelme")
    assert min(agreement(store, row) for row in range(5)) > 0.999


def test_labelme_files_that_fit_no_frame_are_named(tmp_path):
    data = photographs(tmp_path, 1, 6)
    save_labelme(tmp_path, 1, 100, 100)
    save_labelme(tmp_path, 6, *SIZE)
    store = built(tmp_path, data, "labelme")
    assert store.usable.tolist() == [False, True]
    assert store.problems[0] == (
        "a/1.json: the mask has 100x100 pixels, not the aspect ratio of its image a/1.jpg (120x90 pixels)"
    )


@pytest.mark.parametrize("stored", [False, True])
def test_coco_declares_the_size_of_its_frame(tmp_path, stored):
    pytest.importorskip("pycocotools")
    data = photographs(tmp_path, 1, 5, 6, 7, 8)
    images, annotations = [], []
    for number in (1, 5, 6, 7, 8):
        mask = np.asarray(as_stored(Image.fromarray(object_mask().astype(np.uint8)), number if stored else 1))
        flat = np.concatenate([[0], mask.T.ravel(), [0]]).astype(int)
        edges = np.flatnonzero(np.diff(flat))
        counts = np.diff([0, *edges, mask.size]).tolist()
        images.append({"id": number, "file_name": f"a/{number}.jpg", "height": mask.shape[0], "width": mask.shape[1]})
        code = {"size": list(mask.shape), "counts": counts}
        annotations.append({"id": number, "image_id": number, "category_id": 1, "segmentation": code})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cup"}]}
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/annotations.json").write_text(json.dumps(content))
    store = built(tmp_path, data)
    assert min(agreement(store, row) for row in range(5)) > 0.999
    images[1]["height"] = images[1]["width"]
    annotations[1]["segmentation"] = [[5, 5, 30, 5, 30, 30]]
    (tmp_path / "masks/annotations.json").write_text(json.dumps(content))
    store = build_masks(data, load_source(f"masks:{tmp_path / 'masks'}"), tmp_path / "other", refine="none")
    assert list(store.problems) == [1]
    assert "not the aspect ratio of its image a/5.jpg" in store.problems[1]


def test_panoptic_pictures_are_rotated(tmp_path):
    data = photographs(tmp_path, 1, 6)
    for number in (1, 6):
        pixels = np.zeros((*SIZE, 3), np.uint8)
        pixels[object_mask()] = (7, 0, 0)
        (tmp_path / "masks").mkdir(exist_ok=True)
        as_stored(Image.fromarray(pixels), number).save(tmp_path / f"masks/{number}.png")
    segments = [{"id": 7, "category_id": 2}]
    listed = [{"image_id": n, "file_name": f"{n}.png", "segments_info": segments} for n in (1, 6)]
    content = {"images": [], "annotations": listed, "categories": [{"id": 2, "name": "bear", "isthing": 1}]}
    (tmp_path / "masks.json").write_text(json.dumps(content))
    store = built(tmp_path, data)
    assert min(agreement(store, row) for row in range(2)) > 0.999


def test_masks_of_images_in_memory_have_their_aspect(tmp_path):
    data = make_set(3, size=(10, 14))
    (tmp_path / "masks").mkdir()
    for row, size in enumerate([(10, 14), (20, 28), (14, 10)]):
        Image.fromarray(np.full(size, 255, np.uint8)).save(tmp_path / f"masks/{row:06d}.png")
    store = built(tmp_path, data, size=(10, 14))
    assert store.usable.tolist() == [True, True, False]
    assert store.problems[2].startswith(
        "000002.png: the mask has 10x14 pixels, not the aspect ratio of its image 000002 (14x10 pixels)"
    )


def test_exported_masks_of_rotated_photographs_are_read_back(tmp_path):
    from smix.masks.export import export

    data = photographs(tmp_path, 1, 3, 6)
    for number in (1, 3, 6):
        save_mask(tmp_path, number, stored=False)
    store = built(tmp_path, data, size=(64, 64), mask_frame="upright")
    for form in ("png", "coco"):
        export(store, data, tmp_path / form, form)
        again = build_masks(
            data, load_source(f"masks:{tmp_path / form}"), tmp_path / f"{form}-store", size=(64, 64), refine="none"
        )
        assert np.array_equal(again[:], store[:])


@pytest.mark.parametrize(
    ("size", "frame", "expected"),
    [
        ((400, 300), Frame(400, 300, 6), "upright"),
        ((300, 400), Frame(400, 300, 6), "stored"),
        ((303, 400), Frame(400, 300, 6), "stored"),
        ((306, 400), Frame(400, 300, 6), "neither"),
        ((3, 4), Frame(300, 401, 1), "upright"),  # a thumbnail, within one of its pixels
        ((1001, 1000), Frame(1001, 1000, 6), "upright"),  # nearly square: equal sizes decide
        ((1000, 1001), Frame(1001, 1000, 6), "stored"),
        ((500, 500), Frame(1001, 1000, 6), "unclear"),
        ((300, 400), Frame(300, 400, 2), "unclear"),
        ((400, 300), Frame(300, 400, 2), "neither"),
        ((300, 300), Frame(300, 300, 1), "upright"),
    ],
)
def test_placement(size, frame, expected):
    assert placement(size, frame) == expected
    assert placement(size, frame, "upright") == ("upright" if same_aspect(size, frame.upright) else "neither")


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (4, 4), (2, 3)])
def test_tiny_masks_fit_only_images_of_their_aspect_ratio(size):
    assert not same_aspect(size, (300, 400))
    assert not same_aspect((300, 400), size)
    assert same_aspect(size, (size[0] * 100, size[1] * 100))


def test_small_masks_fit_small_images_up_to_one_pixel():
    assert same_aspect((16, 16), (32, 32))
    assert same_aspect((3, 4), (300, 400))
    assert same_aspect((16, 21), (300, 400))
    assert not same_aspect((16, 24), (300, 400))


def test_the_command_refuses_with_exit_code_2_and_counts_at_the_end(smix, tmp_path):
    photographs(tmp_path, 1, 3, 6)
    for number in (1, 3):
        save_mask(tmp_path, number, stored=False)
    save_mask(tmp_path, 6, False, SQUARE)
    command = f"masks build --data folder:{tmp_path / 'images'} --source masks:{tmp_path / 'masks'} --out {tmp_path / 'store'}"
    code, out, err = smix(*command.split())
    assert (code, out) == (2, "")
    assert "for 1 of 3 images the size of the mask" in " ".join(err.split())
    assert not (tmp_path / "store/manifest.json").exists()
    code, out, err = smix(*command.split(), "--mask-frame", "upright", "--quiet")
    assert code == 0, err
    assert "1 image has no mask" in out
    assert "not the aspect ratio of its image train/a/6.jpg" in " ".join(out.split())
    strict = [*command.split()[:-1], str(tmp_path / "strict"), "--mask-frame", "upright", "--strict"]
    code, _, err = smix(*strict)
    assert code == 2
    assert "not the aspect ratio of its image train/a/6.jpg" in " ".join(err.split())


def test_other_sources_have_no_such_option():
    with pytest.raises(OptionError, match="mask-frame: the source carried has no such option; omit --mask-frame"):
        load_source("carried", mask_frame="upright")
