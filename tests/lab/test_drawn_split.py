"""Test that the split that was drawn for a run stays its split, and that no training images are tested on."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smix import EvaluateConfig, evaluate
from smix.data.sets import load_data
from smix.errors import DataError, OptionError, RunError
from smix.training.runs import train
from tests.lab.trained import QUIET, sets, train_run
from tests.training.small import OPTIONS, small_config

pytestmark = pytest.mark.usefixtures("read_here")
CHANGES = {"method": "vanilla", "epochs": 1, "lr": 0.05}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """Return a folder with birds/CLASS, birds.csv without a column split, and a finished run. Tests must not change it."""
    home = tmp_path_factory.mktemp("drawn")
    lines = ["path,label"]
    for place, (image, label) in enumerate(zip(sets()[0].array, sets()[0].labels, strict=True)):
        path = (
            home / "birds" / str(label + 9) / f"{place:03d}.png"
        )  # classes 9 to 14: their order is not that of numbers
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        lines.append(f"{path.relative_to(home).as_posix()},{label + 9}")
    (home / "birds.csv").write_text("\n".join(lines))
    train_run(home / "run", f"folder:{home / 'birds'}", **CHANGES)
    return home


@pytest.fixture
def home(drawn, tmp_path) -> Iterator[Path]:
    """Return a copy of the folder in the same place, to be changed."""
    copy = tmp_path / "kept"
    shutil.copytree(drawn, copy)
    yield drawn
    shutil.rmtree(drawn)
    shutil.copytree(copy, drawn)


def add(home: Path) -> None:
    for number in range(40):
        Image.fromarray(np.full((28, 36, 3), number, np.uint8)).save(home / "birds/9" / f"{900 + number}.png")


def test_images_that_are_added_do_not_change_the_test_images_of_a_run(home):
    before = evaluate(home / "run", options=QUIET)
    assert before.own
    add(home)
    shutil.rmtree(home / "run/evaluation")
    assert load_data(f"folder:{home / 'birds'}", split="test").fingerprint != before.fingerprint
    after = evaluate(home / "run", options=QUIET)
    assert (after.own, after.fingerprint, after.numbers) == (True, before.fingerprint, before.numbers)


def test_an_interrupted_run_resumes_with_its_images(home):
    result = json.loads((home / "run/result.json").read_text())
    (home / "run/result.json").unlink()
    add(home)
    again = train(small_config(f"folder:{home / 'birds'}", **CHANGES), home / "run", replace(OPTIONS, workers=0))
    assert again.test_accuracy == result["test_accuracy"]


def test_a_missing_file_is_named_with_the_file_of_the_split(home):
    path = load_data(f"folder:{home / 'birds'}", split="test").files.paths[0]
    (home / "birds" / path).unlink()
    with pytest.raises(DataError, match=rf"run/split\.csv, line \d+: there is no file \.\./birds/{path}; correct it"):
        evaluate(home / "run", options=QUIET)


def test_a_run_may_be_moved_without_its_images(home, tmp_path):
    (home / "run").rename(tmp_path / "elsewhere")
    assert evaluate(tmp_path / "elsewhere", options=QUIET).own


def test_images_that_were_trained_on_are_refused(home):
    config = EvaluateConfig(data=f"csv:{home / 'birds.csv'}")
    test = load_data(config.data, split="test")
    assert evaluate(home / "run", EvaluateConfig(data=f"csv:{home / 'run/split.csv'}"), QUIET).images == len(test)
    assert evaluate(home / "run", config, QUIET).images == len(test)
    lines = [f"{line},test" for line in (home / "birds.csv").read_text().split()[1:]]
    (home / "link").symlink_to(home / "birds")
    extra = [line.replace(",test", ",train").replace("birds/", "other/") for line in lines]
    shutil.copytree(home / "birds", home / "other")
    linked = [line.replace("birds/", "link/") for line in lines]
    (home / "all.csv").write_text("\n".join(["path,label,split", *extra, *linked]))
    trained = json.loads((home / "run/config.json").read_text())["data"]["images"]["training"]
    with pytest.raises(
        OptionError,
        match=rf"data: {trained} of 80 test images of csv:.*all\.csv were trained on by .*run; name other data, or csv:.*run/split\.csv",
    ):
        evaluate(home / "run", EvaluateConfig(data=f"csv:{home / 'all.csv'}"), QUIET)


def all_as_test(home: Path, folder: str) -> str:
    """Write a CSV file in which all images of a folder are test images, and copies of them training images."""
    shutil.copytree(home / folder, home / "copies")
    paths = sorted(path.relative_to(home / folder) for path in (home / folder).rglob("*.png"))
    lines = [
        f"{top}/{path},{path.parent},{split}"
        for top, split in ((folder, "test"), ("copies", "train"))
        for path in paths
    ]
    (home / "as-test.csv").write_text("\n".join(["path,label,split", *lines]))
    return f"csv:{home / 'as-test.csv'}"


def test_trained_images_are_found_by_their_paths_where_one_of_them_is_missing(home):
    """Without the missing image, the images of the run cannot be loaded."""
    rows = [line.split(",") for line in (home / "run/split.csv").read_text().split()[1:]]
    (home / "run" / next(row[0] for row in rows if "train" in row)).resolve().unlink()
    config = EvaluateConfig(data=all_as_test(home, "birds"))
    with pytest.raises(OptionError, match=r"\d+ of 79 test images of csv:.* were trained on by .*run"):
        evaluate(home / "run", config, QUIET)


def test_images_that_cannot_be_compared_with_the_training_images_are_noted(home, capsys):
    (home / "birds").rename(home / "moved")
    evaluate(home / "run", EvaluateConfig(data=all_as_test(home, "moved")), replace(QUIET, quiet=False))
    assert "is checked only by the paths of its training images" in capsys.readouterr().err


def test_images_of_a_split_of_folders_that_were_trained_on_are_refused(files, tmp_path):
    name, run = files
    folder = Path(name.removeprefix("folder:"))
    (tmp_path / "swapped").mkdir()
    (tmp_path / "swapped/train").symlink_to(folder / "test")
    (tmp_path / "swapped/test").symlink_to(folder / "train")
    with pytest.raises(OptionError, match=r"data: \d+ of 80 test images of .* were trained on by .*; name other data$"):
        evaluate(run, EvaluateConfig(data=f"folder:{tmp_path / 'swapped'}"), QUIET)


def test_a_run_of_another_format_is_refused(home):
    file = home / "run/config.json"
    file.write_text(file.read_text().replace('"format": 3', '"format": 2'))
    with pytest.raises(RunError, match="format 2 instead of 3"):
        evaluate(home / "run", options=QUIET)
