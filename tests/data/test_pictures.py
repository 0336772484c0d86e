"""Test image files of any size that are decoded on access, and the rules for which files are images."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from smix import load_data
from smix.data import pictures
from smix.data.listing import list_images, walk_images
from smix.data.pictures import Pictures, common_size, decode
from smix.errors import DataError


def image(seed: int, size: tuple[int, int] = (5, 7)) -> NDArray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def write(path: Path, pixels: NDArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_grey(home: Path, *names: str) -> None:
    """Write images of one channel, and empty files of other kinds."""
    for name in names:
        if name.lower().endswith(".png"):
            write(home / name, image(0)[..., 0])
        else:
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).touch()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Write three images of class a and one of class b; one of them has another size and one is broken."""
    for number, name in enumerate(("a/0.png", "a/1.bmp", "b/3.png")):
        write(tmp_path / "train" / name, image(number, (5, 7 + number // 2)))
    (tmp_path / "train/a/2.jpg").write_text("none")
    write(tmp_path / "test/a/0.png", image(9))
    return tmp_path


def test_images_are_decoded_on_access(folder, monkeypatch):
    decoded = []
    monkeypatch.setattr(pictures, "decode", lambda path: decoded.append(path.name) or decode(path))
    data = load_data(f"folder:{folder}")
    part = data.rows(np.array([3, 1])).take(None)
    assert (len(data), len(part), data.channels) == (4, 2, 3)
    assert [data.stem(place) for place in range(4)] == ["a/0", "a/1", "a/2", "b/3"]
    assert [part.stem(place) for place in range(2)] == ["b/3", "a/1"]
    assert decoded == []
    assert np.array_equal(part.images[0], image(2, (5, 8)))
    assert np.array_equal(part.images[1], image(1))
    assert decoded == ["3.png", "1.bmp"]


def test_a_broken_image_is_reported_when_it_is_read(folder):
    data = load_data(f"folder:{folder}")
    message = r"a/2\.jpg: the image cannot be read \(UnidentifiedImageError: .*\); replace it"
    with pytest.raises(DataError, match=message):
        data.images[2]
    with pytest.raises(DataError, match="the images are files, but this function needs them in memory; call loaded"):
        data.array  # noqa: B018


def test_a_batch_is_read_ahead_and_its_broken_images_are_named_and_black(folder):
    batch, broken = load_data(f"folder:{folder}").images[np.array([2, 3, 0])].read()
    assert list(broken) == [0]
    assert "a/2.jpg: the image cannot be read" in str(broken[0])
    (folder / "train/b/3.png").unlink()
    assert [one.shape for one in batch] == [(5, 8, 3), (5, 8, 3), (5, 7, 3)]
    assert not batch[0].any()
    assert np.array_equal(batch[1], image(2, (5, 8)))
    assert np.array_equal(batch[2], image(0))


def test_images_of_one_size_are_loaded_as_an_array(folder):
    (folder / "train/a/2.jpg").unlink()
    data = load_data(f"folder:{folder}")
    same = data.rows(np.array([1, 0])).loaded()
    assert np.array_equal(same.array, np.stack([image(1), image(0)]))
    assert same.index.tolist() == [1, 0]
    assert (same.size, same.fingerprint) == ((5, 7), data.fingerprint)
    assert same.loaded() is same
    with pytest.raises(
        DataError, match=r"expected images of one size, got 7x5 and 8x5 \(b/3\.png\); resize them first"
    ):
        data.loaded()


@pytest.mark.slow
def test_the_first_of_several_broken_images_is_reported_by_any_thread(tmp_path):
    names = np.array([f"{number:03d}.png" for number in range(100)], object)
    for number, name in enumerate(names):
        write(tmp_path / name, image(number))
    assert np.array_equal(Pictures(tmp_path, names).decoded(), np.stack([image(number) for number in range(100)]))
    for number in (97, 61, 40, 33):
        (tmp_path / names[number]).write_text("none")
        for _ in range(5):
            with pytest.raises(DataError, match=rf"{names[number]}: the image cannot be read"):
                Pictures(tmp_path, names).decoded()


def test_a_subset_has_the_image_size_of_its_split(folder):
    data = load_data(f"folder:{folder}")
    assert data.size is None
    assert data.rows(np.array([0, 1])).size is data.images[:2].size is data.images[:2].read()[0].size is None
    (folder / "train/b/3.png").unlink()
    data = load_data(f"folder:{folder}")
    assert data.size == data.rows(np.array([2])).size == data.images[2:].size == (5, 7)
    (folder / "train/a/0.png").write_text("none")
    (folder / "train/a/1.bmp").write_text("none")
    assert load_data(f"folder:{folder}").size is None


def test_the_image_size_is_sampled_over_the_complete_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "SIZES_READ", 4)
    names = np.array([f"{number:02d}.png" for number in range(30)], object)
    for number, name in enumerate(names):
        write(tmp_path / name, image(number, (5, 7 + number // 24)))
    assert common_size(tmp_path, names) is None
    assert common_size(tmp_path, names[:24]) == (5, 7)


def test_a_pickled_subset_omits_the_other_images(tmp_path):
    names = np.array([f"{'long' * 10}/{number}.png" for number in range(1000)], object)
    whole = Pictures(tmp_path, names, (5, 7))
    part = pickle.loads(pickle.dumps(whole[3:5]))
    assert len(pickle.dumps(whole[3:5])) < 1000
    assert part.names.tolist() == names[3:5].tolist()
    assert part.size == (5, 7)


@pytest.mark.parametrize(
    ("files", "images"),
    [
        (["1.jpg", "1.png", "2.png"], ["1.jpg", "2.png"]),
        (["1.jpg", "1_mask.png", "1-mask.png", "2_mask.png"], ["1.jpg", "2_mask.png"]),
        (["1.png", "1_mask.png", "1_mask.jpg"], ["1.png", "1_mask.jpg"]),
        (
            ["1.JPG", "1.PNG", "2.JPEG", "3.webp", "4.bmp", "5.ppm", "6.TIF"],
            ["1.JPG", "2.JPEG", "3.webp", "4.bmp", "5.ppm", "6.TIF"],
        ),
        (["._1.jpg", ".2.png", "3.jpg", ".thumbs/4.jpg"], ["3.jpg"]),
        (["deep/1.jpg", "1.png", "deep-er/1.png"], ["1.png", "deep/1.jpg", "deep-er/1.png"]),
        (["b.jpg", "a/z.jpg", "a/b/1.jpg", "a-b/1.jpg"], ["b.jpg", "a/z.jpg", "a-b/1.jpg", "a/b/1.jpg"]),
        (["with_mask.png", "mask.png", "_mask.png"], ["_mask.png", "mask.png", "with_mask.png"]),
        (["1.txt", "1.png", "2.gif", "png", "a.b.jpg", "a.b.png"], ["1.png", "a.b.jpg"]),
        (["1.png/2.jpg", "1.jpg"], ["1.jpg", "1.png/2.jpg"]),
    ],
)
def test_image_files_are_recognised_and_sorted(tmp_path, files, images):
    write_grey(tmp_path, *files)
    assert list(list_images(tmp_path).names) == images


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "RGB", "RGBA"])
def test_a_colour_image_next_to_another_image_is_an_image(tmp_path, mode):
    write(tmp_path / "1.jpg", image(0))
    for name in ("1.png", "1_mask.png"):
        Image.fromarray(image(1)[..., 0]).convert("I;16" if mode == "I;16" else mode).save(tmp_path / name)
    assert list(list_images(tmp_path).names) == (
        ["1.jpg", "1.png", "1_mask.png"] if mode in ("RGB", "RGBA") else ["1.jpg"]
    )


def test_an_unreadable_image_is_not_omitted(tmp_path):
    write(tmp_path / "1.jpg", image(0))
    (tmp_path / "1.png").write_bytes(b"none")
    assert list_images(tmp_path).names == ("1.jpg", "1.png")


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "webp", "ppm", "tiff"])
def test_a_damaged_file_is_an_image_or_a_smix_error(tmp_path, kind):
    file = io.BytesIO()
    Image.fromarray(image(0, (40, 30))).save(file, kind)
    whole, path, told, rng = file.getvalue(), tmp_path / "image", 0, np.random.default_rng(0)
    for cut in (False, True):
        for place in rng.integers(0, min(len(whole), 400), 60).tolist():
            damaged = (
                whole[:place] if cut else whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
            )
            path.write_bytes(damaged)
            try:
                assert decode(path).shape[2] == 3
            except DataError:
                told += 1
    assert told > 40


def test_images_of_more_than_8_bits_are_refused(tmp_path):
    Image.fromarray(np.full((5, 7), 1000, np.uint16)).save(tmp_path / "1.png")
    with pytest.raises(
        DataError, match=r"1\.png: the image cannot be read \(ValueError: an image with more than 8 bits"
    ):
        decode(tmp_path / "1.png")


def test_a_folder_is_walked_one_folder_at_a_time(tmp_path):
    write_grey(tmp_path, "b/2.png", "b/1.png", "a/x/3.png", "0.png", "b/.hidden.png", ".hidden/4.png", "b/note.txt")
    write(tmp_path / "b/5.jpg", image(5))
    write_grey(tmp_path, "b/5.png", "b/1_mask.png")  # masks of 5.jpg and 1.png in a data set, but images here
    skipped: list[str] = []
    names = [path.relative_to(tmp_path).as_posix() for path in walk_images(tmp_path, skipped.append)]
    assert names == ["0.png", "a/x/3.png", "b/1.png", "b/1_mask.png", "b/2.png", "b/5.jpg", "b/5.png"]
    assert sorted({*names} - {"b/1_mask.png", "b/5.png"}) == sorted(list_images(tmp_path).names)
    assert skipped == [str(tmp_path / name) for name in (".hidden", "b/.hidden.png", "b/note.txt")]
    walked = walk_images(tmp_path)
    assert next(walked) == tmp_path / "0.png"
    (tmp_path / "a/x/3.png").rename(tmp_path / "a/x/4.png")  # not listed yet
    assert next(walked) == tmp_path / "a/x/4.png"
