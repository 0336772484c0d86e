"""Predict the classes of any number of images: `smix predict`."""

import csv
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from smix import progress
from smix.data.listing import UnreadableFolder, walk_images
from smix.data.pictures import SUFFIXES
from smix.data.streaming import AT_ONCE
from smix.errors import DataError, OptionError, printable
from smix.lab.trained_model import Probabilities, TrainedModel

STANDARD_INPUT = "-"
NAMED = 10
"""Maximum number of unreadable images that a summary names."""
NAMED_SKIPPED = 3
"""Maximum number of skipped files to name."""


@runtime_checkable
class Writable(Protocol):
    """A text file or any other object with a `write` method for strings."""

    def write(self, text: str, /) -> object: ...


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of an image, or the reason why there are none."""

    path: str
    top: tuple[tuple[str, float], ...] = ()
    """Names and probabilities of the most probable classes, in descending order; empty if the image cannot be read."""
    error: str = ""


@dataclass(frozen=True)
class PredictionSummary:
    """Number of images that were predicted, and those that could not be read."""

    pictures: int
    unreadable: int
    named: tuple[str, ...]
    """Errors of the first `NAMED` unreadable images."""
    seconds: float

    def __str__(self) -> str:
        """Return one sentence, such as "1,200 images in 8 s, 150 per second; 2 could not be read"."""
        count = f"{self.pictures:,} image{'s' if self.pictures != 1 else ''}"
        seconds = f"{self.seconds:.1f} s" if self.seconds < 10 else progress.duration(self.seconds)
        rate = self.pictures / max(self.seconds, 1e-3)
        unreadable = f"; {self.unreadable:,} could not be read" if self.unreadable else ""
        return f"{count} in {seconds}, {f'{rate:.3g}' if rate < 100 else f'{rate:,.0f}'} per second{unreadable}"


@dataclass
class SkippedFiles:
    """Files in folders that are no images: their number, and the first ones."""

    count: int = 0
    named: list[str] = field(default_factory=list)

    def add(self, path: str) -> None:
        """Count a file or folder."""
        self.count += 1
        if len(self.named) < NAMED_SKIPPED:
            self.named.append(path)

    def __str__(self) -> str:
        """Return one sentence; empty if nothing was skipped."""
        names = ", ".join([*map(printable, self.named), *["..."] * (self.count > len(self.named))])
        return (
            f"Skipped: {self.count:,} (hidden, without the suffix of an image, or a link to a folder that contains it): {names}"
            if self.count
            else ""
        )


def check_pictures(names: Sequence[str]) -> None:
    """Check that each name is an existing file or folder, or that the only name is "-" (standard input).

    Raises:
        OptionError: No name is given, or "-" is given with other names.
        DataError: A file or folder does not exist.
    """
    if not names:
        raise OptionError(
            'pictures: no images given; pass image files or folders, or "-" to read their paths from standard input'
        )
    if STANDARD_INPUT in names:
        if len(names) > 1:
            raise OptionError('pictures: expected either "-" or paths of images, got both; pass only one of them')
        return
    for name in names:
        if not os.path.lexists(name):
            if name.startswith("-"):  # the parser takes it for a picture, since it must accept "-"
                raise OptionError(f"Unknown option: {name}; see smix predict --help")
            raise DataError(f"{name}: there is no such image file or folder; check the path")


def iterate_pictures(
    names: Sequence[str], lines: Iterable[str], skipped: SkippedFiles | None = None
) -> Iterator[Path | UnreadableFolder]:
    """Yield the paths of images one by one; those in a folder as `walk_images` does.

    Args:
        names: Files and folders, or "-".
        lines: Standard input: one file or folder per line.
        skipped: Counts the files in folders that are no images.
    """
    skip = None if skipped is None else skipped.add
    sources = (line.rstrip("\r\n") for line in lines) if list(names) == [STANDARD_INPUT] else names
    for name in sources:
        if not name.strip():
            continue
        if os.path.isdir(name):  # noqa: PTH112 - unlike pathlib's, it raises no error for a name that cannot be used
            yield from walk_images(Path(name), skip)
        else:
            yield Path(name)


def predictions(
    model: TrainedModel, pictures: Iterable[Path | UnreadableFolder], top: int = 5, batch_size: int = AT_ONCE
) -> Iterator[Prediction]:
    """Yield the prediction for each image, in order, without reading all of them first.

    Args:
        model: The network.
        pictures: Paths; a folder that cannot be read gets a prediction without classes.
        top: Number of classes per image; at most all are returned.
        batch_size: Number of images that the network processes at once.

    Raises:
        OptionError: `top` or `batch_size` is below 1.
        TemporaryError: A batch does not fit in memory.
    """
    if top < 1:
        raise OptionError(f"top: expected 1 or more, got {top}")
    count = min(top, len(model.classes))
    for path, result in model.stream(pictures, batch_size):
        if isinstance(result, DataError):
            yield Prediction(str(path), error=str(result))
        else:
            yield Prediction(str(path), _most_probable(model, result, count))


def write_predictions(rows: Iterable[Prediction], file: Writable, top: int) -> Iterator[Prediction]:
    """Write predictions as CSV, each one as soon as it is known, and yield them. Without predictions, nothing is written.

    Args:
        rows: The predictions.
        file: Text file that was opened with newline="".
        top: Number of classes per image.

    Yields:
        The predictions, after they were written.
    """
    writer = csv.writer(file, lineterminator="\n")
    ranked = [name for place in range(2, top + 1) for name in (f"label_{place}", f"probability_{place}")]
    header = ["path", "label", "probability", *ranked, "error"]
    for row in rows:
        if header:
            writer.writerow(header)
            header = []
        cells = [cell for label, probability in row.top for cell in (label, f"{probability:.6g}")]
        writer.writerow([row.path, *cells, *[""] * (2 * top - len(cells)), row.error])
        yield row


def summarise(rows: Iterable[Prediction], show: progress.Update, where: str, strict: bool = False) -> PredictionSummary:
    """Consume predictions, show their number, and return their summary.

    Args:
        rows: The predictions.
        show: Function of `progress.bar`.
        where: Description of the images, for the error if there are none.
        strict: Stop at the first image that cannot be read.

    Raises:
        DataError: There is no prediction, or with `strict` an image cannot be read.
    """
    start, count, unreadable = time.monotonic(), 0, 0
    named: list[str] = []
    for row in rows:
        count += 1
        if row.error:
            if strict:
                raise DataError(row.error)
            unreadable += 1
            if len(named) < NAMED:
                named.append(row.error)
        show(count, f"{unreadable:,} could not be read" if unreadable else "")
    if not count:
        raise DataError(f"{where}: expected images ({', '.join(SUFFIXES)}), got none; check the path")
    return PredictionSummary(count, unreadable, tuple(named), time.monotonic() - start)


def check_readable(summary: PredictionSummary, where: str) -> None:
    """Raise DataError if none of the images can be read."""
    if summary.unreadable == summary.pictures:
        raise DataError(
            f"{where}: expected readable images, got {summary.pictures:,} that cannot be read; the first: {summary.named[0]}"
        )


def _most_probable(model: TrainedModel, probabilities: Probabilities, count: int) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-probabilities, kind="stable")[:count]
    return tuple((model.classes[place], float(probabilities[place])) for place in order)
