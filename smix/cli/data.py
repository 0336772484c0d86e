"""`smix doctor` and `smix data`: check this machine and its data sets."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App
from rich.table import Table

from smix.cli.options import DataRoot
from smix.config import MachineOptions
from smix.report.terminal import show, table

if TYPE_CHECKING:
    from smix.lab.doctor import Finding


def doctor(*, data_root: DataRoot = MachineOptions.data_root) -> None:
    """Check which features and data sets are available on this machine, and print how to install the missing ones."""
    from smix.lab.doctor import check_data, check_machine

    show(findings("This machine", check_machine()), findings("Data sets", check_data(data_root)))


data_app = App(name="data", help="List or describe data sets, or save a train/test split to a file.")


@data_app.default
def data(name: str | None = None, /, *, data_root: Path = MachineOptions.data_root) -> None:
    """List the data sets and whether they are available, or load one and describe it.

    Parameters
    ----------
    name
        Data set to load: a name from the list, npz:FILE, folder:DIR, csv:FILE or hf:NAME_OR_DIR.
    data_root
        Root folder of the data sets; missing ones are downloaded into it.
    """
    from smix.lab.doctor import OWN_DATA, check_data, scaling

    if name is None:
        show(findings("Data sets", check_data(data_root)), table(["Your own data", "Content"], OWN_DATA.items()))
        return
    from smix.data.sets import load_data, load_validation

    splits = [load_data(name, data_root, "train"), load_data(name, data_root, "test")]
    if (validation := load_validation(name, data_root)) is not None:
        splits.insert(1, validation)
    rows = [
        (
            split.split,
            f"{len(split):,}",
            "different" if split.size is None else " x ".join(map(str, (*split.size, split.channels))),
            str(len(split.classes)),
            "no" if split.masks is None else f"yes, {100 * split.masks.mean():.1f} % of the pixels",
            split.fingerprint[:16],
        )
        for split in splits
    ]
    classes = splits[0].classes
    show(
        table([name, "Images", "Size", "Classes", "Masks", "Fingerprint"], rows),
        f"Classes: {', '.join(classes[:20])}{', ...' if len(classes) > 20 else ''}",
        *filter(None, [scaling(splits[0])]),
        *(splits[0].files.notes if splits[0].files is not None else ()),
    )


@data_app.command
def split(name: str, /, *, out: Path, test_fraction: float = 0.2, seed: int = 0) -> None:
    """Draw test images for a data set that has none, and write the split to a CSV file.

    Images are assigned by a hash of their class and path. Each class keeps 0.5 to 1.5 times its share of test images.

    Parameters
    ----------
    name
        Data set: folder:DIR with one folder per class, or csv:FILE without a column split.
    out
        CSV file to write, outside the image folder.
    test_fraction
        Fraction of test images in each class.
    seed
        Random seed for the split.
    """
    from smix.data.split_file import write_drawn_split

    counts = write_drawn_split(name, out, test_fraction, seed)
    share = 100 * counts.test / (counts.training + counts.test)
    show(
        f"{out}: {counts.training:,} training and {counts.test:,} test images ({share:.1f} %) of {counts.classes} classes",
        f"Use it with --data csv:{out}",
    )


def findings(title: str, rows: "Sequence[Finding]") -> Table:
    """Return a table of the findings, with advice for each one that is not ready."""
    cells = [
        ("✓" if row.ready else "✗", row.name, row.state if row.ready else f"{row.state}: {row.advice}") for row in rows
    ]
    return table(["", title, ""], cells)
