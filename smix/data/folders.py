"""Sets of image files, and Tiny ImageNet."""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smix.data.image_files import COMPARED, ImageFiles, content_number, spread
from smix.data.imageset import ImageSet, Split
from smix.data.listing import list_images
from smix.data.pictures import Pictures, common_size
from smix.errors import DataError
from smix.untrusted import UnreadableError, is_plain_name, is_text, one_line, read_text

TINY_IMAGENET_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
VAL_LABELS = "val/val_annotations.txt"
"""File of Tiny ImageNet with the label of each val image."""


def folders_in(path: Path) -> list[str]:
    """Return the sorted names of the folders in a folder, without hidden ones.

    Raises:
        DataError: The folder does not exist or cannot be read, or a name in it is not UTF-8 or contains control characters.
    """
    try:
        names = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: there is no such folder; check the path") from None
    except OSError as error:
        raise DataError(
            f"{path}: the folder cannot be read ({error.strerror}); check the path and its permissions"
        ) from None
    if (invalid := next((name for name in names if not is_text(name)), None)) is not None:
        raise DataError(
            f"{path}: folder names must be UTF-8 without control characters, got {invalid}; rename the folder"
        )
    return names


def read_listing(path: Path) -> str:
    """Return the content of a text file of a data set. Raises UnreadableError, whose message names the file."""
    try:
        return read_text(path)
    except UnreadableError as error:
        raise UnreadableError(f"{path.name}: {error}") from None


def set_of_files(
    name: str,
    split: Split,
    home: Path,
    files: Sequence[tuple[str, int]],
    classes: Sequence[str],
    *,
    root: Path | None = None,
    masks: NDArray[np.object_] | None = None,
    notes: tuple[str, ...] = (),
    drawn: bool = False,
    missing: Callable[[int], DataError] | None = None,
) -> ImageSet:
    """Return a split whose images are files that are decoded when they are accessed.

    Args:
        name: Name of the data set.
        split: Name of the split.
        home: Folder of the files.
        files: Path of each image relative to `home`, with its label, in the order of the rows.
        classes: Names of the classes.
        root: Folder of the whole data set, which contains `home`. None: `home`.
        masks: Path of the mask of each image, empty where it has none. None: the data set lists no masks.
        notes: Notes to show to the user once.
        drawn: Whether smix has drawn the test images.
        missing: Function that returns the error for the row of an image that is no file. Default: one that names its path.

    Raises:
        DataError: A file is missing or not a regular file, or the labels or class names are invalid.
    """
    names = np.array([file for file, _ in files], object)
    labels = np.array([label for _, label in files], np.int64)
    digest = hashlib.sha256(labels.tobytes())
    sizes = np.zeros(len(files), np.int64)
    for row, file in enumerate(names):
        # pathlib would take much longer for a million files.
        try:
            status = os.stat(f"{home}/{file}")  # noqa: PTH116
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else one_line(error)
            told = DataError(f"{home}/{file}: expected an image, got {reason}; remove or replace it")
            raise (told if missing is None else missing(row)) from None
        if not stat.S_ISREG(status.st_mode):
            if missing is not None:
                raise missing(row)
            raise DataError(f"{home}/{file}: expected an image, got a folder, pipe or device; remove it")
        sizes[row] = status.st_size
        digest.update(f"{file}\0{status.st_size}\n".encode())
    # Uncompressed images of one camera all have one size, so that names and sizes alone may be those of another data set.
    for row in spread(range(len(names)), COMPARED):
        digest.update(content_number(home / names[row]).to_bytes(8, "big"))
    start = "" if root is None or root == home else f"{home.relative_to(root).as_posix()}/"
    paths = np.array([start + file for file in names], object)
    return ImageSet(
        Pictures(home, names, common_size(home, names)),
        labels,
        tuple(classes),
        index=np.arange(len(files)),
        name=name,
        split=split,
        fingerprint=digest.hexdigest(),
        files=ImageFiles(root or home, paths, sizes, masks, notes, drawn),
    )


def tiny_imagenet(name: str, data_root: Path, split: Split) -> ImageSet:
    """Load Tiny ImageNet (Le and Yang, Stanford CS231n, 2015) from its unpacked archive: 200 classes, 64 x 64 pixels.

    The classes are in the order of their sorted WordNet ids. The test split is "val", whose labels are published; those of
    the archive's "test" are not.

    Args:
        name: Name of the data set.
        data_root: Root folder of the data sets.
        split: "train" or "test".

    Raises:
        DataError: The folder is missing or incomplete.
    """
    home = data_root / "tiny-imagenet-200"
    if not home.is_dir():
        raise DataError(f"{name}: there is no folder {home}; download {TINY_IMAGENET_URL} and unpack it in {data_root}")
    return tiny_imagenet_in(name, home, split)


def has_tiny_imagenet_layout(folder: Path) -> bool:
    """Return whether a folder has the two lists of Tiny ImageNet: of its classes and of the labels of its val images."""
    return (folder / "wnids.txt").is_file() and (folder / VAL_LABELS).is_file()


def tiny_imagenet_in(name: str, home: Path, split: Split, notes: tuple[str, ...] = ()) -> ImageSet:
    """Load Tiny ImageNet, or a part of it with the same lists, from its folder.

    Args:
        name: Name of the data set.
        home: The folder with wnids.txt.
        split: "train", "test", or "all" for the images of both.
        notes: Lines that a user should read once.

    Raises:
        DataError: The folder is incomplete, or the split is "val".
    """
    if split == "val":
        raise DataError(f"{name}: the val images of Tiny ImageNet are its test images; choose the split test")
    try:
        ids = sorted(read_listing(home / "wnids.txt").split())
        words = dict(line.split("\t", 1) for line in read_listing(home / "words.txt").splitlines() if line.strip())
        annotations = read_listing(home / VAL_LABELS)
        labels = {wnid: label for label, wnid in enumerate(ids)}
        classes = _first_synonyms(ids, words)
        files = []
        for part in ("train", "test") if split == "all" else (split,):
            found = _tiny_train(home, labels) if part == "train" else _tiny_val(annotations, labels)
            if missing := sorted(set(labels.values()) - {label for _, label in found}):
                raise FileNotFoundError(f"no {part} images of {', '.join(ids[label] for label in missing[:5])}")
            start = "" if split != "all" else "train/" if part == "train" else "val/"
            files += [(f"{start}{file}", label) for file, label in found]
        folder = home if split == "all" else home / ("train" if split == "train" else "val")
        return set_of_files(name, split, folder, files, classes, root=home, notes=notes)
    except (OSError, LookupError, ValueError) as error:
        raise DataError(
            f"{name}: {home} is incomplete or damaged ({one_line(error)}); unpack {TINY_IMAGENET_URL} again"
        ) from None


def _tiny_train(home: Path, labels: Mapping[str, int]) -> list[tuple[str, int]]:
    return [
        (f"{wnid}/{file}", label) for wnid, label in labels.items() for file in list_images(home / "train" / wnid).names
    ]


def _tiny_val(annotations: str, labels: Mapping[str, int]) -> list[tuple[str, int]]:
    rows = [line.split("\t") for line in annotations.splitlines() if line.strip()]
    if invalid := next((row[0] for row in rows if not is_plain_name(row[0])), ""):
        raise UnreadableError(f"{invalid} in val_annotations.txt instead of a file name")
    return sorted((f"images/{row[0]}", labels[row[1]]) for row in rows)


def _first_synonyms(ids: Sequence[str], words: dict[str, str]) -> list[str]:
    """Return the first word of each WordNet id, followed by the id if several have the same word."""
    first = [words[wnid].split(",")[0].strip() for wnid in ids]
    count = Counter(first)
    return [word if count[word] == 1 else f"{word} ({wnid})" for word, wnid in zip(first, ids, strict=True)]
