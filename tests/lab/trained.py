"""Write small data sets and train small runs for the tests of evaluations, large enough for corruptions."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from smix.config import EvaluateConfig, MachineOptions
from smix.data.sets import ImageSet
from smix.training.runs import train
from tests.conftest import make_set, write_npz
from tests.training.small import OPTIONS, small_config

QUIET = MachineOptions(device="cpu", quiet=True)
ALL = EvaluateConfig(corruptions=True, attacks=True, masks="carried")
SIZE = (28, 36)
TEST = 24
CLASSES = 6
FILE_SIZES = ((28, 40), (37, 30), (33, 28))
"""Sizes of the images in files."""


def sets(size: tuple[int, int] = SIZE, test: int = TEST) -> tuple[ImageSet, ImageSet]:
    """Return 80 training images and some test images with boxes as masks, in classes of different brightness."""
    return make_set(80, size, CLASSES), make_set(test, size, CLASSES, seed=1, split="test")


def write_sets(folder: Path, train: ImageSet, test: ImageSet, name: str = "made") -> str:
    return f"npz:{write_npz(folder / f'{name}.npz', train, test)}"


def write_folders(folder: Path, train: ImageSet, test: ImageSet) -> str:
    """Write the images as files of different sizes, cropped or repeated at their ends."""
    for data in (train, test):
        for place, (image, label) in enumerate(zip(data.array, data.labels, strict=True)):
            height, width = FILE_SIZES[place % len(FILE_SIZES)]
            home = folder / data.split / data.classes[label]
            home.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.resize(image, (height, width, 3))).save(home / f"{place:03d}.png")
    return f"folder:{folder}"


def train_run(folder: Path, data: str, **changes: object) -> Path:
    """Train a run that is right about some images and wrong about others, and return its folder."""
    options = replace(OPTIONS, workers=0)
    train(small_config(data, **{"method": "vanilla", "epochs": 3, "lr": 0.05, **changes}), folder, options)
    return folder


def relabel(data: ImageSet, classes: Sequence[str], label: Sequence[int]) -> ImageSet:
    """Return the images with other classes: class i becomes class `label[i]`."""
    return replace(data, labels=np.array(label)[data.labels], classes=tuple(classes), fingerprint="")
