"""Test `smix data split`."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smix import load_data
from smix.data.split_file import write_drawn_split


@pytest.fixture
def birds(tmp_path) -> Path:
    """Write flat folders of two classes."""
    for label in ("owl", "wren, small"):
        for number in range(30):
            path = tmp_path / "birds" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(path)
    return tmp_path / "birds"


def names(data) -> set[str]:
    return {Path(path).as_posix() for path in data.files.paths}


def test_the_file_holds_the_split_that_is_drawn(birds, smix):
    out = birds.parent / "lists" / "birds.csv"
    code, said, _ = smix("data", "split", f"folder:{birds}", "--out", out)
    assert code == 0
    test = load_data(f"folder:{birds}", split="test")
    assert f"{60 - len(test)} training and {len(test)} test images" in said
    assert f"Use it with --data csv:{out}" in said
    for split in ("train", "test"):
        assert names(load_data(f"csv:{out}", split=split)) == names(load_data(f"folder:{birds}", split=split))
    assert load_data(f"csv:{out}").classes == ("owl", "wren, small")
    assert out.read_text().startswith("path,label,split\n../birds/owl/0.png,owl,")


def test_fraction_and_seed(birds, smix):
    files = [birds.parent / f"{number}.csv" for number in range(3)]
    for file, words in zip(files, (["--seed", 1], ["--seed", 1], ["--test-fraction", 0.5]), strict=True):
        assert smix("data", "split", f"folder:{birds}", "--out", file, *words)[0] == 0
    tests = [names(load_data(f"csv:{file}", split="test")) for file in files]
    assert tests[0] == tests[1] != names(load_data(f"folder:{birds}", split="test"))
    assert 20 <= len(tests[2]) <= 40


def test_a_csv_file_without_a_split_is_split(birds, smix):
    table = birds.parent / "all.csv"
    table.write_text("path,label\n" + "".join(f"birds/owl/{number}.png,{number % 2}\n" for number in range(30)))
    out = birds.parent / "split.csv"
    assert smix("data", "split", f"csv:{table}", "--out", out)[0] == 0
    for split in ("train", "test"):
        first, second = load_data(f"csv:{table}", split=split), load_data(f"csv:{out}", split=split)
        assert np.array_equal(np.sort(first.files.paths), np.sort(second.files.paths))


def test_the_split_depends_neither_on_the_folder_nor_on_the_kind_of_list(birds, tmp_path):
    """The key of an image is its class and its path below the folder of this class."""
    shutil.copytree(birds, tmp_path / "lone" / "train")
    files = sorted(path.relative_to(birds) for path in birds.rglob("*.png"))
    (tmp_path / "lists").mkdir()
    for table, start in (("near.csv", "birds"), ("lists/far.csv", "../birds"), ("absolute.csv", birds)):
        lines = [f'"{start}/{file.as_posix()}","{file.parts[0]}"' for file in reversed(files)]
        (tmp_path / table).write_text("\n".join(["path,label", *lines]))
    sources = ("lone", "lone/train")
    names = [f"folder:{tmp_path / name}" for name in sources]
    names += [f"csv:{tmp_path / name}" for name in ("near.csv", "lists/far.csv", "absolute.csv")]
    expected = {tuple(Path(path).parts[-2:]) for path in load_data(f"folder:{birds}", split="test").files.paths}
    for name in names:
        assert {tuple(Path(path).parts[-2:]) for path in load_data(name, split="test").files.paths} == expected, name
        out = tmp_path / "split.csv"
        out.unlink(missing_ok=True)
        write_drawn_split(name, out)
        assert {
            tuple(Path(path).parts[-2:]) for path in load_data(f"csv:{out}", split="test").files.paths
        } == expected, name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--out", "birds/x.csv"],
            "this lies in the folder of the images, birds; choose another --out",
        ),
        (["--out", "birds/owl/../x.csv"], "this lies in the folder of the images"),
        (["--out", "old.csv"], "the file exists; remove it, or choose another name"),
        (["--out", "new.csv", "--test-fraction", "1.5"], "test_fraction: expected a fraction between 0 and 1, got 1.5"),
        (["--out", "new.csv", "--test-fraction", "x"], "test-fraction"),
    ],
)
def test_a_wrong_place_or_fraction_is_one_line(birds, smix, monkeypatch, words, message):
    monkeypatch.chdir(birds.parent)
    Path("old.csv").write_text("mine")
    code, _, told = smix("data", "split", "folder:birds", *words)
    assert code == 2
    assert message in told
    assert len(told.splitlines()) == 1
    assert not list(birds.rglob("*.csv"))
    assert Path("old.csv").read_text() == "mine"


def test_a_blank_at_the_end_of_a_name_is_refused(birds, smix):
    (birds / "owl").rename(birds / "owl ")
    code, _, told = smix("data", "split", f"folder:{birds}", "--out", birds.parent / "x.csv")
    assert (code, 'a CSV file cannot keep the blank at the start or end of "owl "; rename it' in told) == (2, True)
    assert not (birds.parent / "x.csv").exists()


def test_a_data_set_with_test_images_is_not_split(birds, smix):
    (birds.parent / "set").mkdir()
    for split in ("train", "test"):
        (birds.parent / "set" / split).symlink_to(birds)
    code, _, told = smix("data", "split", f"folder:{birds.parent / 'set'}", "--out", birds.parent / "x.csv")
    assert (code, "the data set already has 60 test images; use it as it is" in told) == (2, True)
    code, _, told = smix("data", "split", "digits-on-photos", "--out", birds.parent / "x.csv")
    assert (code, "only image files have a split that can be written; use folder:DIR or csv:FILE" in told) == (2, True)
