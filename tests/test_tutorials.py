"""Test that the tutorials run from top to bottom, with small networks, and that each mask is that of its picture."""

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from smix import MaskStore
from smix.data import MaskedFolder
from tests.tutorial_pictures import Truth, write_birds, write_leaves, write_tiny

PAGES = Path(__file__).parents[1] / "docs" / "tutorials"
SMALLER = {"--epochs": "1", "--model": "resnet8", "--image-size": "32", "--batch-size": "16"}
"""Values that replace those of the page."""
SMALLER_CODE = {"range(30)": "range(1)", "size = 224": "size = 32", '"resnet18-imagenet"': '"resnet8"'}
WNIDS = {"n01443537": "goldfish, Carassius auratus", "n02504458": "African elephant", "n07749582": "lemon"}


@pytest.fixture
def follow(smix, tmp_path, monkeypatch):
    """Return a function that runs all blocks of a page and returns standard output and standard error of each command."""
    monkeypatch.chdir(tmp_path)

    def run(name: str) -> list[tuple[str, str]]:
        outputs = []
        for language, block in re.findall(
            r"^```(\w*)\n(.+?)^```", (PAGES / name).read_text(), re.MULTILINE | re.DOTALL
        ):
            if language == "python":
                for old, new in SMALLER_CODE.items():
                    assert old in block
                    block = block.replace(old, new)
                with torch.random.fork_rng():
                    exec(block, {})
            for line in block.splitlines() if not language else ():
                words = shlex.split(line)
                words = [SMALLER.get(option, word) for option, word in zip(["", *words], words, strict=False)]
                assert words[0] == "smix"
                code, out, err = smix(*words[1:])
                assert code == 0, err
                outputs.append((out, err))
        return outputs

    return run


def check_masks(root: str, store: str, truth: Truth) -> None:
    """Check that each picture has its own mask, as a training loop gets it."""
    data = MaskedFolder(root, MaskStore(store))
    assert {path.partition("/")[2] for path, _ in data.samples} == set(truth)
    for (path, _), (image, _, mask) in zip(data.samples, (data[row] for row in range(len(data))), strict=True):
        expected = truth[path.partition("/")[2]]
        assert image.shape[1:] == mask.shape, path
        assert np.array_equal(mask.numpy(), expected), path


def rows(name: str) -> list[dict[str, str]]:
    with Path(name).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_pictures_in_folders_with_masks(follow, tmp_path):
    truth = write_birds(tmp_path)
    outputs = follow("folders.md")
    assert len(outputs) == 5
    assert "30 masks of folder:birds all, 100.0 % pass the criteria" in outputs[0][0]
    assert "skipped: 1 with an unknown suffix (owl/notes.txt)" in outputs[0][1]
    assert (tmp_path / "masks/birds-check/contact-sheet-birds-all.html").is_file()
    check_masks("birds", "masks/birds", truth)
    check_masks("birds-together", "masks/together", truth)
    predicted = rows("predictions.csv")
    assert [row["label"] in ("owl", "Zaunkönig") for row in predicted] == [True, True, False]
    assert "truncated" in predicted[2]["error"]


@pytest.mark.slow
def test_photographs_annotated_with_labelme(follow, smix, tmp_path):
    truth = write_leaves(tmp_path)
    outputs = follow("labelme.md")
    assert len(outputs) == 5
    assert "60 masks of folder:leaves all" in outputs[0][0]
    check_masks("leaves", "masks/leaves", truth)
    split = [row["split"] for row in rows("leaves.csv")]
    assert (len(split), 9 < split.count("test") < 27) == (60, True)
    assert len(rows("predictions.csv")) == 63
    assert re.search("fewer than 100 fit a temperature|not calibrated", outputs[4][1])
    code, _, err = smix(
        "masks", "build", "--data", "folder:leaves", "--source", "labelme:leaves", "--out", "unknown-frame"
    )
    assert (code, "pass --mask-frame upright" in err, Path("unknown-frame").exists()) == (2, True, False)


@pytest.mark.slow
def test_tiny_imagenet(follow, tmp_path):
    write_tiny(tmp_path / "data/tiny-imagenet-200", WNIDS)
    write_tiny(tmp_path / "tiny-20", WNIDS)
    outputs = follow("tiny-imagenet.md")
    assert len(outputs) == 7
    assert "Classes: goldfish, African elephant, lemon" in outputs[0][0]
    assert "60 masks of tiny-imagenet train" in outputs[1][0]
    assert "its val images are the test images" in outputs[5][1]
    assert len(rows("predictions.csv")) == 1
    assert {row["label"] for row in rows("predictions-20.csv")} <= {"goldfish", "African elephant", "lemon"}


@pytest.mark.slow
def test_a_loop_of_your_own(follow, tmp_path):
    write_birds(tmp_path)
    outputs = follow("own-loop.md")
    assert len(outputs) == 2
    assert [bool(row["label"]) for row in rows("predictions.csv")] == [True, True, False]


def test_each_tutorial_takes_few_commands():
    pages = sorted(PAGES.glob("*.md"))
    assert [page.name for page in pages] == ["folders.md", "labelme.md", "own-loop.md", "tiny-imagenet.md"]
    for page in pages:
        assert len(re.findall(r"^smix ", page.read_text(), re.MULTILINE)) <= 7


@pytest.mark.parametrize("page", ["folders.md", "labelme.md"])
def test_the_quoted_messages_exist(page):
    source = " ".join(path.read_text() for path in (PAGES.parents[1] / "smix").rglob("*.py"))
    table = (PAGES / page).read_text().partition("| what you see |")[2]
    quoted = [part for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for part in re.findall("`(.+?)`", row)]
    assert len(quoted) >= 5
    for message in quoted:
        # Numbers, names and quoted kinds differ from message to message.
        parts = re.split(r"\.\.\.|\d+x\d+|\d+|IMG_\S+|skipped: ", message.replace('"points"', '"{kind}"'))
        assert all(part.strip() in source for part in parts), message
