"""`smix predict`: predict the classes of images."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table

from smix.cli.options import Machine
from smix.cli.output import show_error
from smix.config import EvaluateConfig, MachineOptions
from smix.errors import OptionError
from smix.files import check_no_part, part_of, partial
from smix.report.terminal import show, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smix.data.listing import UnreadableFolder
    from smix.lab.predict import Prediction, Writable

ENCODING, NOT_UTF_8 = "utf-8", "surrogateescape"
"""Encoding of paths on standard input and of the CSV, in a file and on standard output: UTF-8, and names of files that are not
UTF-8 byte for byte as they are."""
SHOWN = 100
"""Maximum number of images in a table on the terminal."""


def predict(
    run: Path,
    /,
    *pictures: Annotated[str, Parameter(allow_leading_hyphen=True)],
    out: Path | None = None,
    top: int = 5,
    batch_size: int = 250,
    strict: bool = False,
    model: str | None = None,
    data: str | None = None,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    options: Machine = MachineOptions(),  # noqa: B008
) -> None:
    """Predict the classes of images, with calibrated probabilities.

    Images are preprocessed as in the evaluation of the run. The temperature for calibration is fitted on the validation
    images of the run.

    Parameters
    ----------
    run
        Folder of a finished run, or a weights file (--model and --data are then required).
    pictures
        Image files and folders of images, or "-" to read their paths from standard input, one per line.
    out
        New CSV file with the columns path, label, probability, label_2, probability_2, ..., error. It is named OUT.part until
        it is complete. Default: a table on a terminal, otherwise CSV on standard output.
    top
        Number of classes per image, in order of decreasing probability.
    batch_size
        Number of images per batch; smaller batches need less memory.
    strict
        Stop at the first image that cannot be read. Default: write the error to its row, and report unreadable images at the
        end.
    model
        Model architecture for a weights file, such as resnet18 or timm:NAME.
    data
        Data set that the weights file was trained on, for the class names, the image size and the normalisation.
    mean
        Mean of each channel for images in [0, 1], for a weights file. Default: the mean of the training images.
    std
        Standard deviation of each channel for images in [0, 1], for a weights file.
    """
    from smix.signals import INTERRUPTED, interruptible

    config = EvaluateConfig(model=model, data=data, mean=mean, std=std)
    part = None if out is None else _unfinished(out)
    try:
        with interruptible():
            _predict(run, pictures, out, top, batch_size, strict, config, options)
    except (Exception, KeyboardInterrupt) as error:
        kept = "" if part is None or not part.is_file() else f"the rows so far are in {part}"
        if isinstance(error, KeyboardInterrupt):
            show_error(f"interrupted; {kept or 'the same command starts from the first image'}")
            raise SystemExit(INTERRUPTED) from None
        if kept:
            show_error(kept)
        raise


def _unfinished(out: Path) -> Path:
    """Return the file that is renamed to `out` when it is complete, after a check that neither exists."""
    if out.exists() or out.is_symlink():
        raise OptionError(f"{out}: expected a new file, got one that exists; remove it, or choose another --out")
    part = part_of(out)
    check_no_part(part)
    return part


def _predict(
    run: Path,
    pictures: tuple[str, ...],
    out: Path | None,
    top: int,
    batch_size: int,
    strict: bool,
    config: EvaluateConfig,
    options: MachineOptions,
) -> None:
    from smix import progress
    from smix.device import threads
    from smix.lab.predict import (
        SkippedFiles,
        check_pictures,
        check_readable,
        iterate_pictures,
        predictions,
        summarise,
        write_predictions,
    )
    from smix.lab.trained_model import load_trained

    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding=ENCODING, errors=NOT_UTF_8)
    check_pictures(pictures)
    if top < 1:
        raise OptionError(f"top: expected 1 or more, got {top}")
    trained = load_trained(run, config, options)
    top = min(top, len(trained.classes))
    skipped = SkippedFiles()
    paths = iterate_pictures(pictures, sys.stdin, skipped)
    as_table = out is None and sys.stdout.isatty()
    if as_table:
        paths = _few(paths)
    where = "standard input" if pictures == ("-",) else ", ".join(pictures[:3])
    with threads(options.threads), contextlib.ExitStack() as stack:
        rows = predictions(trained, paths, top, batch_size)
        kept: list[Prediction] = []
        rows = _keep(rows, kept) if as_table else write_predictions(rows, stack.enter_context(_opened(out)), top)
        title = f"{run.name} on {where}"
        show_progress = stack.enter_context(progress.bar(title, None, "images", options.quiet or as_table))
        summary = summarise(rows, show_progress, where, strict)
    if as_table:
        show(_table(kept))
    sys.stdout.flush()
    if out is not None:
        show(f"Written: {out}")
    if not options.quiet and skipped.count:
        sys.stderr.write(f"{skipped}\n")
    check_readable(summary, where)
    if not options.quiet:
        sys.stderr.write(f"{summary}\n")
    if not (options.quiet and trained.is_calibrated):
        sys.stderr.write(f"Probabilities: {trained.calibration}\n")
    for reason in summary.named:
        show_error(reason)
    if summary.unreadable > len(summary.named):
        show_error(f"{summary.unreadable - len(summary.named):,} more could not be read; see the column error")


@contextlib.contextmanager
def _opened(out: Path | None) -> "Iterator[Writable]":
    """Open a file, named OUT.part until the end of the block, or standard output, for text in the `ENCODING`."""
    with contextlib.nullcontext(sys.stdout.buffer) if out is None else partial(out) as file:
        text = io.TextIOWrapper(file, ENCODING, NOT_UTF_8, newline="")
        try:
            try:
                yield text
            finally:
                text.flush()
        except BrokenPipeError:  # the reader has seen enough, such as head
            if out is not None:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None
        finally:
            text.detach()


def _few(paths: "Iterator[Path | UnreadableFolder]") -> "Iterator[Path | UnreadableFolder]":
    first = list(islice(paths, SHOWN + 1))
    if len(first) > SHOWN:
        raise OptionError(
            f"out: more than {SHOWN} images are too many to print; write the predictions to a file with --out predictions.csv"
        )
    return chain(first)


def _keep(rows: "Iterator[Prediction]", kept: "list[Prediction]") -> "Iterator[Prediction]":
    for row in rows:
        kept.append(row)
        yield row


def _table(rows: "Sequence[Prediction]") -> Table:
    """Return a table of predictions: the most probable class, its probability, and the others in one column."""
    cells = []
    for row in rows:
        label, probability = ("", "") if row.error else (row.top[0][0], _percent(row.top[0][1]))
        others = ", ".join(f"{name} {_percent(share)}" for name, share in row.top[1:])
        cells.append((row.path, label, probability, row.error or others))
    return table(["Image", "Label", "Probability (%)", "Other classes (%)"], cells)


def _percent(probability: float) -> str:
    return f"{100 * probability:.1f}"
