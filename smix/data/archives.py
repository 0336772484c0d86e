"""Data sets that torchvision finds in a folder, or downloads to it."""

import hashlib
from pathlib import Path

import numpy as np

from smix.data.folders import folders_in, set_of_files
from smix.data.imageset import ImageSet, Split
from smix.data.pictures import list_images
from smix.errors import DataError
from smix.untrusted import one_line

CALTECH101_URL = "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip"
TRAINING_IMAGES = 30
"""Number of training images of each class of Caltech 101."""
BROKEN = (OSError, RuntimeError, ValueError, AssertionError, LookupError, EOFError)
"""Errors that torchvision raises for files that are missing, cut or of another kind."""


def cifar(name: str, data_root: Path, split: Split) -> ImageSet:
    """CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) with the fine labels: 50,000 and 10,000 images of 32 x 32 x 3."""
    from torchvision import datasets

    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    here = (data_root / kind.base_folder).is_dir()
    try:
        data = kind(data_root, train=split == "train", download=not here)
    except (OSError, RuntimeError) as error:
        todo = f"download that file, unpack it in {data_root}, or use npz:FILE"
        raise _not_there(name, kind.base_folder, data_root, kind.url, error, todo) from None
    return ImageSet(data.data, np.array(data.targets, np.int64), tuple(data.classes), name=name, split=split)


def fashion_mnist(name: str, data_root: Path, split: Split) -> ImageSet:
    """Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017, arXiv:1708.07747): 60,000 and 10,000 images of 28 x 28 x 1."""
    from torchvision import datasets

    kind = datasets.FashionMNIST
    files = [file.removesuffix(".gz") for file, _ in kind.resources]
    here = all((data_root / "FashionMNIST/raw" / file).is_file() for file in files)
    try:
        data = kind(data_root, train=split == "train", download=not here)
    except BROKEN as error:
        todo = f"download its four files and unpack them in {data_root}/FashionMNIST/raw"
        raise _not_there(name, "FashionMNIST/raw", data_root, kind.mirrors[0], error, todo) from None
    return ImageSet(data.data.numpy()[..., None], data.targets.numpy(), tuple(kind.classes), name=name, split=split)


def caltech101(name: str, data_root: Path, split: Split) -> ImageSet:
    """Caltech 101 (Fei-Fei, Fergus and Perona, 2004): 9,144 photographs less those of BACKGROUND_Google, in 101 classes.

    It has no split of its own. As is usual since Fei-Fei et al., 30 images of each class are to train; all others are to
    test (no more than 50 a class are in some papers). Those 30 are the ones of which the sha256 of "CLASS/FILE" is least:
    the same ones wherever the files lie, and a matter of chance.
    """
    from torchvision import datasets

    home = data_root / "caltech101/101_ObjectCategories"
    try:
        datasets.Caltech101(data_root, download=not home.is_dir())
        classes = [inner for inner in folders_in(home) if inner != "BACKGROUND_Google"]
        files = []
        for label, inner in enumerate(classes):
            paths = sorted((f"{inner}/{file}" for file in list_images(home / inner)), key=_lot)
            if len(paths) <= TRAINING_IMAGES:
                raise FileNotFoundError(f"{len(paths)} images in {inner}")
            chosen = paths[:TRAINING_IMAGES] if split == "train" else paths[TRAINING_IMAGES:]
            files += [(path, label) for path in chosen]
        if not files:
            raise FileNotFoundError("no folders of classes")
    except BROKEN as error:
        todo = f"download that file, unpack it, and the archive of the images in it in {data_root}/caltech101"
        raise _not_there(name, "caltech101/101_ObjectCategories", data_root, CALTECH101_URL, error, todo) from None
    return set_of_files(name, split, home, sorted(files), classes)


def _lot(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()


def _not_there(name: str, place: str, data_root: Path, url: str, error: Exception, todo: str) -> DataError:
    return DataError(f"{name}: expected {place} in {data_root} or a connection to {url}, got {one_line(error)}; {todo}")
