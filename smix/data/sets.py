"""Data sets by name: which there are, where they are looked for, and how one's own are named."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from smix.data.archives import caltech101, cifar, fashion_mnist
from smix.data.biased import biased_digits
from smix.data.digits import digits_on_photos
from smix.data.folders import TINY_IMAGENET_URL, folder, tiny_imagenet
from smix.data.hub import hub
from smix.data.imageset import ImageSet as ImageSet
from smix.data.imageset import Split as Split
from smix.data.imageset import balanced_order as balanced_order
from smix.data.npz import npz
from smix.data.speech import SPEECH_COMMANDS_URL, speech_commands
from smix.errors import unknown


def load_data(name: str, data_root: Path | str = "data", split: Split = "train") -> ImageSet:
    """Load a split of a named data set; docs/data.md describes them all.

    Args:
        name: One of `SETS`; `npz:FILE` (x_train, y_train, x_test, y_test, and perhaps mask_train, mask_test, classes);
            `folder:DIR` (DIR/train/CLASS/image and DIR/test/CLASS/image; "val" will do for "test"); or `hf:NAME_OR_DIR`
            (a data set of the Hugging Face hub, or one that was saved to disk). Images in files are decoded when they are
            asked for; `loaded()` reads them into memory, which asks for one size. Masks beside images of a folder (001.png
            with one channel or a palette beside 001.jpg, 001_mask.png beside 001) are no images.
        data_root: Where the sets of `SETS` are found, or downloaded to.

    Raises:
        OptionError: no such name.
        DataError: missing, broken, or of a wrong shape, type or value.
        RunError: the spectrograms of speech-commands cannot be kept beside its files.
    """
    kind, colon, place = name.partition(":")
    if colon and kind in OWN:
        return OWN[kind](name, place, split)
    if colon or name not in SETS:
        raise unknown("data", name, [*SETS, "npz:FILE", "folder:DIR", "hf:NAME_OR_DIR"])
    return SETS[name].load(name, Path(data_root), split)


@dataclass(frozen=True)
class Named:
    """A data set with a name of its own."""

    load: Callable[[str, Path, Split], ImageSet]
    place: str = ""
    """File or folder below the root that the set consists of; none: the set is built in."""
    get: str = "downloaded on first use; or say where it is with --data-root"
    """Advice where it is missing."""


def is_here(name: str, data_root: Path) -> bool:
    """Return whether a data set is ready without a download."""
    return (data_root / SETS[name].place).exists() or not SETS[name].place


def is_local(name: str, data_root: Path) -> bool:
    """Return whether a data set can be loaded without a connection."""
    kind, colon, place = name.partition(":")
    if not colon:
        return name in SETS and is_here(name, data_root)
    return kind in ("npz", "folder") or Path(place).is_dir()


def _digits(name: str, data_root: Path, split: Split) -> ImageSet:
    images, labels, masks = (biased_digits if name == "biased-digits" else digits_on_photos)(split)
    return ImageSet(images, labels, tuple("0123456789"), masks, name=name, split=split)


SETS = {
    "digits-on-photos": Named(_digits),
    "biased-digits": Named(_digits),
    "cifar10": Named(cifar, "cifar-10-batches-py"),
    "cifar100": Named(cifar, "cifar-100-python"),
    # Of its four files the one that is downloaded last.
    "fashion-mnist": Named(fashion_mnist, "FashionMNIST/raw/t10k-labels-idx1-ubyte"),
    "caltech101": Named(caltech101, "caltech101/101_ObjectCategories"),
    "tiny-imagenet": Named(tiny_imagenet, "tiny-imagenet-200", f"download {TINY_IMAGENET_URL} and unpack it there"),
    "speech-commands": Named(
        speech_commands,
        "speech_commands_v0.02",
        f"download {SPEECH_COMMANDS_URL} and unpack it in speech_commands_v0.02 there",
    ),
}
OWN: dict[str, Callable[[str, str, Split], ImageSet]] = {"npz": npz, "folder": folder, "hf": hub}
