"""Draw test images for a data set that defines none, and write the split to a CSV file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smix.data.drawn_split import TEST_FRACTION, SplitPart, draw_keys, draw_test, write_split
from smix.data.outputs import check_outside
from smix.data.sets import is_listed, load_data
from smix.errors import DataError, OptionError, RunError


@dataclass(frozen=True)
class SplitCounts:
    """Numbers of images and classes of a split."""

    training: int
    test: int
    classes: int


def write_drawn_split(name: str, out: Path | str, test_fraction: float = TEST_FRACTION, seed: int = 0) -> SplitCounts:
    """Draw the test images of a data set, and write its split as `path,label,split` for `csv:FILE`.

    With the default fraction and seed, this is the split that `load_data` draws.

    Args:
        name: `folder:DIR` or `csv:FILE` without test images.
        out: CSV file to write, outside the image folder.
        test_fraction: Fraction of test images, in (0, 1).
        seed: Random seed for the split.

    Raises:
        OptionError: The data set is of another kind, or `test_fraction` is out of range.
        DataError: The data set has test images or names with leading or trailing blanks, or cannot be loaded.
        RunError: The file exists, is in the image folder, or cannot be written.
    """
    out = Path(out)
    if not is_listed(name):
        raise OptionError(f"{name}: only image files have a split that can be written; use folder:DIR or csv:FILE")
    train, test = load_data(name, split="train"), load_data(name, split="test")
    assert train.files is not None
    assert test.files is not None
    if not train.files.drawn:
        raise DataError(f"{name}: the data set already has {len(test):,} test images; use it as it is")
    check_outside(out, name)
    if out.exists():
        raise RunError(f"{out}: the file exists; remove it, or choose another name")
    both = [SplitPart.of(train), SplitPart.of(test)]
    paths = np.concatenate([part.files.paths for part in both])
    labels = np.array([label for part in both for label in part.labels], object)
    order = np.argsort(paths.astype(str), kind="stable")
    for text in (*paths, *train.classes):
        if text != text.strip():
            raise DataError(f'{name}: a CSV file cannot keep the blank at the start or end of "{text}"; rename it')
    keys = draw_keys(paths[order].tolist(), labels[order].tolist())
    chosen = draw_test(keys, np.unique(labels[order], return_inverse=True)[1], test_fraction, seed)
    merged = both[0].files.joined(both[1].files)
    write_split(
        out,
        {
            split: SplitPart(merged.rows(order[rows]), tuple(labels[order[rows]]))
            for split, rows in (("train", ~chosen), ("test", chosen))
        },
    )
    return SplitCounts(int((~chosen).sum()), int(chosen.sum()), len(train.classes))
