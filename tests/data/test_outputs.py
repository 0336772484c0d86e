"""Test that outputs in the folder of the images are refused before anything is written."""

from pathlib import Path

import pytest
from PIL import Image

from smix import load_data
from smix.data.outputs import check_outside
from smix.errors import RunError
from smix.masks import build_masks, load_source

MESSAGE = "this lies in the folder of the images"


@pytest.fixture
def birds(tmp_path, monkeypatch) -> Path:
    """Write flat folders of two classes, masks of the same names, and a sweep, and go to the folder around them."""
    monkeypatch.chdir(tmp_path)
    for label in ("owl", "wren"):
        for number in range(6):
            for place, mode in ((Path("birds"), "RGB"), (Path("drawn"), "L")):
                (place / label).mkdir(parents=True, exist_ok=True)
                Image.new(mode, (8, 8), 255 if mode == "L" else number).save(place / label / f"{number}.png")
    Path("sweep.jsonl").write_text('{"name": "mixup-0", "config": {"data": "folder:birds", "method": "mixup"}}\n')
    return Path("birds")


def listed(folder: Path) -> list[str]:
    return sorted(path.as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--data", "folder:birds", "--method", "mixup", "--out", "birds/run"],
        ["compare", "--data", "folder:birds", "--methods", "mixup", "--seeds", 1, "--out", "birds/owl/runs"],
        ["sweep", "run", "sweep.jsonl", "--out", "birds/../birds/runs"],
        ["sweep", "run", "sweep.jsonl", "--index", 0, "--out", "birds"],
        ["sweep", "sbatch", "sweep.jsonl", "--out", "birds/runs"],
        ["masks", "build", "--data", "folder:birds", "--source", "masks:drawn", "--out", "birds/masks"],
        ["data", "split", "folder:birds", "--out", "birds/split.csv"],
        ["train", "--data", "folder:linked", "--method", "mixup", "--out", "birds/run"],
    ],
)
def test_an_output_among_the_images_is_refused(birds, smix, words):
    Path("linked").symlink_to(birds)
    before = listed(Path())
    code, _, told = smix(*words)
    assert (code, MESSAGE in told, len(told.splitlines())) == (2, True, 1)
    assert listed(Path()) == before


@pytest.mark.parametrize("command", ["check", "export"])
def test_the_pictures_of_a_store_are_refused(birds, smix, command):
    build_masks(load_data("folder:birds", split="all"), load_source("masks:drawn"), "store")
    before = listed(Path())
    code, _, told = smix("masks", command, "store", "--out", "birds/wren/masks")
    assert (code, "lies in" in told, len(told.splitlines())) == (2, True, 1)
    assert listed(Path()) == before


def test_folders_next_to_those_of_the_splits_are_outside(birds):
    Path("set").mkdir()
    birds.rename("set/Train")
    check_outside("set/runs", "folder:set")
    check_outside("set", "folder:set")
    check_outside("set2", "folder:set")
    with pytest.raises(RunError, match=MESSAGE):
        check_outside("set/Train/runs", "folder:set")


def test_a_csv_file_has_no_folder_of_images(birds):
    rows = [f"{birds}/{label}/{number}.png,{label}" for label in ("owl", "wren") for number in range(6)]
    Path("all.csv").write_text("\n".join(["path,label", *rows]))
    check_outside("birds/runs", "csv:all.csv")


@pytest.mark.parametrize("name", ["digits-on-photos", "folder:none", "csv:none.csv", "csv:sweep.jsonl", "npz:x.npz"])
def test_other_data_sets_are_not_checked(birds, name):
    check_outside("birds/runs", name)
