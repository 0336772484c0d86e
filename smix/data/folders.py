"""Data sets that are folders of image files: one's own, and Tiny ImageNet."""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smix.data.imageset import ImageSet, Split
from smix.data.pictures import SUFFIXES, Pictures, common_size, list_images
from smix.errors import DataError
from smix.untrusted import UnreadableError, is_plain_name, is_text, one_line, read_text

TINY_IMAGENET_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"


def folder(name: str, place: str, split: Split) -> ImageSet:
    """The images of PLACE/SPLIT/CLASS; "val" will do for "test". The folders of train name the classes of both splits."""
    path = Path(place)
    if not path.is_dir():
        raise DataError(f"{name}: expected a folder {path}, got none; check the path")
    home = path / split
    if split == "test" and not home.is_dir():
        home = path / "val"
    for needed in (path / "train", home):
        if not needed.is_dir():
            raise DataError(f"{name}: expected {needed}/CLASS/image files, got no such folder; make it")
    classes, others = folders_in(path / "train"), folders_in(home)
    if unseen := sorted(set(others) - set(classes)):
        raise DataError(
            f"{name}: expected the classes of {path / 'train'}, got also {', '.join(unseen[:5])} in {home}; move them"
        )
    files = [(f"{inner}/{file}", label) for label, inner in enumerate(classes) for file in list_images(home / inner)]
    if not files:
        raise DataError(f"{name}: expected images ({', '.join(SUFFIXES)}) under {home}/CLASS, got none")
    return set_of_files(name, split, home, files, classes)


def folders_in(path: Path) -> list[str]:
    """Return the names of the folders in a folder but hidden ones, sorted.

    Raises:
        DataError: The folder cannot be read, or a name in it is not UTF-8 or holds control characters.
    """
    try:
        names = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{path}: expected a folder of classes, got {error.strerror}; make it readable") from None
    if (odd := next((name for name in names if not is_text(name)), None)) is not None:
        raise DataError(f"{path}: expected names of folders without control characters, got {odd}; rename it")
    return names


def read_listing(path: Path) -> str:
    """Return the text of a file that a data set consists of. Raises UnreadableError, which names it."""
    try:
        return read_text(path)
    except UnreadableError as error:
        raise UnreadableError(f"{path.name}: {error}") from None


def set_of_files(
    name: str, split: Split, home: Path, files: Sequence[tuple[str, int]], classes: Sequence[str]
) -> ImageSet:
    """A split of image files, not yet decoded: paths from `home` with their labels, in the order in which they are given."""
    names = np.array([file for file, _ in files], object)
    labels = np.array([label for _, label in files], np.int64)
    digest = hashlib.sha256(labels.tobytes())
    for file in names:
        # A Path for each of a million files takes longer.
        try:
            status = os.stat(f"{home}/{file}")  # noqa: PTH116
        except OSError as error:
            raise DataError(f"{home}/{file}: expected an image, got {error.strerror}; remove or replace it") from None
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{home}/{file}: expected an image, got a folder, pipe or device; remove it")
        digest.update(f"{file}\0{status.st_size}\n".encode())
    whole = np.arange(len(files))
    images = Pictures(home, names, common_size(home, names))
    return ImageSet(images, labels, tuple(classes), index=whole, name=name, split=split, fingerprint=digest.hexdigest())


def tiny_imagenet(name: str, data_root: Path, split: Split) -> ImageSet:
    """Tiny ImageNet (Le and Yang, Stanford CS231n, 2015): 200 classes, 64 x 64 pixels, as its archive unpacks.

    The classes are in the order of their sorted WordNet ids. The test split is "val", whose labels are published; those of
    the archive's own "test" are not.
    """
    home = data_root / "tiny-imagenet-200"
    if not home.is_dir():
        raise DataError(
            f"{name}: expected {home}, got no such folder; download {TINY_IMAGENET_URL} and unpack it in {data_root}"
        )
    try:
        ids = sorted(read_listing(home / "wnids.txt").split())
        words = dict(line.split("\t", 1) for line in read_listing(home / "words.txt").splitlines() if line.strip())
        rows = [
            line.split("\t") for line in read_listing(home / "val/val_annotations.txt").splitlines() if line.strip()
        ]
        labels = {wnid: label for label, wnid in enumerate(ids)}
        if split == "train":
            files = [
                (f"{wnid}/{file}", label)
                for wnid, label in labels.items()
                for file in list_images(home / "train" / wnid)
            ]
        else:
            if odd := next((row[0] for row in rows if not is_plain_name(row[0])), ""):
                raise UnreadableError(f"{odd} in val_annotations.txt, which is no file name")
            files = sorted((f"images/{row[0]}", labels[row[1]]) for row in rows)
        classes = _first_synonyms(ids, words)
        if missing := sorted(set(labels.values()) - {label for _, label in files}):
            raise FileNotFoundError(f"no {split} images of {', '.join(ids[label] for label in missing[:5])}")
        return set_of_files(name, split, home / ("train" if split == "train" else "val"), files, classes)
    except (OSError, LookupError, ValueError) as error:
        raise DataError(
            f"{name}: expected the whole of {TINY_IMAGENET_URL} in {home}, got {one_line(error)}; unpack it again"
        ) from None


def _first_synonyms(ids: Sequence[str], words: dict[str, str]) -> list[str]:
    """The first word for each WordNet id; with the id behind it where several have the same."""
    first = [words[wnid].split(",")[0].strip() for wnid in ids]
    count = Counter(first)
    return [word if count[word] == 1 else f"{word} ({wnid})" for word, wnid in zip(first, ids, strict=True)]
