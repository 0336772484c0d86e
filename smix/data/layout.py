"""Load image files in folders of classes: with or without folders of splits, and with or without test images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smix.data.drawn_split import draw_keys, draw_test
from smix.data.folders import folders_in, has_tiny_imagenet_layout, set_of_files, tiny_imagenet_in
from smix.data.imageset import ImageSet, Split
from smix.data.listing import Skipped, list_images
from smix.data.pictures import SUFFIXES
from smix.errors import DataError

SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Split that each folder of a data set holds, by its name in lower case."""
UNLABELLED = "unlabelled"
"""Class of images outside all class folders, if labels are not needed."""


@dataclass(frozen=True)
class _Listed:
    """Images of some folders, with the names of their classes."""

    files: tuple[tuple[str, str], ...]
    """Path relative to the root, and class, of each image."""
    skipped: Skipped


def load_folder(name: str, place: str, split: Split) -> ImageSet:
    """Load the images of a folder with subfolders train, val and test, with train alone, or with one subfolder per class.

    If there are validation images but no test images, they serve as test images; if there are neither, test images are drawn
    from the training images (`draw_test`). The folders in "train" define the classes of all splits. Tiny ImageNet is recognised by
    its lists.

    Args:
        name: Name of the data set.
        place: Path of the folder.
        split: "train", "val", "test", or "all" for the images of all folders, which then need no classes.

    Raises:
        DataError: A folder is missing or contains no images, or test images have classes that training images do not have.
    """
    root = Path(place)
    if not root.is_dir():
        raise DataError(f"{name}: there is no folder {root}; check the path")
    if has_tiny_imagenet_layout(root):
        note = f"{name} has the layout of Tiny ImageNet: its val images are the test images"
        if (root / "test").is_dir():
            note += ", and those of its test have no labels"
        return tiny_imagenet_in(name, root, split, (note,) if split in ("train", "all") else ())
    parts = _parts(root)
    if split == "all":
        return _all(name, root, parts)
    if not parts or set(parts) == {"train"}:
        return _drawn(name, root, parts.get("train", ""), split)
    return _given(name, root, parts, split)


def has_validation(place: Path) -> bool:
    """Return whether a folder has both validation and test images."""
    return place.is_dir() and not has_tiny_imagenet_layout(place) and {"train", "val", "test"} <= set(_parts(place))


def image_folders(root: Path) -> list[Path]:
    """Return the folders in a folder that hold images, or would: those of the splits, else the folder itself."""
    parts = _parts(root)
    return [root / folder for folder in (*parts.values(), *SPLIT_FOLDERS)] if parts else [root]


def describe_drawn(name: str, count: int, test: int, seed: int = 0) -> str:
    """Describe how the test images were drawn."""
    return (
        f"{name} has no test images: {test:,} of its {count:,} images ({100 * test / count:.0f} %, seed {seed}) are drawn from "
        f"all classes by a hash of their paths; smix data split {name} --out split.csv writes the split to a file"
    )


def _parts(root: Path) -> dict[str, str]:
    """Return the folder of each split; empty if the folder contains class folders.

    Raises:
        DataError: Two folders hold the same split.
    """
    folders = folders_in(root)
    named = [folder for folder in folders if folder.lower() in SPLIT_FOLDERS]
    parts = {SPLIT_FOLDERS[folder.lower()]: folder for folder in reversed(named)}
    # A class may be called train. Where folders are inside others, it is more likely that the name of a split is misspelt.
    if not (
        len(named) == len(folders)
        or ("train" in parts and folders_in(root / parts["train"]))
        or (parts and any(folders_in(root / folder) for folder in folders))
    ):
        return {}
    for folder in named:
        if (other := parts[SPLIT_FOLDERS[folder.lower()]]) != folder:
            raise DataError(
                f"folder:{root}: the folders {other} and {folder} are both for {SPLIT_FOLDERS[folder.lower()]} images; rename or merge them"
            )
    return parts


def _all(name: str, root: Path, parts: Mapping[str, str]) -> ImageSet:
    homes = [parts[split] for split in ("train", "val", "test") if split in parts] or [""]
    listed = [_listed(root, home, _classes(root, home), everything=True) for home in homes]
    files = [entry for each in listed for entry in each.files]
    if not files:
        raise DataError(f"{name}: there are no images ({', '.join(SUFFIXES)}) in {root}; add them, or check the path")
    found = {label for _, label in files}
    classes = [*sorted(found - {UNLABELLED}), *(found & {UNLABELLED})]
    skipped = sum((each.skipped for each in listed), _others(root, parts))
    return _image_set(name, "all", root, "", files, classes, _notes(name, skipped))


def _given(name: str, root: Path, parts: Mapping[str, str], split: Split) -> ImageSet:
    """Return a split that has a folder of its own."""
    if split == "test" and "test" not in parts:
        split_folder = parts.get("val")
    elif split == "val" and "test" not in parts:
        split_folder = None
    else:
        split_folder = parts.get(split)
    for folder in ("train" if "train" not in parts else None, split if split_folder is None else None):
        if folder is not None:
            raise DataError(
                f"{name}: there is no folder {root / folder}; create it with the layout {folder}/CLASS/IMAGE"
            )
    assert split_folder is not None
    home, classes = root / split_folder, _classes(root, parts["train"])
    if unseen := sorted(set(folders_in(home)) - set(classes)):
        raise DataError(
            f"{name}: the classes {', '.join(unseen[:5])} in {home} do not exist in {root / parts['train']}; remove them, or add them "
            "there"
        )
    listed = _listed(root, split_folder, classes)
    if not listed.files:
        raise DataError(
            f"{name}: there are no images ({', '.join(SUFFIXES)}) in {home}/CLASS; add them, or check the path"
        )
    skipped = listed.skipped + (_others(root, parts) if split == "train" else Skipped())
    return _image_set(name, split, root, split_folder, listed.files, classes, _notes(name, skipped))


def _drawn(name: str, root: Path, folder: str, split: Split) -> ImageSet:
    """Return training or test images from a folder that contains both."""
    classes = _classes(root, folder)
    listed = _listed(root, folder, classes)
    if not folder:
        classes = sorted({label for _, label in listed.files})  # not folders of other files
    if not listed.files or split == "val":
        places = (
            [f"{root}/val/CLASS"] if split == "val" else [f"{root}/train/CLASS", *([] if folder else [f"{root}/CLASS"])]
        )
        raise DataError(
            f"{name}: there are no {'validation ' if split == 'val' else ''}images ({', '.join(SUFFIXES)}) in {' or '.join(places)}; "
            "add them, or move them into folders that are named after their classes"
        )
    labels = np.array([classes.index(label) for _, label in listed.files], np.int64)
    paths, named = zip(*listed.files, strict=True)
    try:
        test = draw_test(draw_keys(paths, named), labels)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    files = [entry for entry, chosen in zip(listed.files, (test == (split == "test")).tolist(), strict=True) if chosen]
    notes = (describe_drawn(name, len(test), int(test.sum())),) if split == "train" else ()
    skipped = listed.skipped + _others(root, {"train": folder} if folder else {}) if split == "train" else Skipped()
    return _image_set(name, split, root, folder, files, classes, (*notes, *_notes(name, skipped)), drawn=True)


def _image_set(
    name: str,
    split: Split,
    root: Path,
    folder: str,
    files: Sequence[tuple[str, str]],
    classes: list[str],
    notes: tuple[str, ...],
    drawn: bool = False,
) -> ImageSet:
    numbers = {label: number for number, label in enumerate(classes)}
    start = len(folder) + 1 if folder else 0
    numbered = [(path[start:], numbers[label]) for path, label in files]
    return set_of_files(name, split, root / folder, numbered, classes, root=root, notes=notes, drawn=drawn)


def _classes(root: Path, folder: str) -> list[str]:
    return folders_in(root / folder)


def _listed(root: Path, folder: str, classes: list[str], everything: bool = False) -> _Listed:
    """List the images in the class folders of `folder` and, with `everything`, those next to these folders."""
    prefix = f"{folder}/" if folder else ""
    files: list[tuple[str, str]] = []
    skipped = Skipped()
    direct = list_images(root / folder, deep=False)
    if everything:
        files += [(f"{prefix}{name}", UNLABELLED) for name in direct.names]
        skipped += direct.skipped.inside(folder)
    else:
        skipped += Skipped(outside=tuple(f"{prefix}{name}" for name in direct.names))
    for label in classes:
        listing = list_images(root / folder / label)
        files += [(f"{prefix}{label}/{name}", label) for name in listing.names]
        skipped += listing.skipped.inside(f"{prefix}{label}")
    return _Listed(tuple(files), skipped)


def _others(root: Path, parts: Mapping[str, str]) -> Skipped:
    """Return the folders next to those of splits."""
    return Skipped(folders=tuple(sorted(set(folders_in(root)) - set(parts.values())))) if parts else Skipped()


def _notes(name: str, skipped: Skipped) -> tuple[str, ...]:
    return (f"{name}: {text}",) if (text := skipped.describe()) else ()
