"""Test data sets that a CSV file lists, and the messages about its lines."""

import numpy as np
import pytest
from PIL import Image

from smix import load_data
from smix.data import csv_sets
from smix.data.sets import load_validation
from smix.errors import DataError
from smix.untrusted import read_text

TABLE = """path,label,split
a/1.png,dog,train
a/2.png,cat,train
b/3.png,dog,test
b/4.png,cat,val
"""


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a CSV file next to four pictures, and returns the name of the data set."""
    for number, folder in enumerate("aabb", 1):
        (tmp_path / "pictures" / folder).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 4), (number, 0, 0)).save(tmp_path / "pictures" / folder / f"{number}.png")

    (tmp_path / "pictures/a/link.png").symlink_to("1.png")
    (tmp_path / "pictures/c").symlink_to("b")

    def write(text: str | bytes = TABLE) -> str:
        path = tmp_path / "pictures" / "birds.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return f"csv:{path}"

    return write


def red(data) -> list[int]:
    """Return the number that the colour of each picture tells."""
    return [int(image[0, 0, 0]) for image in data.images]


def test_splits_labels_and_paths(write):
    name = write()
    train, test = load_data(name), load_data(name, split="test")
    assert (red(train), train.labels.tolist(), train.classes) == ([1, 2], [1, 0], ("cat", "dog"))
    assert train.files.paths.tolist() == ["a/1.png", "a/2.png"]
    assert (red(test), test.labels.tolist()) == ([3], [1])
    validation = load_validation(name, "data")
    assert (red(validation), validation.labels.tolist(), validation.split) == ([4], [0], "val")
    everything = load_data(name, split="all")
    assert red(everything) == [1, 2, 3, 4]
    assert everything.files.paths.tolist() == ["a/1.png", "a/2.png", "b/3.png", "b/4.png"]


def test_validation_images_are_the_test_images_without_others(write):
    name = write(TABLE.replace("test", "train"))
    assert red(load_data(name, split="test")) == [4]
    assert load_validation(name, "data") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace(",", ", "),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text + "\n\n",
        lambda text: text.replace("path,label,split", "Path,Label,SPLIT").replace("train", "Train"),
        lambda text: text.replace("\n", ",extra\n"),
        lambda text: text.replace("a/1.png", '"a/1.png"').replace("a/2.png", "./a/../a/2.png"),
        lambda text: text.replace("val", "validation"),
    ],
)
def test_csv_files_of_spreadsheets_are_read(write, change):
    assert red(load_data(write(change(TABLE)))) == [1, 2]
    assert load_data(write(change(TABLE))).files.paths.tolist() == ["a/1.png", "a/2.png"]


def test_absolute_paths(write, tmp_path):
    name = write(TABLE.replace("\na/", f"\n{tmp_path}/pictures/a/"))
    assert red(load_data(name)) == [1, 2]
    assert load_data(name).files.paths.tolist() == ["a/1.png", "a/2.png"]


def test_a_file_is_parsed_once_until_it_changes(write, monkeypatch):
    parsed = []
    monkeypatch.setattr(csv_sets, "read_text", lambda *words: parsed.append(words) or read_text(*words))
    name = write()
    load_data(name)
    load_data(name, split="test")
    assert load_validation(name) is not None
    assert len(parsed) == 1
    write(TABLE.replace("b/4.png,cat,val", "b/4.png,cat,train"))
    assert len(load_data(name)) == 3
    assert len(parsed) == 2


def test_numbered_classes_are_sorted_as_numbers(write):
    name = write("path,label,split\na/1.png,10,train\na/2.png,9,train\nb/3.png,9,test\n")
    assert load_data(name).classes == ("9", "10")


def test_a_split_is_drawn_without_a_column_of_splits(write, tmp_path):
    lines = ["path,label"]
    for number in range(40):
        Image.new("RGB", (5, 4)).save(tmp_path / f"pictures/{number}.jpg")
        lines.append(f"{number}.jpg,{'cat' if number % 2 else 'dog'}")
    name = write("\n".join(lines))
    train, test = load_data(name), load_data(name, split="test")
    assert len(train) + len(test) == 40
    assert train.files.drawn
    assert f"{name} has no test images: {len(test)} of its 40 images" in train.files.notes[0]
    assert not set(train.files.paths) & set(test.files.paths)


def test_all_images_need_no_labels(write):
    data = load_data(write("path\na/1.png\nb/3.png\n"), split="all")
    assert (red(data), data.classes) == ([1, 3], ("unlabelled",))
    with pytest.raises(DataError, match=r"birds\.csv, line 1: there is no column label among path; add it"):
        load_data(write("path\na/1.png\nb/3.png\n"))


def test_masks_are_listed(write, tmp_path):
    Image.new("L", (5, 4), 255).save(tmp_path / "pictures/m.png")
    data = load_data(write("path,label,split,mask\na/1.png,cat,train,m.png\na/2.png,cat,train,\nb/3.png,cat,test,\n"))
    assert data.files.masks.tolist() == [str(tmp_path / "pictures/m.png"), ""]
    assert data.rows(np.array([1])).files.masks.tolist() == [""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"birds\.csv: the file is empty; write a first line"),
        ("path,label,split\n", r"birds\.csv: the file lists no images; add a line"),
        ("a/1.png,cat,train\n", r"birds\.csv, line 1: there is no column path among a/1\.png"),
        ("path,path\n", "line 1: two columns have the same name"),
        (TABLE + "a/1.png,dog\n", r"line 6: expected 3 values \(path, label, split\), got 2; put quotation marks"),
        (TABLE + "a/1.png,dog,train,x\n", r"line 6: expected 3 values .*, got 4"),
        (TABLE + "a/1.png,,train\n", r"line 6: the label is empty; add it, or remove the line"),
        (TABLE + ",dog,train\n", "line 6: the path is empty"),
        (TABLE + "a/9.png,dog,\n", "line 6: the split is empty"),
        (TABLE + "a/9.png,dog,dev\n", r'line 6: the split must be train, val or test, got "dev"; correct it'),
        (TABLE + "a/1.png,dog,train\n", r"line 6: the image a/1\.png is already in line 2; remove one"),
        (TABLE + "../pictures/a/1.png,dog,test\n", "line 6: the image .* is already in line 2"),
        (TABLE + "a/9.png,dog,train\n", r"line 6: there is no file a/9\.png; correct it"),
        (TABLE + "a,dog,train\n", "line 6: there is no file a;"),
        (TABLE + '"a/9.png,dog,train\n', r"line \d: the line is not valid CSV"),
        (TABLE + '"a/9\n.png",dog,train\n', "line 7: values must not contain control characters"),
        (TABLE + f"b/9.png,{'x' * 201},train\n", "line 6: a label may have at most 200 characters, got 201"),
        (TABLE.replace("train", "test"), "no line has the split train"),
        ("\n" + TABLE, r"birds\.csv, line 1: the line is blank; begin with the names of the columns"),
        (TABLE + "a/link.png,dog,test\n", r"line 6: the image a/link\.png is already in line 2"),
        (TABLE + "c/4.png,dog,test\n", r"line 6: the image c/4\.png is already in line 5"),
        (
            "path,label\na/1.png,1\na/2.png,02\nb/3.png,2\n",
            r'line 4: the labels "02" \(line 3\) and "2" are the same number',
        ),
        (
            "path,label\na/1.png,x\na/2.png,y\nb/3.png,y\n",
            r'birds\.csv, line 2: a/1\.png is the only image with the label "x"',
        ),
        ("path,label,mask\na/1.png,x,a/1.png\n", "line 2: the mask is the image itself; correct it"),
        (
            "path,label,mask\na/1.png,x,m.png\na/2.png,x,\nb/3.png,x,./m.png\n",
            r"line 4: the mask \./m\.png is already that of line 2",
        ),
        (b"\xff\xfe\0", r"csv:.*birds\.csv cannot be read \(.*UTF-8.*\); check the path"),
    ],
)
def test_a_wrong_line_is_named(write, text, message):
    with pytest.raises(DataError, match=message) as told:
        load_data(write(text))
    assert "\n" not in str(told.value)


def test_a_label_that_is_not_trained_is_named(write):
    with pytest.raises(DataError, match=r'line 4: no training image has the label "cow"; add some'):
        load_data(write(TABLE.replace("b/3.png,dog", "b/3.png,cow")), split="test")


def test_a_missing_mask_is_named(write):
    with pytest.raises(DataError, match=r"line 2: there is no file m\.png"):
        load_data(write("path,label,split,mask\na/1.png,cat,train,m.png\nb/3.png,cat,test,\n"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv cannot be read .*; check the path"):
        load_data(f"csv:{tmp_path / 'none.csv'}")
