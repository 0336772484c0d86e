"""Test tiny-imagenet, fashion-mnist and caltech101 on small copies of their folder layouts."""

import shutil
import struct
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torchvision
from numpy.typing import NDArray
from PIL import Image

from smix import load_data
from smix.data import pictures
from smix.data.archives import TRAINING_IMAGES
from smix.data.sets import load_validation
from smix.errors import DataError
from smix.lab.doctor import check_data


def write_picture(path: Path, seed: int, size: tuple[int, int] = (64, 64)) -> NDArray:
    """Write an image file and return its decoded pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)).save(path)
    return np.asarray(Image.open(path).convert("RGB"))


def one_line(name: str, data_root: Path, *parts: str, split: str = "train") -> None:
    with pytest.raises(DataError) as caught:
        load_data(name, data_root, split).loaded()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith((name, str(data_root)))
    for part in parts:
        assert part in str(caught.value)


# tiny-imagenet

WORDS = {"n01": "cat, house cat", "n02": "crane", "n03": "crane, lifting device", "n09": "not among the classes"}
VAL = {"val_0.JPEG": "n03", "val_1.JPEG": "n01", "val_10.JPEG": "n02", "val_2.JPEG": "n02"}


@pytest.fixture
def tiny(tmp_path) -> Path:
    """Write three classes, listed out of order, with 2 training images each and 4 test images."""
    home = tmp_path / "tiny-imagenet-200"
    for number, wnid in enumerate(("n01", "n02", "n03")):
        for place in range(2):
            write_picture(home / f"train/{wnid}/images/{wnid}_{place}.JPEG", 10 * number + place)
        (home / f"train/{wnid}/{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t63\t63\n")
    for number, file in enumerate(VAL):
        write_picture(home / "val/images" / file, 100 + number)
    write_picture(home / "test/images/test_0.JPEG", 200)
    (home / "val/val_annotations.txt").write_text(
        "".join(f"{file}\t{wnid}\t0\t0\t9\t9\n" for file, wnid in VAL.items())
    )
    (home / "wnids.txt").write_text("n03\nn01\nn02\n")
    (home / "words.txt").write_text("".join(f"{wnid}\t{words}\n" for wnid, words in WORDS.items()))
    return home


def test_tiny_imagenet_is_read_from_its_unpacked_archive(tiny):
    train, test = (load_data("tiny-imagenet", tiny.parent, split) for split in ("train", "test"))
    assert train.classes == test.classes == ("cat", "crane (n02)", "crane (n03)")
    assert train.images.names.tolist() == [
        f"{wnid}/images/{wnid}_{place}.JPEG" for wnid in ("n01", "n02", "n03") for place in (0, 1)
    ]
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert test.images.names.tolist() == [f"images/{file}" for file in sorted(VAL)]
    assert test.labels.tolist() == [2, 0, 1, 1]
    assert train.size == test.size == (64, 64)
    assert np.array_equal(train.images[3], np.asarray(Image.open(tiny / "train/n02/images/n02_1.JPEG")))
    assert np.array_equal(test.images[2], np.asarray(Image.open(tiny / "val/images/val_10.JPEG")))
    assert test.loaded().array.shape == (4, 64, 64, 3)


def test_a_folder_in_the_layout_of_tiny_imagenet_is_recognised(tiny):
    home = tiny.rename(tiny.parent / "mine")
    train, test, both = (load_data(f"folder:{home}", split=split) for split in ("train", "test", "all"))
    assert both.files.paths.tolist() == [*train.files.paths, *test.files.paths]
    assert both.labels.tolist() == [*train.labels, *test.labels] == [0, 0, 1, 1, 2, 2, 2, 0, 1, 1]
    assert [image[0, 0, 0].tolist() for image in both.images] == [
        image[0, 0, 0].tolist() for images in (train.images, test.images) for image in images
    ]
    assert train.classes == both.classes == ("cat", "crane (n02)", "crane (n03)")
    assert train.files.notes[0].endswith("its val images are the test images, and those of its test have no labels")
    assert load_validation(f"folder:{home}", Path("data")) is None
    shutil.rmtree(home / "test")
    assert load_data(f"folder:{home}").files.notes[0].endswith("its val images are the test images")
    one_line(f"folder:{home}", Path("data"), "the val images of Tiny ImageNet are its test images", split="val")


def test_the_fingerprint_of_tiny_imagenet_depends_on_labels_but_not_on_the_path(tiny, tmp_path):
    before = [load_data("tiny-imagenet", tiny.parent, split).fingerprint for split in ("train", "test")]
    shutil.copytree(tiny, tmp_path / "other/tiny-imagenet-200")
    assert [load_data("tiny-imagenet", tmp_path / "other", split).fingerprint for split in ("train", "test")] == before
    annotations = tiny / "val/val_annotations.txt"
    annotations.write_text(
        annotations.read_text()
        .replace("val_0.JPEG\tn03", "val_0.JPEG\tn01")
        .replace("val_1.JPEG\tn01", "val_1.JPEG\tn03")
    )
    assert load_data("tiny-imagenet", tiny.parent, "test").fingerprint != before[1]


def test_a_missing_tiny_imagenet_is_reported_with_its_address(tmp_path):
    one_line(
        *("tiny-imagenet", tmp_path, f"there is no folder {tmp_path}/tiny-imagenet-200"),
        f"download http://cs231n.stanford.edu/tiny-imagenet-200.zip and unpack it in {tmp_path}",
    )


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    "missing", ["wnids.txt", "words.txt", "val/val_annotations.txt", "train/n02", "val/images/val_1.JPEG"]
)
def test_an_incomplete_tiny_imagenet_is_refused_in_one_line(tiny, missing, split):
    path = tiny / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if split != {"train": "train", "val/i": "test"}.get(missing[:5], split):
        assert len(load_data("tiny-imagenet", tiny.parent, split)) in (4, 6)  # the other split is complete
        return
    one_line("tiny-imagenet", tiny.parent, "is incomplete or damaged", "again", split=split)


@pytest.mark.parametrize(
    ("file", "text", "split"),
    [
        ("words.txt", "n01\tcat\n", "train"),
        ("words.txt", "n01 cat\n", "train"),
        ("words.txt", "\x00", "test"),
        ("val/val_annotations.txt", "val_0.JPEG\n", "test"),
        ("val/val_annotations.txt", "val_0.JPEG\tn77\t0\t0\t1\t1\n", "test"),
        ("val/val_annotations.txt", "val_0.JPEG\tn01\t0\t0\t1\t1\n", "test"),
        ("val/val_annotations.txt", "", "test"),
        ("wnids.txt", "n01\nn02\nn03\nn09\n", "train"),
        ("wnids.txt", "", "train"),
    ],
)
def test_a_tiny_imagenet_with_wrong_lists_is_refused_in_one_line(tiny, file, text, split):
    (tiny / file).write_text(text)
    one_line("tiny-imagenet", tiny.parent, split=split)


def test_real_images_in_the_layout_of_tiny_imagenet_are_read(shared, tmp_path, monkeypatch):
    subprocess.run(
        [sys.executable, shared / "data/unpack.py", tmp_path, "tiny-imagenet-20"], check=True, capture_output=True
    )
    pack, home = tmp_path / "tiny-imagenet-20", tmp_path / "tiny-imagenet-200"
    wnids, words = zip(
        *(line.split("\t")[1:3] for line in (pack / "classes.tsv").read_text().splitlines()), strict=True
    )
    for wnid in wnids:
        (home / "train" / wnid).mkdir(parents=True)
        (pack / "train" / wnid).rename(home / "train" / wnid / "images")
    (home / "val/images").mkdir(parents=True)
    annotations = []
    for file in sorted(pack.glob("val/*/*.JPEG"), reverse=True):
        annotations.append(f"{file.name}\t{file.parent.name}\t0\t0\t9\t9\n")
        file.rename(home / "val/images" / file.name)
    (home / "val/val_annotations.txt").write_text("".join(annotations))
    (home / "wnids.txt").write_text("\n".join(reversed(wnids)))
    (home / "words.txt").write_text("".join(f"{wnid}\t{word}\n" for wnid, word in zip(wnids, words, strict=True)))

    arrays = np.load(tmp_path / "tiny-imagenet-20.npz")
    order = np.argsort(wnids)
    for split, count in (("train", 5000), ("test", 1000)):
        data = load_data("tiny-imagenet", tmp_path, split)
        assert (len(data), data.size, len(set(data.classes))) == (count, (64, 64), 20)
        assert [data.classes[label] for label in data.labels[:1]] == [words[order[data.labels[0]]].split(",")[0]]
        # The same images with the same labels, in any order.
        images, labels = data.loaded().array, order[data.labels]
        key = lambda image, label: (image.tobytes(), int(label))  # noqa: E731
        assert sorted(map(key, images, labels)) == sorted(map(key, arrays[f"x_{split}"], arrays[f"y_{split}"]))


# fashion-mnist


@pytest.fixture
def fashion(tmp_path) -> dict[str, tuple[NDArray, NDArray]]:
    """Write the four files as torchvision unpacks them, and return images and labels by split."""
    raw, rng, written = tmp_path / "FashionMNIST/raw", np.random.default_rng(0), {}
    raw.mkdir(parents=True)
    for split, stem, count in (("train", "train", 12), ("test", "t10k", 6)):
        images, labels = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8), rng.integers(0, 10, count)
        (raw / f"{stem}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, count, 28, 28) + images.tobytes())
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(
            struct.pack(">II", 0x801, count) + labels.astype(np.uint8).tobytes()
        )
        written[split] = (images, labels)
    return written


@pytest.mark.parametrize("split", ["train", "test"])
def test_fashion_mnist_has_grey_images_of_ten_classes(fashion, tmp_path, split):
    data = load_data("fashion-mnist", tmp_path, split)
    assert np.array_equal(data.images[..., 0], fashion[split][0])
    assert np.array_equal(data.labels, fashion[split][1])
    assert (data.size, data.channels, data.classes[0], len(data.classes)) == ((28, 28), 1, "T-shirt/top", 10)
    assert data.fingerprint == load_data("fashion-mnist", tmp_path, split).fingerprint


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
@pytest.mark.parametrize("content", [b"", b"cut", None, "half"])
def test_a_damaged_fashion_mnist_is_refused_in_one_line(fashion, tmp_path, monkeypatch, file, content):
    path = tmp_path / "FashionMNIST/raw" / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content in (None, "half") else content)
    if content is None:
        path.unlink()
    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", refuse_connection)
    one_line("fashion-mnist", tmp_path, "download its four files and unpack them in")


def refuse_connection(*args: object, **options: object) -> None:
    raise URLError("no route to host")


def test_a_failed_download_of_fashion_mnist_is_a_one_line_error_every_time(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", refuse_connection)
    for _ in range(2):
        one_line("fashion-mnist", tmp_path, "or download http://fashion-mnist", "no route to host")
        assert not {finding.name: finding.ready for finding in check_data(tmp_path)}["fashion-mnist"]


# caltech101


@pytest.fixture
def caltech(tmp_path) -> Path:
    """Write two classes of 33 and 31 images of many sizes, and the folder of background images, which is not a class."""
    home = tmp_path / "caltech101/101_ObjectCategories"
    for folder, count in (("Faces", 33), ("Faces_easy", 31), ("BACKGROUND_Google", 2)):
        for number in range(1, count + 1):
            write_picture(home / folder / f"image_{number:04d}.jpg", number, (5 + number % 3, 7))
    (home / "BACKGROUND_Google/tmp").write_text("none")
    return home


def test_caltech101_has_30_training_images_per_class_and_all_others_in_test(caltech, tmp_path):
    train, test = (load_data("caltech101", tmp_path, split) for split in ("train", "test"))
    assert train.classes == test.classes == ("Faces", "Faces_easy")
    assert np.bincount(train.labels).tolist() == [TRAINING_IMAGES] * 2
    assert np.bincount(test.labels).tolist() == [3, 1]
    names = [*train.images.names, *test.images.names]
    assert sorted(names) == sorted(str(path.relative_to(caltech)) for path in caltech.glob("Faces*/*.jpg"))
    assert all(
        name.startswith(f"{train.classes[label]}/")
        for name, label in zip(train.images.names, train.labels, strict=True)
    )
    assert train.size is None
    assert train.images[0].shape[2] == 3


def test_the_split_of_caltech101_is_pinned(caltech, tmp_path):
    """Another rule would move test images of earlier comparisons into the training split."""
    assert load_data("caltech101", tmp_path, "test").images.names.tolist() == [
        *("Faces/image_0010.jpg", "Faces/image_0012.jpg", "Faces/image_0032.jpg", "Faces_easy/image_0022.jpg"),
    ]


def test_an_additional_image_moves_at_most_one_image_of_its_class(caltech, tmp_path):
    before = set(load_data("caltech101", tmp_path, "train").images.names)
    write_picture(caltech / "Faces/image_0034.jpg", 0, (5, 7))
    assert len(before - set(load_data("caltech101", tmp_path, "train").images.names)) <= 1


def test_an_incomplete_caltech101_is_refused_in_one_line(caltech, tmp_path):
    (caltech / "Faces_easy/image_0001.jpg").unlink()
    one_line("caltech101", tmp_path, "30 images in Faces_easy", "download that file, unpack it")
    shutil.rmtree(caltech)
    caltech.mkdir()
    one_line("caltech101", tmp_path, "download that file, unpack it")


def test_a_failed_download_of_caltech101_is_a_one_line_error(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.caltech, "download_and_extract_archive", refuse_connection)
    one_line("caltech101", tmp_path, "or download https://data.caltech.edu/", "no route to host")


def test_named_sets_decode_images_on_access(tiny, caltech, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "decode", None)
    for name in ("tiny-imagenet", "caltech101"):
        load_data(name, tmp_path).take(4)


def test_existing_data_sets_are_listed_as_ready(tiny, fashion, caltech, tmp_path):
    found = {finding.name: finding for finding in check_data(tmp_path)}
    assert [what for what, finding in found.items() if finding.ready] == [
        *("digits-on-photos", "biased-digits", "fashion-mnist", "caltech101", "tiny-imagenet"),
    ]
    assert "tiny-imagenet-200.zip" in found["tiny-imagenet"].advice
    assert "speech_commands_v0.02.tar.gz" in found["speech-commands"].advice
