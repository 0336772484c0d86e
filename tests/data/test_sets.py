"""Test data sets by name: loading, refused data and the messages about it."""

import hashlib
import io
import pickle
import re
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torchvision
from numpy.typing import NDArray
from PIL import Image

from smix import load_data
from smix.data.sets import ImageSet, balanced_order
from smix.errors import DataError, OptionError
from tests.conftest import make_set, write_npz

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data() -> ImageSet:
    return make_set()


# ImageSet


@pytest.mark.parametrize("count", [1, 4, 7, 23, 38])
def test_a_smaller_take_is_the_beginning_of_a_larger_take_and_class_balanced(count):
    data = make_set(40, classes=4)
    part, larger = data.take(count), data.take(count + 1)
    assert np.array_equal(part.index, larger.index[:count])
    assert np.ptp(np.bincount(part.labels, minlength=4)) <= 1
    assert np.array_equal(part.images, data.images[part.index])
    assert np.array_equal(part.labels, data.labels[part.index])
    assert np.array_equal(part.masks, data.masks[part.index])
    assert part.fingerprint == data.fingerprint
    assert part.classes == data.classes


def test_takes_follow_a_fixed_order_other_than_that_of_the_file(data):
    assert np.array_equal(data.take(20).index, make_set().take(20).index)
    assert not np.array_equal(np.sort(data.take(20).index), np.arange(20))
    other = make_set(seed=1)
    assert not np.array_equal(data.take(20).index, other.take(20).index)


@pytest.mark.parametrize("count", [None, 40])
def test_taking_all_images_returns_the_set_itself(data, count):
    assert data.take(count) is data


@pytest.mark.parametrize("count", [0, -1, 41])
def test_takes_outside_the_size_of_the_set_are_refused(data, count):
    with pytest.raises(DataError, match=rf"made train: the limit must be from 1 to 40 images, got {count}"):
        data.take(count)


def test_unequal_classes_are_taken_in_turn_until_they_are_used_up():
    labels = np.array([0] * 20 + [1] * 3 + [2] * 9)
    order = balanced_order(labels, "key")
    assert np.array_equal(np.sort(order), np.arange(32))
    for count in range(1, 33):
        taken = np.bincount(labels[order[:count]], minlength=3)
        # Counts of classes differ by one at most, except for classes that are used up.
        for label, total in enumerate((20, 3, 9)):
            assert taken[label] >= min(total, taken.max() - 1)


def test_rows_refer_to_the_complete_split_after_repeated_selection(data):
    part = data.rows(np.array([30, 10, 20])).rows(np.array([2, 0]))
    assert part.index.tolist() == [20, 30]
    assert np.array_equal(part.images, data.images[[20, 30]])


def change_pixel(data: ImageSet) -> ImageSet:
    images = data.images.copy()
    images[17, 4, 3, 2] ^= 1
    return replace(data, images=images, fingerprint="")


def change_label(data: ImageSet) -> ImageSet:
    labels = data.labels.copy()
    labels[17] = (labels[17] + 1) % 4
    return replace(data, labels=labels, fingerprint="")


def change_order(data: ImageSet) -> ImageSet:
    order = np.r_[1, 0, 2:40]
    return replace(data, images=data.images[order], labels=data.labels[order], fingerprint="")


def change_shape(data: ImageSet) -> ImageSet:
    return replace(data, images=data.images.reshape(40, 14, 10, 3), masks=None, fingerprint="")


def omit_an_image(data: ImageSet) -> ImageSet:
    return replace(data, images=data.images[:-1], labels=data.labels[:-1], masks=None, fingerprint="")


@pytest.mark.parametrize("change", [change_pixel, change_label, change_order, change_shape, omit_an_image])
def test_the_fingerprint_changes_with_any_change_of_the_data(data, change):
    assert change(data).fingerprint != data.fingerprint


def test_the_fingerprint_depends_on_images_and_labels_alone(data):
    same = ImageSet(np.asfortranarray(data.images), data.labels, tuple("abcd"), ~data.masks, name="other", split="test")
    assert same.fingerprint == data.fingerprint
    assert len(data.fingerprint) == 64


# npz


def arrays(**changes) -> dict[str, NDArray]:
    """Return a data set of 12 and 6 images of 5 x 7 pixels in 3 classes. An array that is given as None is omitted."""
    rng = np.random.default_rng(0)
    whole = {
        "x_train": rng.integers(0, 256, (12, 5, 7, 3)).astype(np.uint8),
        "y_train": np.arange(12) % 3,
        "x_test": rng.integers(0, 256, (6, 5, 7, 3)).astype(np.uint8),
        "y_test": np.arange(6) % 3,
    }
    return {key: value for key, value in {**whole, **changes}.items() if value is not None}


@pytest.fixture
def write(tmp_path):
    def write(**changes) -> str:
        np.savez(tmp_path / "set.npz", **arrays(**changes))
        return f"npz:{tmp_path / 'set.npz'}"

    return write


def test_an_npz_file_is_read_unchanged(tmp_path):
    train, test = make_set(20), make_set(8, seed=1, split="test")
    name = f"npz:{write_npz(tmp_path / 'set.npz', train, test)}"
    for one, split in ((train, "train"), (test, "test")):
        loaded = load_data(name, split=split)
        for field in ("images", "labels", "masks", "index"):
            assert np.array_equal(getattr(loaded, field), getattr(one, field))
        assert (loaded.classes, loaded.fingerprint, loaded.split) == (one.classes, one.fingerprint, split)
        assert loaded.name == name


def test_unnamed_classes_are_numbered_over_both_splits(write):
    name = write(y_train=np.arange(12) % 3, y_test=np.array([0, 4, 1, 1, 1, 1]))
    assert load_data(name, split="train").classes == load_data(name, split="test").classes == tuple("01234")


@pytest.mark.parametrize(
    ("shape", "size", "channels"),
    [
        ((12, 5, 17), (5, 17), 1),
        ((12, 17, 17), (17, 17), 1),
        ((12, 5, 7, 1), (5, 7), 1),
        ((12, 5, 7, 2), (5, 7), 2),
        ((12, 5, 7, 16), (5, 7), 16),
        ((12, 5, 16), (5,), 16),
        ((12, 16, 16), (16,), 16),
        ((12, 9, 3), (9,), 3),
        ((12, 9, 1), (9,), 1),
        ((12, 4, 5, 6, 1), (4, 5, 6), 1),
        ((12, 4, 5, 6, 5), (4, 5, 6), 5),
    ],
)
def test_signals_volumes_and_grey_images_are_allowed(write, shape, size, channels):
    images = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    data = load_data(write(x_train=images))
    assert data.size == size
    assert data.images.shape[-1] == channels
    assert np.array_equal(data.images.reshape(shape), images)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64])
def test_labels_of_any_integer_type_are_accepted(write, dtype):
    data = load_data(write(y_train=arrays()["y_train"].astype(dtype)))
    assert data.labels.dtype == np.int64
    assert data.fingerprint == load_data(write()).fingerprint


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, bool])
def test_masks_of_0_and_1_of_any_type_are_accepted(write, dtype):
    masks = np.random.default_rng(0).random((12, 5, 7)) < 0.5
    loaded = load_data(write(mask_train=masks.astype(dtype))).masks
    assert loaded.dtype == bool
    assert np.array_equal(loaded, masks)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_masks_of_0_and_255_are_understood(write, dtype):
    masks = np.random.default_rng(0).random((12, 5, 7)) < 0.5
    loaded = load_data(write(mask_train=(255 * masks).astype(dtype), mask_test=np.zeros((6, 5, 7), dtype))).masks
    assert loaded.dtype == bool
    assert np.array_equal(loaded, masks)


def with_nan(dtype: type) -> NDArray:
    images = arrays()["x_train"].astype(dtype)
    images[3, 2, 1, 0] = np.nan
    return images


X = arrays()["x_train"]
REFUSED = {
    "NaN": (
        {"x_train": with_nan(np.float32), "x_test": X[:6].astype(np.float32)},
        r"the images \(float32\) contain NaN or infinity; replace these values",
    ),
    "infinity": (
        {"x_train": np.where(X.max() == X, np.inf, X), "x_test": X[:6].astype(float)},
        r"the images \(float64\) contain NaN or infinity",
    ),
    "nothing but NaN": (
        {"x_train": np.full(X.shape, np.nan), "x_test": X[:6].astype(float)},
        "x_train contains no finite values; correct them",
    ),
    "images of two types": (
        {"x_train": X / 255},
        "both splits need images of the same type, such as uint8, got x_train of float64 and x_test of uint8; convert one",
    ),
    "complex images": (
        {"x_train": X * 1j, "x_test": X * 1j},
        "expected images with a numeric dtype, got complex128; convert them",
    ),
    "words as images": ({"x_train": X.astype(str)}, "expected images with a numeric dtype, got <U3"),
    "images without rows": ({"x_train": X[0, 0]}, r"expected images \(N, \*S, C\).*got shape"),
    "17 channels": (
        {"x_train": np.zeros((12, 5, 7, 17), np.uint8)},
        r"1 to 16 channels last, got shape \(12, 5, 7, 17\); move or add the axis",
    ),
    "no channels": ({"x_train": np.zeros((12, 5, 7, 0), np.uint8)}, r"got shape \(12, 5, 7, 0\)"),
    "a series without channels": ({"x_train": np.zeros((12, 50), np.uint8)}, r"got shape \(12, 50\); move or add"),
    "channels first": (
        {"x_train": np.zeros((12, 3, 32, 32), np.uint8)},
        r"channels last, got shape \(12, 3, 32, 32\); move or add the axis",
    ),
    "four dimensions": ({"x_train": np.zeros((12, 2, 2, 2, 2, 1), np.uint8)}, "got shape"),
    "one number": ({"x_train": np.uint8(3)}, "got shape"),
    "one float": ({"x_train": np.float32(3), "x_test": np.float32(3)}, "got shape"),
    "no images": ({"x_train": X[:0], "y_train": np.arange(0)}, "expected one label for each of 0 images"),
    "fewer labels": ({"y_train": np.arange(11) % 3}, r"one label for each of 12 images, got labels of shape \(11,\)"),
    "one-hot labels": ({"y_train": np.eye(12, 3, dtype=int)}, r"got labels of shape \(12, 3\)"),
    "a column of labels": ({"y_train": np.arange(12)[:, None] % 3}, r"got labels of shape \(12, 1\)"),
    "float labels": (
        {"y_train": np.arange(12) / 1.0},
        "expected integer labels, got float64; number the classes from 0",
    ),
    "names as labels": ({"y_train": np.array(list("abc") * 4)}, "expected integer labels, got <U1"),
    "a negative label": ({"y_train": np.arange(12) % 3 - 1}, "labels from 0 to 2 for 3 classes, got -1 to 1"),
    "a label beyond the names": ({"classes": np.array(["a", "b"])}, "from 0 to 1 for 2 classes, got 0 to 2"),
    "-1 without a sign": (
        {"y_train": np.full(12, -1).astype(np.uint32)},
        "expected labels below 100000, got 4294967295",
    ),
    "masks of another size": (
        {"mask_train": np.zeros((12, 7, 5))},
        r"shape \(12, 5, 7\), got bool of shape \(12, 7, 5\); convert them",
    ),
    "masks with a channel": ({"mask_train": np.zeros((12, 5, 7, 1))}, r"got bool of shape \(12, 5, 7, 1\)"),
    "too few masks": ({"mask_train": np.zeros((11, 5, 7))}, r"got bool of shape \(11, 5, 7\)"),
    "masks with classes": (
        {"mask_train": np.full((12, 5, 7), 2)},
        "mask_train: expected values 0 and 1, or 0 and 255, got 2, ...; set the pixels of the object to 1 and all others to 0",
    ),
    "masks with unknown pixels": (
        {"mask_train": np.stack([np.full((5, 7), value, np.uint8) for value in [0, 1, 255] * 4])},
        "or 0 and 255, got 0, 1, 255, ...",
    ),
    "masks of grey values": (
        {"mask_train": np.stack([np.full((5, 7), value, np.uint8) for value in [0, 128, 255] * 4])},
        "or 0 and 255, got 0, 128, 255, ...",
    ),
    "masks of words": ({"mask_train": np.full((12, 5, 7), "a")}, "mask_train: expected numbers, got <U1; convert them"),
    "masks with NaN": ({"mask_train": np.full((12, 5, 7), np.nan)}, "mask_train: expected values 0 and 1"),
    "no images of the split": ({"x_train": None}, "the file contains no x_train"),
    "nothing of the split": ({"x_train": None, "y_train": None}, "the file contains no x_train and no y_train"),
    "objects": ({"x_train": np.array([1, None], object)}, "the npz file cannot be read .an array of type object"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_an_invalid_npz_file_is_refused_in_one_line(write, changes, message):
    with pytest.raises(DataError, match=message) as caught:
        load_data(write(**changes))
    assert str(caught.value).startswith("npz:")
    assert "\n" not in str(caught.value)


def test_an_error_in_one_split_does_not_affect_the_other(write):
    name = write(x_train=None, y_train=None)
    assert len(load_data(name, split="test")) == 6
    with pytest.raises(DataError, match="no x_train"):
        load_data(name)


def file_of_another_kind(path: Path) -> None:
    path.write_bytes(b"\x93NUMPY, but not quite")


def write_one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, X)


def empty_file(path: Path) -> None:
    path.write_bytes(b"")


def truncated_file(path: Path) -> None:
    np.savez(path, **arrays())
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("spoil", [file_of_another_kind, write_one_array, empty_file, truncated_file])
def test_a_file_that_is_not_an_npz_file_is_refused(tmp_path, spoil):
    spoil(tmp_path / "set.npz")
    with pytest.raises(
        DataError, match=r"npz:.*the file is truncated or not an npz file \(a zip archive of arrays\); copy"
    ):
        load_data(f"npz:{tmp_path / 'set.npz'}")


@pytest.mark.parametrize("place", ["none.npz", "."])
def test_a_missing_npz_file_is_named(tmp_path, place):
    with pytest.raises(DataError, match=r"there is no file .*; check the path"):
        load_data(f"npz:{tmp_path / place}")


@pytest.mark.slow
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_bit_in_an_npz_file_is_reported_or_harmless(tmp_path, save):
    file = io.BytesIO()
    save(file, **arrays())
    whole, path = file.getvalue(), tmp_path / "set.npz"
    path.write_bytes(whole)
    told = 0
    with path.open("r+b", buffering=0) as file:
        for place in range(0, len(whole), 3):
            file.seek(place)
            file.write(bytes([whole[place] ^ 1 << place % 8]))
            try:
                data = load_data(f"npz:{path}")
            except DataError:
                told += 1
            else:
                assert np.array_equal(data.images, X)
                assert np.array_equal(data.labels, np.arange(12) % 3)
            file.seek(place)
            file.write(whole[place : place + 1])
    assert told > 0.2 * len(whole) / 3


# folder


def write_image(path: Path, image: NDArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Write the classes cat and dog with 3 and 2 training images and 1 test image each, of 5 x 7 pixels."""
    for number, place in enumerate(
        (
            "train/cat/1.png",
            "train/cat/2.PNG",
            "train/cat/deep/3.png",
            "train/dog/1.bmp",
            "train/dog/2.png",
            "test/cat/1.png",
            "test/dog/1.ppm",
        )
    ):
        write_image(tmp_path / "set" / place, X[number])
    (tmp_path / "set/train/notes.txt").write_text("not an image")
    (tmp_path / "set/train/cat/notes.txt").write_text("not an image")
    return tmp_path / "set"


def test_a_folder_of_images_is_read_in_order_of_names(folder):
    train, test = load_data(f"folder:{folder}"), load_data(f"folder:{folder}", split="test")
    assert np.array_equal(train.loaded().array, X[:5])
    assert train.labels.tolist() == [0, 0, 0, 1, 1]
    assert np.array_equal(test.loaded().array, X[5:7])
    assert test.labels.tolist() == [0, 1]
    assert train.classes == test.classes == ("cat", "dog")


def test_val_is_used_as_test_split_unless_there_is_test(folder):
    (folder / "test").rename(folder / "val")
    assert np.array_equal(load_data(f"folder:{folder}", split="test").loaded().array, X[5:7])
    write_image(folder / "test/dog/1.png", X[8])
    assert np.array_equal(load_data(f"folder:{folder}", split="test").loaded().array, X[8:9])


def test_a_class_without_test_images_keeps_the_numbers_of_the_others(folder):
    (folder / "test/cat/1.png").unlink()
    (folder / "test/cat").rmdir()
    test = load_data(f"folder:{folder}", split="test")
    assert test.labels.tolist() == [1]
    assert test.classes == ("cat", "dog")


def test_grey_and_transparent_images_become_rgb(folder):
    write_image(folder / "train/cat/1.png", X[0, ..., 0])
    write_image(folder / "train/cat/2.PNG", np.concatenate([X[1], X[1, ..., :1]], -1))
    images = load_data(f"folder:{folder}").loaded().array
    assert np.array_equal(images[0], X[0, ..., :1].repeat(3, -1))
    assert np.array_equal(images[1], X[1])


def other_size(folder: Path) -> None:
    write_image(folder / "train/dog/2.png", X[0].transpose(1, 0, 2))


def no_image(folder: Path) -> None:
    (folder / "train/dog/2.png").write_text("not an image")


def truncated_image(folder: Path) -> None:
    path = folder / "train/dog/2.png"
    path.write_bytes(path.read_bytes()[:60])


def empty_image(folder: Path) -> None:
    (folder / "train/dog/2.png").write_bytes(b"")


def no_train(folder: Path) -> None:
    (folder / "train").rename(folder / "trainings")


def no_images(folder: Path) -> None:
    for path in (folder / "train").rglob("*.*"):
        path.unlink()


def no_classes(folder: Path) -> None:
    (folder / "train").rename(folder / "elsewhere")
    (folder / "train").mkdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_size, r"expected images of one size, got 7x5 and 5x7 \(dog/2\.png\); resize them first"),
        (no_image, r"dog/2\.png: the image cannot be read \(.*\); replace it"),
        (truncated_image, r"dog/2\.png: the image cannot be read \(.*\); replace it"),
        (empty_image, r"dog/2\.png: the image cannot be read \(.*\); replace it"),
        (no_train, r"there is no folder .*train; create it with the layout train/CLASS/IMAGE"),
        (no_images, r"there are no images \(\.jpg, .*\) in .*train/CLASS; add them"),
        (no_classes, r"there are no images \(\.jpg, .*\) in .*train/CLASS; add them"),
    ],
)
def test_an_invalid_folder_is_refused_in_one_line(folder, spoil, message):
    spoil(folder)
    with pytest.raises(DataError, match=message) as caught:
        load_data(f"folder:{folder}").loaded()
    assert "\n" not in str(caught.value)


def test_a_test_split_needs_the_classes_of_train(folder):
    (folder / "train").rename(folder / "away")
    with pytest.raises(DataError, match=r"there is no folder .*set/train; create it"):
        load_data(f"folder:{folder}", split="test")


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*none; check the path"):
        load_data(f"folder:{tmp_path / 'none'}")


def test_the_fingerprint_of_a_folder_depends_on_relative_paths_sizes_and_labels(folder):
    before = load_data(f"folder:{folder}").fingerprint
    moved = folder.rename(folder.with_name("moved"))
    assert load_data(f"folder:{moved}").fingerprint == before
    image = moved / "train/cat/1.png"
    image.write_bytes(image.read_bytes() + b"0")
    longer = load_data(f"folder:{moved}").fingerprint
    (moved / "train/cat/1.png").rename(moved / "train/cat/0.png")
    assert len({before, longer, load_data(f"folder:{moved}").fingerprint}) == 3


# cifar10 and cifar100

CIFAR = {
    "cifar10": (torchvision.datasets.CIFAR10, "cifar-10-batches-py", "labels", "label_names", "batches.meta"),
    "cifar100": (torchvision.datasets.CIFAR100, "cifar-100-python", "fine_labels", "fine_label_names", "meta"),
}
cifars = pytest.mark.parametrize("name", list(CIFAR))


@pytest.fixture
def write_cifar(tmp_path, monkeypatch):
    """Return a function that writes a small CIFAR, makes torchvision expect its checksums, and returns images and labels by split."""

    def write(name: str) -> dict[str, tuple[NDArray, NDArray]]:
        kind, folder, labels_key, names_key, meta = CIFAR[name]
        home, rng = tmp_path / folder, np.random.default_rng(0)
        home.mkdir()

        def dump(file: str, content: dict) -> list[str]:
            (home / file).write_bytes(pickle.dumps(content))
            return [file, hashlib.md5((home / file).read_bytes()).hexdigest()]

        written = {}
        for split, files in (("train", ("data_1", "data_2")), ("test", ("data_3",))):
            parts = [(rng.integers(0, 256, (4, 3, 32, 32)).astype(np.uint8), rng.integers(0, 2, 4)) for _ in files]
            listed = [
                dump(file, {"data": images.reshape(4, -1), labels_key: labels.tolist()})
                for file, (images, labels) in zip(files, parts, strict=True)
            ]
            monkeypatch.setattr(kind, f"{split}_list", listed)
            images = np.concatenate([images for images, _ in parts]).transpose(0, 2, 3, 1)
            written[split] = (images, np.concatenate([labels for _, labels in parts]))
        file, checksum = dump(meta, {names_key: ["frog", "ship"]})
        monkeypatch.setattr(kind, "meta", {"filename": file, "key": names_key, "md5": checksum})
        return written

    return write


@cifars
def test_cifar_is_read_from_the_folder_of_torchvision(write_cifar, tmp_path, name):
    for split, (images, labels) in write_cifar(name).items():
        data = load_data(name, data_root=tmp_path, split=split)
        assert np.array_equal(data.images, images)
        assert np.array_equal(data.labels, labels)
        assert (data.classes, data.name, data.split) == (("frog", "ship"), name, split)


def test_code_of_the_page_on_reproducing_writes_the_same_images(write_cifar, tmp_path, monkeypatch, capsys):
    (tmp_path / "data").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    write_cifar("cifar10")
    page = (ROOT / "docs" / "reproduce.md").read_text()
    exec(re.findall(r"^```python\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)[0], {})
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines())
    for split in ("train", "test"):
        archive, made = (load_data(name, data_root=tmp_path, split=split) for name in ("cifar10", "npz:cifar10.npz"))
        assert printed[split] == archive.fingerprint == made.fingerprint
        assert made.classes == archive.classes
        for name in ("digits-on-photos", "biased-digits"):
            shown = re.search(rf"^\| `{name}`, {split} \| `(.+)` \|$", page, re.MULTILINE)
            assert shown[1] == load_data(name, split=split).fingerprint


@cifars
def test_a_damaged_cifar_is_refused_in_one_line(write_cifar, tmp_path, name):
    write_cifar(name)
    folder = CIFAR[name][1]
    (tmp_path / folder / "data_1").write_bytes(b"cut")
    message = rf"{name}: cannot load {folder} from .* or download https://.* \(.*\); download that file, unpack it in"
    with pytest.raises(DataError, match=message) as caught:
        load_data(name, data_root=tmp_path)
    assert "\n" not in str(caught.value)


@cifars
def test_a_failed_download_of_cifar_is_a_one_line_error_with_address_and_path(tmp_path, monkeypatch, name):
    asked = []

    def download(url: str, data_root, **options) -> None:
        asked.append(url)
        raise URLError("no route to host")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", download)
    kind, folder, *_ = CIFAR[name]
    with pytest.raises(DataError) as caught:
        load_data(name, data_root=tmp_path)
    assert asked == [kind.url]
    assert str(caught.value) == (
        f"{name}: cannot load {folder} from {tmp_path} or download {kind.url} "
        f"(URLError: <urlopen error no route to host>); download that file, unpack it in {tmp_path}, or use npz:FILE"
    )


# names


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cifar", 'did you mean "cifar10"'),
        ("digits-on-photo", 'did you mean "digits-on-photos"'),
        ("npz", 'did you mean "npz:FILE"'),
        ("fold:DIR", 'did you mean "folder:DIR"'),
        ("cifar10:x", 'did you mean "cifar10"'),
        (
            "",
            "choose one of: digits-on-photos, biased-digits, cifar10, cifar100, .*, npz:FILE, folder:DIR, csv:FILE, hf:NAME_OR_DIR",
        ),
        ("imagenet", 'did you mean "tiny-imagenet"'),
        ("fashionmnist", 'did you mean "fashion-mnist"'),
        ("mars", "choose one of: "),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_name_or_all_names(name, hint):
    with pytest.raises(OptionError, match=rf'data: expected a known name, got "{name}"; {hint}'):
        load_data(name)
