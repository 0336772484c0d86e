"""Load data sets with torchvision, which downloads those that are missing."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from smix.data.folders import folders_in, set_of_files
from smix.data.imageset import ImageSet, Split
from smix.data.listing import list_images
from smix.errors import DataError
from smix.untrusted import one_line

CALTECH101_URL = "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip"
TRAINING_IMAGES = 30
"""Number of training images of each class of Caltech 101."""
DAMAGED = (OSError, RuntimeError, ValueError, AssertionError, LookupError, EOFError)
"""Errors that torchvision raises for files that are missing or damaged."""


def cifar(name: str, data_root: Path, split: Split) -> ImageSet:
    """Load CIFAR-10 or, with its fine labels, CIFAR-100 (Krizhevsky, 2009): 50,000 and 10,000 images of size 32 x 32 x 3.

    Args:
        name: "cifar10" or "cifar100".
        data_root: Root folder of the data sets.
        split: "train" or "test".

    Raises:
        DataError: The files are damaged, or missing and cannot be downloaded.
    """
    from torchvision import datasets

    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    exists = (data_root / kind.base_folder).is_dir()
    try:
        data = kind(data_root, train=split == "train", download=not exists)
    except (OSError, RuntimeError) as error:
        advice = f"download that file, unpack it in {data_root}, or use npz:FILE"
        raise _missing(name, kind.base_folder, data_root, kind.url, error, advice) from None
    return ImageSet(data.data, np.array(data.targets, np.int64), tuple(data.classes), name=name, split=split)


def fashion_mnist(name: str, data_root: Path, split: Split) -> ImageSet:
    """Load Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017, arXiv:1708.07747): 60,000 and 10,000 images of size 28 x 28 x 1.

    See `cifar` for the arguments and errors.
    """
    from torchvision import datasets

    kind: Any = datasets.FashionMNIST
    files = [file.removesuffix(".gz") for file, _ in kind.resources]
    exists = all((data_root / "FashionMNIST/raw" / file).is_file() for file in files)
    try:
        data = kind(data_root, train=split == "train", download=not exists)
    except DAMAGED as error:
        advice = f"download its four files and unpack them in {data_root}/FashionMNIST/raw"
        raise _missing(name, "FashionMNIST/raw", data_root, kind.mirrors[0], error, advice) from None
    return ImageSet(data.data.numpy()[..., None], data.targets.numpy(), tuple(kind.classes), name=name, split=split)


def caltech101(name: str, data_root: Path, split: Split) -> ImageSet:
    """Load Caltech 101 (Fei-Fei, Fergus and Perona, 2004): photographs of 101 classes, without BACKGROUND_Google.

    There is no official split. As is usual since Fei-Fei et al., 30 images of each class are for training and all others for testing
    (some papers test on at most 50 per class). The 30 are those with the lowest sha256 of "CLASS/FILE", which is a random choice that
    is the same on all machines. See `cifar` for the arguments and errors.
    """
    from torchvision import datasets

    home = data_root / "caltech101/101_ObjectCategories"
    try:
        datasets.Caltech101(data_root, download=not home.is_dir())
        classes = [folder for folder in folders_in(home) if folder != "BACKGROUND_Google"]
        files = []
        for label, folder in enumerate(classes):
            paths = sorted((f"{folder}/{file}" for file in list_images(home / folder).names), key=_sha256)
            if len(paths) <= TRAINING_IMAGES:
                raise FileNotFoundError(f"{len(paths)} images in {folder}")
            chosen = paths[:TRAINING_IMAGES] if split == "train" else paths[TRAINING_IMAGES:]
            files += [(path, label) for path in chosen]
        if not files:
            raise FileNotFoundError("no class folders")
    except DAMAGED as error:
        advice = f"download that file, unpack it, and the archive of the images in it in {data_root}/caltech101"
        raise _missing(name, "caltech101/101_ObjectCategories", data_root, CALTECH101_URL, error, advice) from None
    return set_of_files(name, split, home, sorted(files), classes)


def _sha256(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()


def _missing(name: str, place: str, data_root: Path, url: str, error: Exception, advice: str) -> DataError:
    return DataError(f"{name}: cannot load {place} from {data_root} or download {url} ({one_line(error)}); {advice}")
