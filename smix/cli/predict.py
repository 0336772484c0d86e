"""`smix predict`: predict the classes of pictures."""

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
from smix.report.terminal import show, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smix.lab.predict import Prediction, Writable

SHOWN = 100
"""Maximum number of pictures in a table on the terminal."""


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
    """Predict the classes of pictures, with calibrated probabilities.

    Pictures are prepared as in the evaluation of the run. The temperature that calibrates the probabilities is fitted on the
    validation images of the run.

    Parameters
    ----------
    run
        Folder of a finished run, or a weights file, for which --model and --data are required.
    pictures
        Pictures and folders of pictures, or - to read their paths from standard input, one a line.
    out
        New CSV file: path, label, probability, label_2, probability_2, ..., error. Default: a table on a terminal, otherwise CSV on
        standard output.
    top
        Number of classes per picture, the most probable first.
    batch_size
        Pictures per batch; smaller batches need less memory.
    strict
        Stop at the first picture that cannot be read. Default: its row has the reason, and it is counted and named at the end.
    model
        Model of a weights file, such as resnet18 or timm:NAME.
    data
        Data set that a weights file was trained on, for the names of the classes, the size and the normalisation.
    mean
        Mean per channel on the 0..1 scale, for a weights file. Default: that of the training images.
    std
        Standard deviation per channel on the 0..1 scale, for a weights file.
    """
    from smix import progress
    from smix.device import threads
    from smix.lab.predict import check_pictures, iterate_pictures, predictions, summarise, write_predictions
    from smix.lab.trained_model import load_trained

    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # file names may not be UTF-8
    check_pictures(pictures)
    if top < 1:
        raise OptionError(f"top: expected 1 or more, got {top}")
    if out is not None and (out.exists() or out.is_symlink()):
        raise OptionError(f"{out}: expected a new file, got one that exists; remove it, or choose another --out")
    trained = load_trained(run, EvaluateConfig(model=model, data=data, mean=mean, std=std), options)
    top = min(top, len(trained.classes))
    paths = iterate_pictures(pictures, sys.stdin)
    as_table = out is None and sys.stdout.isatty()
    if as_table:
        paths = _few(paths)
    where = "standard input" if pictures == ("-",) else ", ".join(pictures[:3])
    with threads(options.threads), contextlib.ExitStack() as stack:
        rows = predictions(trained, paths, top, batch_size)
        kept: list[Prediction] = []
        rows = _keep(rows, kept) if as_table else write_predictions(rows, stack.enter_context(_opened(out)), top)
        title = f"{run.name} on {where}"
        show_progress = stack.enter_context(progress.bar(title, None, "pictures", options.quiet or as_table))
        summary = summarise(rows, show_progress, where, strict)
    if as_table:
        show(_table(kept))
    sys.stdout.flush()
    if not options.quiet:
        sys.stderr.write(f"{summary}\n")
    if not (options.quiet and trained.is_calibrated):
        sys.stderr.write(f"Probabilities: {trained.calibration}\n")
    if out is not None:
        show(f"Written: {out}")
    for reason in summary.named:
        show_error(reason)
    if summary.unreadable > len(summary.named):
        show_error(
            f"{summary.unreadable - len(summary.named):,} more could not be read; the column error has the reasons"
        )


@contextlib.contextmanager
def _opened(out: Path | None) -> "Iterator[Writable]":
    """Open a new file, which appears at the end of the block, or standard output."""
    if out is None:
        try:
            yield sys.stdout
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has seen enough, such as head
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None
        return
    from smix import files

    with files.atomic(out) as file:
        # Names that are not UTF-8 are written as they are.
        text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
        yield text
        text.flush()
        text.detach()


def _few(paths: Iterator[Path]) -> Iterator[Path]:
    first = list(islice(paths, SHOWN + 1))
    if len(first) > SHOWN:
        raise OptionError(f"out: more than {SHOWN} pictures; write them to a file with --out predictions.csv")
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
    return table(["Picture", "Label", "Probability (%)", "Other classes (%)"], cells)


def _percent(probability: float) -> str:
    return f"{100 * probability:.1f}"
