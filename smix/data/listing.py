"""List the images under a folder, in the order of torchvision's ImageFolder, and remember the files that are skipped."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from smix.data.pictures import MASK_ENDINGS, MASK_MODES, SUFFIXES, UNREADABLE, open_picture
from smix.errors import DataError, printable
from smix.untrusted import is_text, open_file

KINDS = (
    "hidden",
    "with an unknown suffix",
    "masks next to images",
    "folders outside of the data set",
    "images outside of the folders of classes",
)
"""Descriptions of the fields of `Skipped` but `coloured`, in their order."""
NAMED = 3
"""Maximum number of skipped files to name, by kind."""


@dataclass(frozen=True)
class Skipped:
    """Files that are not images of the data set, by reason."""

    hidden: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    """Files whose suffix is not that of an image."""
    masks: tuple[str, ...] = ()
    """Masks next to their images."""
    folders: tuple[str, ...] = ()
    """Folders that are not entered: they are not part of the data set, or are links to a folder that contains them."""
    outside: tuple[str, ...] = ()
    """Images outside all class folders."""
    coloured: tuple[str, ...] = ()
    """Images that are not skipped, although they are called like masks: they have colours."""

    def __add__(self, other: "Skipped") -> "Skipped":
        return Skipped(*(first + second for first, second in zip(self._kinds, other._kinds, strict=True)))

    def inside(self, folder: str) -> "Skipped":
        """Return the same files with a folder prepended to their paths."""
        return Skipped(*(tuple(f"{folder}/{name}" for name in names) for names in self._kinds)) if folder else self

    @property
    def _kinds(self) -> tuple[tuple[str, ...], ...]:
        return self.hidden, self.other, self.masks, self.folders, self.outside, self.coloured

    def describe(self) -> str:
        """Return a line that counts the files and names the first ones; empty if there are none."""
        *skipped, coloured = self._kinds
        parts = [
            f"{len(names):,} {kind} ({_first(names)})" for kind, names in zip(KINDS, skipped, strict=True) if names
        ]
        texts = [f"skipped: {', '.join(parts)}"] if parts else []
        if coloured:
            texts.append(
                f"{len(coloured):,} files that are called like masks of other images have colours and are used as images "
                f"({_first(coloured)}); if they are masks, move them to a folder of masks or save them as grey"
            )
        return "; ".join(texts)


@dataclass(frozen=True)
class UnreadableFolder:
    """A folder that `walk_images` cannot read, in place of its images."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return str(self.path)

    @property
    def error(self) -> DataError:
        """The error that says so."""
        return DataError(
            f"{self.path}: the image folder cannot be read ({self.reason}); check the path and its permissions"
        )


@dataclass(frozen=True)
class Listing:
    """Images under a folder, as paths relative to it with "/"."""

    names: tuple[str, ...]
    skipped: Skipped


def list_images(folder: Path, deep: bool = True) -> Listing:
    """List the images under a folder, without hidden files and masks next to images.

    The order is that of `torchvision.datasets.ImageFolder`: by the path of the inner folder, then by the name of the file.

    Args:
        folder: The folder.
        deep: Also list the images in folders inside it.

    Raises:
        DataError: A folder cannot be read, or an image has a name that is not UTF-8 or contains control characters.
    """
    found: list[tuple[str, str]] = []
    hidden: list[str] = []
    other: list[str] = []
    masks: list[str] = []
    loops: list[str] = []
    coloured: list[str] = []

    def fail(error: OSError) -> None:
        if isinstance(error, FileNotFoundError):
            return  # a class may have no images in this split
        raise _unreadable(error).error

    for where, inner, above, files in _walk(folder, fail):
        start = Path(where).relative_to(folder).as_posix()
        prefix = "" if start == "." else f"{start}/"
        loops += [f"{prefix}{name}" for name in above]
        hidden += [f"{prefix}{name}" for name in (*inner, *files) if name.startswith(".")]
        inner[:] = [name for name in inner if deep and not name.startswith(".") and name not in above]
        shown = [file for file in files if not file.startswith(".")]
        images = {file for file in shown if file.lower().endswith(SUFFIXES)}
        next_to_images, in_colour = _masks(Path(where), images)
        other += [f"{prefix}{file}" for file in shown if file not in images]
        masks += [f"{prefix}{file}" for file in next_to_images]
        coloured += [f"{prefix}{file}" for file in in_colour]
        found += [(prefix.removesuffix("/"), file) for file in images - next_to_images]
    names = tuple(f"{start}/{file}" if start else file for start, file in sorted(found))
    if (invalid := next((name for name in names if not is_text(name)), None)) is not None:
        raise DataError(
            f"{folder}: file names must be UTF-8 without control characters, got {invalid}; rename the file"
        )
    skipped = (tuple(sorted(each)) for each in (hidden, other, masks, loops, [], coloured))
    return Listing(names, Skipped(*skipped))


def walk_images(folder: Path, skip: Callable[[str], object] | None = None) -> Iterator[Path | UnreadableFolder]:
    """Yield the images under a folder, sorted within each folder, and an `UnreadableFolder` for each folder that cannot be read.

    The names of one folder at a time are in memory. Unlike in `list_images`, an image that looks like a mask is an image.

    Args:
        folder: The folder.
        skip: Called with the path of each file and folder that is skipped: hidden ones, files without the suffix of an image, and
            links to a folder that contains them.
    """
    unreadable: list[UnreadableFolder] = []
    for where, inner, above, files in _walk(folder, lambda error: unreadable.append(_unreadable(error))):
        yield from unreadable
        unreadable.clear()
        images = {file for file in files if file.lower().endswith(SUFFIXES) and not file.startswith(".")}
        if skip is not None:
            hidden = (name for name in inner if name.startswith("."))
            for name in sorted({*hidden, *above, *files} - images):
                skip(os.path.join(where, name))  # noqa: PTH118
        inner[:] = sorted(name for name in inner if not name.startswith(".") and name not in above)
        yield from (Path(where, file) for file in sorted(images))
    yield from unreadable


def _unreadable(error: OSError) -> UnreadableFolder:
    return UnreadableFolder(Path(error.filename), error.strerror or type(error).__name__)


def _walk(folder: Path, fail: Callable[[OSError], object]) -> Iterator[tuple[str, list[str], list[str], list[str]]]:
    """Yield each folder, the folders in it, those of them that contain it and must not be entered, and its files.

    The caller removes from the list of folders those that it does not enter.
    """
    chains: dict[str, frozenset[tuple[int, int]]] = {}
    # os.walk is several times as quick as pathlib for a million files. ImageFolder follows links, too.
    for where, inner, files in os.walk(folder, onerror=fail, followlinks=True):
        # Links into each other lead to no parent folder, but to a folder through which the walk has come.
        chain = chains.pop(where, frozenset()) | _identity(where)
        shown = [name for name in inner if not name.startswith(".")]
        above = [
            name
            for name in shown
            if _leads_up(where, name) or chain & _identity(os.path.join(where, name))  # noqa: PTH118
        ]
        yield where, inner, above, files
        chains |= {os.path.join(where, name): chain for name in inner}  # noqa: PTH118


def _identity(folder: str) -> frozenset[tuple[int, int]]:
    """Return the device and the number of a folder, by whatever path it was reached; empty if they are unknown."""
    try:
        status = os.stat(folder)  # noqa: PTH116
    except OSError:
        return frozenset()
    return frozenset([(status.st_dev, status.st_ino)] if status.st_ino else [])


def _leads_up(where: str, name: str) -> bool:
    """Return whether a folder is a link to a parent folder, which would be entered endlessly."""
    path = os.path.join(where, name)  # noqa: PTH118 - for each folder of a large data set
    if not os.path.islink(path):  # noqa: PTH114
        return False
    target = os.path.realpath(path)
    return f"{os.path.realpath(where)}{os.sep}".startswith(f"{target}{os.sep}")


def _masks(folder: Path, files: set[str]) -> tuple[set[str], set[str]]:
    """Return the files in a folder that are masks of other files in it, and those that are called like masks but have colours."""
    stems = {file.rpartition(".")[0] for file in files}
    others = {file.rpartition(".")[0] for file in files if not file.lower().endswith(".png")}

    def has_ending(stem: str) -> bool:
        return any(stem.endswith(end) and stem.removesuffix(end) in stems for end in MASK_ENDINGS)

    pngs = [file for file in files if file.lower().endswith(".png")]
    candidates = {file: _mode(folder / file) for file in pngs if file[:-4] in others or has_ending(file[:-4])}
    masks = {file for file, mode in candidates.items() if mode in MASK_MODES}
    return masks, {file for file, mode in candidates.items() if mode.startswith("RGB") and has_ending(file[:-4])}


def _mode(path: Path) -> str:
    """Return the Pillow mode in the header of an image file; empty if it cannot be read."""
    try:
        with open_file(path) as file, open_picture(file) as picture:
            return picture.mode
    except UNREADABLE:
        return ""


def _first(names: Iterable[str]) -> str:
    names = tuple(map(printable, names))
    return ", ".join((*names[:NAMED], *(["..."] if len(names) > NAMED else [])))
