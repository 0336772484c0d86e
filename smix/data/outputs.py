"""Keep what smix writes out of the folders of the images, where it would be read as further images or classes."""

from pathlib import Path

from smix.data.layout import image_folders
from smix.errors import DataError, RunError


def check_outside(out: Path | str, data: str) -> None:
    """Check that an output does not lie in the folder of the images of a data set. Nothing is written.

    A folder next to train and test is outside, and every folder is for `csv:`: only the files that it lists are images. A data set that
    is missing or damaged is not checked.

    Args:
        out: File or folder to be written.
        data: Name of the data set.

    Raises:
        RunError: The output lies in the folder of the images.
    """
    kind, _, text = data.partition(":")
    place, folders = Path(text), list[Path]()
    try:
        if kind == "folder" and text and place.is_dir():
            folders = image_folders(place)
    except DataError:  # loading the data tells
        return
    target = Path(out).resolve()
    for folder in folders:
        if target.is_relative_to(folder.resolve()):
            raise RunError(f"{out}: this lies in the folder of the images, {folder}; choose another --out")
