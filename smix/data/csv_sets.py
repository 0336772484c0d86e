"""Load image files that a CSV file lists, with the columns path, label, split and mask."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from smix.data.drawn_split import draw_keys, draw_test
from smix.data.folders import set_of_files
from smix.data.image_files import real_path
from smix.data.imageset import ImageSet, Split
from smix.data.layout import SPLIT_FOLDERS, UNLABELLED, describe_drawn
from smix.errors import DataError
from smix.untrusted import LONGEST_NAME, UnreadableError, is_text, read_text

COLUMNS = ("path", "label", "split", "mask")
DELIMITERS = (",", ";", "\t")
"""Delimiters of a CSV file: spreadsheets write semicolons in locales where the comma is the decimal sign."""
LARGEST = 1 << 30
"""Maximum size of a CSV file in bytes."""


@dataclass(frozen=True)
class _Row:
    """A line of the file. A field is empty if the file has no such column."""

    line: int
    path: str
    label: str
    split: str
    """Split that the row belongs to: "train", "val" or "test"."""
    mask: str


def load_csv(name: str, place: str, split: Split, order: Sequence[str] = ()) -> ImageSet:
    """Load a split of the images that a CSV file lists.

    The first line names the columns: `path` is required, `label` for all splits but "all"; without `split`, test images are
    drawn (`draw_test`). Paths are absolute or relative to the folder of the file. As in folders, validation images serve as
    test images if there are no others.

    Args:
        name: Name of the data set.
        place: Path of the file.
        split: "train", "val", "test" or "all".
        order: Names of the classes in their order. Default: sorted, as numbers if all of them are numbers.

    Raises:
        DataError: The file cannot be read, or a line in it is wrong; the message names the line.
    """
    file = Path(place)
    rows, columns = _read(file)
    if "label" not in columns and split != "all":
        raise DataError(f"{file}, line 1: there is no column label among {', '.join(columns)}; add it")
    parts, notes = [row.split for row in rows], []
    drawn = split != "all" and not {"test", "val"} & set(parts)
    classes = _class_names(file, rows)
    if set(order) >= set(classes):
        classes = list(order)
    if drawn:
        parts = _draw(name, file, rows, classes)
        notes = [describe_drawn(name, len(parts), parts.count("test"))] if split == "train" else []
    elif "test" not in parts:
        parts = ["test" if part == "val" else part for part in parts]
    chosen = [row for row, part in zip(rows, parts, strict=True) if split in ("all", part)]
    if not chosen:
        raise DataError(f"{file}: no line has the split {split}; write it into the column split of some lines")
    trained = {row.label for row, part in zip(rows, parts, strict=True) if part == "train"}
    if split != "all":
        if unseen := next((row for row in chosen if row.label not in trained), None):
            raise DataError(
                f'{file}, line {unseen.line}: no training image has the label "{unseen.label}"; add some, or correct the label'
            )
        classes = [label for label in classes if label in trained]
    for row in chosen:
        if row.mask and not os.path.isfile(_absolute(file, row.mask)):  # noqa: PTH113 - pathlib raises an error for some names
            raise _missing(file, row.line, row.mask)
    return _image_set(name, split, file, rows, chosen, classes, notes, drawn)


def has_validation(file: Path) -> bool:
    """Return whether a CSV file lists both validation and test images."""
    return {"val", "test"} <= {row.split for row in _read(file)[0]}


def listed_paths(file: Path, split: Split) -> list[str]:
    """Return the absolute paths that a CSV file lists for a split, whether the files exist or not. Raises DataError."""
    return [_absolute(file, row.path) for row in _read(file)[0] if row.split == split]


def _home(file: Path, rows: Sequence[_Row]) -> Path:
    return Path(os.path.commonpath({os.path.dirname(_absolute(file, row.path)) for row in rows}))  # noqa: PTH120


def _draw(name: str, file: Path, rows: Sequence[_Row], classes: Sequence[str]) -> list[str]:
    """Return the split that is drawn for each row."""
    numbers = {label: number for number, label in enumerate(classes)}
    labels = [row.label for row in rows]
    places = [_absolute(file, row.path).replace(os.sep, "/") for row in rows]
    try:
        test = draw_test(draw_keys(places, labels), np.array([numbers[label] for label in labels], np.int64))
    except DataError:
        single = next(row for row in rows if labels.count(row.label) == 1)
        raise DataError(
            f'{name}, line {single.line}: {single.path} is the only image with the label "{single.label}", so that no test image can '
            "be drawn; add images, or add the column split"
        ) from None
    return ["test" if chosen else "train" for chosen in test.tolist()]


def _missing(file: Path, line: int, path: str) -> DataError:
    return DataError(
        f"{file}, line {line}: there is no file {path}; correct it (paths are relative to the folder of the CSV file)"
    )


def _image_set(
    name: str,
    split: Split,
    file: Path,
    rows: Sequence[_Row],
    chosen: Sequence[_Row],
    classes: Sequence[str],
    notes: Sequence[str],
    drawn: bool,
) -> ImageSet:
    # The folder of all images, not only of the chosen ones, so that an image has the same path in every split.
    home = _home(file, rows)
    start = len(str(home).rstrip(os.sep)) + 1
    numbers = {label: number for number, label in enumerate(classes)}
    files = [(_absolute(file, row.path)[start:].replace(os.sep, "/"), numbers[row.label]) for row in chosen]
    masks = None
    if any(row.mask for row in chosen):
        masks = np.array([os.path.join(file.parent, row.mask) if row.mask else "" for row in chosen], object)  # noqa: PTH118
    return set_of_files(
        name,
        split,
        home,
        files,
        classes,
        masks=masks,
        notes=tuple(notes),
        drawn=drawn,
        missing=lambda row: _missing(file, chosen[row].line, chosen[row].path),
    )


def _absolute(file: Path, path: str) -> str:
    """Return the absolute path of a file, given relative to the folder of the CSV file. Links are not resolved."""
    return os.path.abspath(os.path.join(file.parent, path))  # noqa: PTH100, PTH118 - for a million rows


def _class_names(file: Path, rows: Sequence[_Row]) -> list[str]:
    """Return the sorted class names, in numerical order if all of them are numbers."""
    lines: dict[str, int] = {}
    for row in rows:
        lines.setdefault(row.label, row.line)
    numbers: dict[int, str] = {}
    for label, line in lines.items():
        if label.isascii() and label.isdigit() and (first := numbers.setdefault(int(label), label)) != label:
            raise DataError(
                f'{file}, line {line}: the labels "{first}" (line {lines[first]}) and "{label}" are the same number; write it in one '
                "way"
            )
    return sorted(lines, key=int) if len(numbers) == len(lines) else sorted(lines)


def _read(file: Path) -> tuple[tuple[_Row, ...], tuple[str, ...]]:
    """Return the rows of a CSV file and the names of its columns. A file that has not changed is not parsed again."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return _parse(file.absolute(), file, 0, 0)  # raises the error that names the reason
    return _parse(file.absolute(), file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _parse(place: Path, file: Path, mtime: int, size: int) -> tuple[tuple[_Row, ...], tuple[str, ...]]:
    try:
        text = read_text(file, LARGEST).removeprefix("\ufeff")  # spreadsheets begin with it
    except UnreadableError as error:
        raise DataError(
            f"csv:{file}: {file} cannot be read ({error}); check the path, and save the file as CSV in UTF-8"
        ) from None
    if not text.strip():
        raise DataError(f"{file}: the file is empty; write a first line path,label,split and a line for each image")
    first_line = text.partition("\n")[0]
    if not first_line.strip():
        raise DataError(f"{file}, line 1: the line is blank; begin with the names of the columns, path,label,split")
    delimiter = max(DELIMITERS, key=first_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    rows: list[_Row] = []
    columns: list[str] = []
    try:
        for fields in reader:
            if not columns:
                columns = [column.strip().lower() for column in fields]
                _check_columns(file, columns)
            elif any(fields):
                rows.append(_row(file, reader.line_num, columns, fields))
    except csv.Error as error:
        raise DataError(
            f"{file}, line {reader.line_num}: the line is not valid CSV ({error}); correct its quotation marks"
        ) from None
    if not rows:
        raise DataError(f"{file}: the file lists no images; add a line path,label,split for each image")
    _check_files(file, rows)
    return tuple(rows), tuple(columns)


def _check_files(file: Path, rows: Sequence[_Row]) -> None:
    """Raise DataError if two lines lead to one file, also through symbolic links."""
    folders: dict[str, str] = {}
    images: dict[str, int] = {}
    masks: dict[str, int] = {}

    for row in rows:
        image = real_path(_absolute(file, row.path), folders)
        mask = real_path(_absolute(file, row.mask), folders) if row.mask else ""
        if (first := images.setdefault(image, row.line)) != row.line:
            raise DataError(
                f"{file}, line {row.line}: the image {row.path} is already in line {first}; remove one of the two lines"
            )
        if mask == image:
            raise DataError(f"{file}, line {row.line}: the mask is the image itself; correct it, or leave it empty")
        if mask and (first := masks.setdefault(mask, row.line)) != row.line:
            raise DataError(
                f"{file}, line {row.line}: the mask {row.mask} is already that of line {first}; correct one of the two lines"
            )


def _check_columns(file: Path, columns: Sequence[str]) -> None:
    if "path" not in columns:
        raise DataError(
            f"{file}, line 1: there is no column path among {', '.join(columns)}; write a first line such as path,label,split"
        )
    if len(set(columns)) < len(columns):
        raise DataError(f"{file}, line 1: two columns have the same name ({', '.join(columns)}); rename one")


def _row(file: Path, line: int, columns: Sequence[str], fields: Sequence[str]) -> _Row:
    """Check a line. Columns with other names are ignored."""
    if len(fields) != len(columns):
        raise DataError(
            f"{file}, line {line}: expected {len(columns)} values ({', '.join(columns)}), got {len(fields)}; put quotation marks "
            "around values with a comma"
        )
    values = dict(zip(columns, fields, strict=True))
    path, label, split, mask = (values.get(column, "").strip() for column in COLUMNS)
    for column, value in values.items():
        if column in ("path", "label", "split") and not value.strip():
            raise DataError(f"{file}, line {line}: the {column} is empty; add it, or remove the line")
        if not is_text(value):
            raise DataError(f"{file}, line {line}: values must not contain control characters, got {value}; correct it")
    if len(label) > LONGEST_NAME:
        raise DataError(
            f"{file}, line {line}: a label may have at most {LONGEST_NAME} characters, got {len(label)}; shorten it"
        )
    if split and split.lower() not in SPLIT_FOLDERS:
        raise DataError(f'{file}, line {line}: the split must be train, val or test, got "{split}"; correct it')
    return _Row(line, path, label or UNLABELLED, SPLIT_FOLDERS.get(split.lower(), "train"), mask)
