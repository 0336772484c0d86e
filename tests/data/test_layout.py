"""Test the layouts of folders, the split that is drawn, and the messages about folders that are no data set."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smix import load_data
from smix.data.drawn_split import draw_test
from smix.data.sets import load_validation
from smix.errors import DataError, OptionError

PNG = Image.new("RGB", (5, 4))


def make(root: Path, *names: str) -> Path:
    """Write a picture for each name; a name with * stands for twenty."""
    for name in names:
        for path in [root / name.replace("*", f"{number:02d}") for number in range(20 if "*" in name else 1)]:
            path.parent.mkdir(parents=True, exist_ok=True)
            PNG.save(path)
    return root


def load(root: Path, split: str = "train"):
    return load_data(f"folder:{root}", split=split)


def paths(root: Path, split: str = "train") -> list[str]:
    return load(root, split).files.paths.tolist()


SPLIT = ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png")


def test_train_and_test(tmp_path):
    make(tmp_path, *SPLIT)
    assert paths(tmp_path) == ["train/cat/1.png", "train/dog/2.png"]
    assert paths(tmp_path, "test") == ["test/cat/3.png"]
    assert load(tmp_path, "test").classes == ("cat", "dog")
    assert load(tmp_path).stem(1) == "dog/2"
    assert load_validation(f"folder:{tmp_path}", "data") is None


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_validation_images_are_the_test_images_without_others(tmp_path, val):
    make(tmp_path, *SPLIT[:2], f"{val}/cat/3.png")
    assert paths(tmp_path, "test") == [f"{val}/cat/3.png"]
    assert load_validation(f"folder:{tmp_path}", "data") is None
    with pytest.raises(DataError, match=r"there is no folder .*/val; create it with the layout val/CLASS/IMAGE"):
        load(tmp_path, "val")


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("Train", "Val", "Test"), ("Training", "VALID", "testing"), ("TRAIN", "Validation", "TEST")],
)
def test_other_names_of_the_folders(tmp_path, train, val, test):
    make(tmp_path, f"{train}/cat/1.png", f"{val}/cat/2.png", f"{test}/cat/3.png")
    loaded = [paths(tmp_path, split) for split in ("train", "val", "test", "all")]
    assert loaded[:3] == [[f"{train}/cat/1.png"], [f"{val}/cat/2.png"], [f"{test}/cat/3.png"]]
    assert loaded[3] == [path for each in loaded[:3] for path in each]
    assert load(tmp_path).classes == ("cat",)


def test_validation_images_next_to_test_images_are_a_part_of_their_own(tmp_path):
    make(tmp_path, *SPLIT, "val/dog/4.png")
    assert paths(tmp_path, "val") == ["val/dog/4.png"]
    assert paths(tmp_path, "test") == ["test/cat/3.png"]
    validation = load_validation(f"folder:{tmp_path}", "data")
    assert validation.labels.tolist() == [1]
    assert validation.split == "val"


def test_all_images_of_all_splits(tmp_path):
    make(tmp_path, *SPLIT, "val/dog/4.png", "test/bird/5.png", "test/6.png")
    data = load(tmp_path, "all")
    assert data.files.paths.tolist() == [
        "train/cat/1.png", "train/dog/2.png", "val/dog/4.png", "test/6.png", "test/bird/5.png", "test/cat/3.png"
    ]  # fmt: skip
    assert data.classes == ("bird", "cat", "dog", "unlabelled")
    assert [data.classes[label] for label in data.labels] == ["cat", "dog", "dog", "unlabelled", "bird", "cat"]
    assert data.stem(5) == "test/cat/3"


def test_pictures_in_one_folder_need_no_labels_for_masks(tmp_path):
    make(tmp_path, "1.png", "2.png")
    data = load(tmp_path, "all")
    assert (data.files.paths.tolist(), data.classes) == (["1.png", "2.png"], ("unlabelled",))
    with pytest.raises(
        DataError,
        match=r"there are no images \(.*\) in .*/train/CLASS or .*/CLASS; add them, or move them into folders",
    ):
        load(tmp_path)


@pytest.mark.parametrize("folder", ["", "train/"])
def test_a_split_is_drawn_where_there_are_no_test_images(tmp_path, folder):
    make(tmp_path, f"{folder}cat/*.png", f"{folder}dog/*.png", f"{folder}dog/old/*.png")
    train, test = load(tmp_path), load(tmp_path, "test")
    assert sorted([*train.files.paths, *test.files.paths]) == sorted(paths(tmp_path, "all"))
    assert train.classes == test.classes == ("cat", "dog")
    assert all(train.classes[label] in path for path, label in zip(train.files.paths, train.labels, strict=True))
    assert train.files.drawn
    assert test.files.drawn
    assert np.bincount(test.labels).min() >= 2
    count = len(test)
    assert train.files.notes == (
        f"folder:{tmp_path} has no test images: {count} of its 60 images ({100 * count / 60:.0f} %, seed 0) are drawn from all "
        f"classes by a hash of their paths; smix data split folder:{tmp_path} --out split.csv writes the split to a file",
    )
    assert paths(tmp_path, "test") == test.files.paths.tolist()


def test_a_class_may_be_called_train(tmp_path):
    make(tmp_path, "train/*.png", "bus/*.png")
    assert load(tmp_path).classes == ("bus", "train")


def test_folders_of_other_files_are_no_class(tmp_path):
    make(tmp_path, "cat/*.png", "dog/*.png")
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers/one.pdf").touch()
    assert load(tmp_path).classes == ("cat", "dog")


def test_skipped_files_are_named(tmp_path):
    make(tmp_path, *SPLIT, "train/cat/.hidden.png", "train/5.png", "extra/1.png", "train/dog/7.jpg")
    Image.new("L", (4, 5)).save(tmp_path / "train/dog/7.png")
    (tmp_path / "train/cat/notes.txt").touch()
    assert load(tmp_path).files.notes == (
        f"folder:{tmp_path}: skipped: 1 hidden (train/cat/.hidden.png), 1 with an unknown suffix (train/cat/notes.txt), 1 masks next to "
        "images (train/dog/7.png), 1 folders outside of the data set (extra), 1 images outside of the folders of classes (train/5.png)",
    )
    assert load(tmp_path, "test").files.notes == ()


@pytest.mark.parametrize(
    ("names", "split", "message"),
    [
        (["test/cat/1.png"], "train", r"there is no folder .*/train; create it with the layout train/CLASS/IMAGE"),
        (["trainings/cat/1.png", "test/cat/1.png"], "train", r"there is no folder .*/train; create it"),
        (
            ["train/cat/1.png", "Train/cat/2.png"],
            "train",
            r"the folders Train and train are both for train images; rename",
        ),
        (["train/a/1.png", "val/a/2.png", "valid/a/3.png"], "all", "the folders val and valid are both for val images"),
        (["train/1.png"], "train", r"there are no images \(.*\) in .*/train/CLASS; add them"),
        (["train/cat/1.png", "test/cow/1.png"], "test", r"the classes cow in .*/test do not exist in .*/train; remove"),
        (["train/cat/1.png", "test/cat/1.txt"], "test", r"there are no images \(.*\) in .*/test/CLASS"),
        (
            ["cat/1.png", "dog/*.png"],
            "train",
            r"folder:.*: cat/1\.png: this is the only image of its class",
        ),
        (["cat/1.txt"], "all", r"there are no images \(.*\) in .*; add them, or check the path"),
        (["cat/1.png", "cat/2.png"], "val", r"there are no validation images \(.*\) in .*/val/CLASS"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused(tmp_path, names, split, message):
    for name in names:
        if name.endswith(".txt"):
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).touch()
        else:
            make(tmp_path, name)
    with pytest.raises(DataError, match=message):
        load(tmp_path, split)


@pytest.mark.parametrize("name", ["folder:", "csv:", "npz: "])
def test_an_empty_path_is_not_the_current_folder(name):
    with pytest.raises(OptionError, match=r'data: expected a path after "\w+:", got none; name the data set'):
        load_data(name)


@pytest.mark.parametrize("name", ["digits-on-photos", "npz:x.npz", "hf:x"])
@pytest.mark.parametrize("split", ["val", "all"])
def test_other_data_sets_have_no_such_split(name, split):
    with pytest.raises(OptionError, match=f'split: {name} has the splits train and test, got "{split}"'):
        load_data(name, split=split)


# The drawn split


def names(count: int, label: str = "cat", start: int = 0) -> np.ndarray:
    return np.array([f"{label}/{number}.jpg" for number in range(start, start + count)], object)


def test_images_that_are_added_move_no_others():
    before = names(300)
    more = np.concatenate([names(40, start=1000), before, names(30, "cat/new")])
    test = draw_test(more, np.zeros(len(more), np.int64))
    assert np.array_equal(draw_test(before, np.zeros(300, np.int64)), test[40:340])


@pytest.mark.parametrize("count", [2, 3, 5, 10, 30, 200])
@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5, 0.9])
def test_every_class_has_about_its_share_of_test_images(count, fraction):
    labels = np.arange(20 * count) % 20
    paths = np.array([f"{label}/{number}.jpg" for number, label in enumerate(labels)], object)
    test = draw_test(paths, labels, fraction)
    counts = np.bincount(labels[test], minlength=20)
    assert counts.min() >= max(1, int(0.5 * fraction * count))
    assert counts.max() <= max(1, min(count - 1, int(np.ceil(1.5 * fraction * count))))
    if count == 200:
        assert abs(test.mean() - fraction) < 0.03


def test_seeds_draw_different_splits():
    labels = np.zeros(100, np.int64)
    assert np.array_equal(draw_test(names(100), labels, seed=1), draw_test(names(100), labels, seed=1))
    assert not np.array_equal(draw_test(names(100), labels, seed=1), draw_test(names(100), labels, seed=2))


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(OptionError, match=f"test_fraction: expected a fraction between 0 and 1, got {fraction}"):
        draw_test(names(10), np.zeros(10, np.int64), fraction)
