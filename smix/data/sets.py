"""Load data sets by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from smix.data.archives import caltech101, cifar, fashion_mnist
from smix.data.biased import biased_digits
from smix.data.csv_sets import has_validation as csv_has_validation
from smix.data.csv_sets import load_csv
from smix.data.digits import digits_on_photos
from smix.data.folders import TINY_IMAGENET_URL, tiny_imagenet
from smix.data.hub import load_hub
from smix.data.imageset import ImageSet as ImageSet
from smix.data.imageset import Split as Split
from smix.data.imageset import balanced_order as balanced_order
from smix.data.layout import has_validation as folder_has_validation
from smix.data.layout import load_folder
from smix.data.npz import load_npz
from smix.data.speech import SPEECH_COMMANDS_URL, speech_commands
from smix.errors import OptionError, unknown


def load_data(name: str, data_root: Path | str = "data", split: Split = "train") -> ImageSet:
    """Load a split of a data set by its name. All data sets are described in docs/data.md.

    Args:
        name: One of `SETS`; `npz:FILE` (x_train, y_train, x_test, y_test and, optionally, mask_train, mask_test, classes);
            `folder:DIR` (DIR/train/CLASS/image and DIR/test/CLASS/image, with or without "val"; DIR/train alone; or DIR/CLASS/image);
            `csv:FILE` (columns path, label, split and, optionally, mask); or `hf:NAME_OR_DIR` (a data set of the Hugging Face hub, or
            one that was saved to disk). Images in files are decoded when they are accessed; `loaded()` reads them into memory if
            they share a size. Masks next to images of a folder (001.png with one channel or a palette next to 001.jpg,
            001_mask.png next to 001) are not images.
        data_root: Root folder of the data sets in `SETS`; missing ones are downloaded into it.
        split: "train" or "test". For `folder:` and `csv:` also "val", if there are validation images in addition to test images, and
            "all": the images of all splits, which need no labels.

    Returns:
        The split.

    Raises:
        OptionError: The name is unknown, or the data set has no such split.
        DataError: The data set is missing or damaged, or has a wrong shape, type or value.
        RunError: The spectrograms of speech-commands cannot be written next to its files.

    >>> data = load_data("digits-on-photos", split="test")
    >>> data.images.shape, data.masks.shape, data.classes[:3]
    ((500, 32, 32, 3), (500, 32, 32), ('0', '1', '2'))
    """
    check_name(name)
    kind, colon, place = name.partition(":")
    if split not in ("train", "test") and not is_listed(name):
        raise OptionError(f'split: {name} has the splits train and test, got "{split}"; choose one of them')
    return OWN[kind](name, place, split) if colon else SETS[name].load(name, Path(data_root), split)


def check_name(name: str) -> None:
    """Raise OptionError unless `load_data` knows a data set of this name. Nothing is read."""
    kind, colon, place = name.partition(":")
    if kind not in OWN if colon else name not in SETS:
        raise unknown("data", name, [*SETS, "npz:FILE", "folder:DIR", "csv:FILE", "hf:NAME_OR_DIR"])
    if colon and kind != "hf" and not place.strip():  # the empty path would be the current folder
        raise OptionError(f'data: expected a path after "{kind}:", got none; name the data set, such as {kind}:birds')


def load_validation(name: str, data_root: Path | str = "data") -> ImageSet | None:
    """Load the validation images of a data set. None: it has none in addition to its test images."""
    kind, _, place = name.partition(":")
    if not is_listed(name) or not HAS_VALIDATION[kind](Path(place)):
        return None
    return load_data(name, data_root, "val")


def is_listed(name: str) -> bool:
    """Return True for data sets of your own image files, which have the splits "val" and "all"."""
    kind, colon, _ = name.partition(":")
    return bool(colon) and kind in HAS_VALIDATION


@dataclass(frozen=True)
class NamedSet:
    """A data set that smix knows by name."""

    load: Callable[[str, Path, Split], ImageSet]
    """Function that loads a split, given the name, the data root and the split."""
    place: str = ""
    """File or folder in the data root. Empty: the data set is built in."""
    get: str = "downloaded on first use; if it is in another folder, pass --data-root"
    """Advice if the data set is missing."""


def is_here(name: str, data_root: Path) -> bool:
    """Return True if a data set of `SETS` can be loaded without a download."""
    return (data_root / SETS[name].place).exists() or not SETS[name].place


def is_local(name: str, data_root: Path) -> bool:
    """Return True if a data set can be loaded without a network connection."""
    kind, colon, place = name.partition(":")
    if not colon:
        return name in SETS and is_here(name, data_root)
    return kind in ("npz", "folder", "csv") or Path(place).is_dir()


def _digits(name: str, data_root: Path, split: Split) -> ImageSet:
    images, labels, masks = (biased_digits if name == "biased-digits" else digits_on_photos)(split)
    return ImageSet(images, labels, tuple("0123456789"), masks, name=name, split=split)


SETS = {
    "digits-on-photos": NamedSet(_digits),
    "biased-digits": NamedSet(_digits),
    "cifar10": NamedSet(cifar, "cifar-10-batches-py"),
    "cifar100": NamedSet(cifar, "cifar-100-python"),
    # The file that is downloaded last: if it exists, all of them do.
    "fashion-mnist": NamedSet(fashion_mnist, "FashionMNIST/raw/t10k-labels-idx1-ubyte"),
    "caltech101": NamedSet(caltech101, "caltech101/101_ObjectCategories"),
    "tiny-imagenet": NamedSet(tiny_imagenet, "tiny-imagenet-200", f"download {TINY_IMAGENET_URL} and unpack it there"),
    "speech-commands": NamedSet(
        speech_commands,
        "speech_commands_v0.02",
        f"download {SPEECH_COMMANDS_URL} and unpack it in speech_commands_v0.02 there",
    ),
}
OWN: dict[str, Callable[[str, str, Split], ImageSet]] = {
    "npz": load_npz,
    "folder": load_folder,
    "csv": load_csv,
    "hf": load_hub,
}
HAS_VALIDATION: dict[str, Callable[[Path], bool]] = {"folder": folder_has_validation, "csv": csv_has_validation}
"""Function for each kind of image files that returns whether there are validation images in addition to test images."""
