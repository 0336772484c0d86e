"""Test that photographs are read upright, whatever orientation their files have."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from smix import load_data
from smix.data.orientation import Frame, rotated
from smix.data.pictures import decode, frame_of, orientation, size_of
from tests.data.photographs import UPRIGHT, photograph, save_photograph

ORIENTATIONS = range(1, 9)


@pytest.mark.parametrize("number", ORIENTATIONS)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_photograph_is_read_upright(tmp_path, number, suffix):
    path = save_photograph(tmp_path / f"a.{suffix}", number)
    stored = (90, 120) if number < 5 else (120, 90)
    with Image.open(path) as picture:
        assert (picture.height, picture.width) == stored
    assert orientation(path) == number
    assert size_of([path]) == UPRIGHT
    assert frame_of(path) == Frame(*UPRIGHT, number)
    assert frame_of(path).stored == stored
    image = decode(path)
    assert image.shape == (*UPRIGHT, 3)
    assert np.abs(image.astype(int) - photograph()).mean() < (5 if suffix != "png" else 0.001)


@pytest.mark.parametrize("number", ORIENTATIONS)
def test_pixels_are_rotated_as_pillow_does(number):
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    picture = Image.fromarray(pixels)
    picture.getexif()[0x0112] = number
    assert np.array_equal(rotated(pixels, number), np.asarray(ImageOps.exif_transpose(picture)))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_an_orientation_behind_the_pixels_of_a_png_file_counts(tmp_path):
    file = io.BytesIO()
    Image.fromarray(photograph()).save(file, "png")
    exif = Image.Exif()
    exif[0x0112] = 6
    content = file.getvalue()
    end = content.index(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(content[:end] + chunk(b"eXIf", exif.tobytes()[6:]) + content[end:])
    assert frame_of(tmp_path / "a.png") == Frame(120, 90, 6)
    assert np.array_equal(decode(tmp_path / "a.png"), np.rot90(photograph(), -1))


def test_an_orientation_that_does_not_exist_is_none(tmp_path):
    for number in (0, 9, 77):
        assert orientation(save_photograph(tmp_path / "a.jpg", 1, tag=number)) == 1
        assert decode(tmp_path / "a.jpg").shape == (*UPRIGHT, 3)
    (tmp_path / "a.jpg").write_bytes(b"none")
    assert orientation(tmp_path / "a.jpg") == 1
    assert orientation(tmp_path / "missing.jpg") == 1
    assert frame_of(tmp_path / "a.jpg") is None


def test_a_folder_of_rotated_photographs_has_one_size_and_upright_images(tmp_path):
    for number in ORIENTATIONS:
        save_photograph(tmp_path / f"train/{'ab'[number % 2]}/{number}.png", number)
    (tmp_path / "test").mkdir()
    data = load_data(f"folder:{tmp_path}")
    assert data.size == UPRIGHT
    assert all(np.array_equal(image, photograph()) for image in data.loaded().array)
    assert [data.images.frame(name).orientation for name in data.images.names] == [2, 4, 6, 8, 1, 3, 5, 7]


def test_rotated_images_in_a_table_are_upright(tmp_path):
    datasets = pytest.importorskip("datasets")
    contents = [save_photograph(tmp_path / f"{number}.jpg", number).read_bytes() for number in ORIENTATIONS]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a"])})
    table = {"image": [{"bytes": one, "path": None} for one in contents], "label": [0] * 8}
    both = dict.fromkeys(("train", "test"), datasets.Dataset.from_dict(table, features))
    datasets.DatasetDict(both).save_to_disk(tmp_path / "saved")
    data = load_data(f"hf:{tmp_path / 'saved'}")
    assert data.size == UPRIGHT
    for number, image in enumerate(data.images, 1):
        assert np.abs(image.astype(int) - photograph()).mean() < 5
        assert data.images.frame(data.images.names[number - 1]) == Frame(*UPRIGHT, number)


def test_the_photographs_of_these_tests_are_not_symmetric():
    pixels = photograph().astype(int)
    assert pixels.shape == (*UPRIGHT, 3)
    for number in range(2, 5):
        assert np.abs(rotated(pixels, number) - pixels).mean() > 20


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_damaged_exif_data_are_no_error(tmp_path, suffix):
    for content in (b"none", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12"):
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(photograph()).save(path, exif=content)
        assert decode(path).shape == (*UPRIGHT, 3)
        assert frame_of(path) == Frame(*UPRIGHT, 1)
