"""The masks of a store, judged by several rules; how many of each class are valid."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smix import progress
from smix.data.sets import ImageSet
from smix.masks.criteria import StoreValidity
from smix.masks.store import MaskStore
from smix.mixing import Validity

CRITERIA = {
    "figure14": StoreValidity(Validity.figure14()),
    "published": StoreValidity(Validity.published()),
    "default": StoreValidity(),
}
"""The three ways to call a mask valid that `smix masks check` shows side by side."""
PIXELS = 1 << 21
"""Number of pixels of masks that are judged at once: memory does not grow with the store, nor with the size of the masks."""


@dataclass(frozen=True, eq=False)
class Checked:
    """The masks of a store that are built, judged."""

    name: str
    store: MaskStore
    rows: NDArray[np.int64]
    """(n,) built rows of the store, rising."""
    valid: dict[str, NDArray[np.bool_]]
    """Validity of each of `rows` by each of `CRITERIA`."""

    @property
    def coverage(self) -> NDArray[np.float32]:
        """(n,) coverage of each of `rows`, in [0, 1]."""
        return self.store.coverage[self.rows]

    def share(self, criterion: str) -> float:
        """Valid share of the built masks, in percent; NaN without any."""
        return percent(self.valid[criterion])


@dataclass(frozen=True)
class ClassShares:
    """Masks of one class in a store. Shares are in percent."""

    name: str
    masks: int
    coverage: float
    valid: dict[str, float]
    """Share of valid masks by each of `CRITERIA`."""


def check(store: MaskStore, name: str, quiet: bool = True) -> Checked:
    """Read the whole store, which compares every file with its sha256, and judge its masks, some at a time.

    Raises:
        MaskError: the store is broken.
    """
    store.verify()
    rows = np.flatnonzero(store.built)
    valid = {criterion: np.zeros(len(rows), bool) for criterion in CRITERIA}
    step = max(1, PIXELS // math.prod(store.shape))
    with progress.bar(f"judging {name}", len(rows), "masks", quiet) as done:
        for first in range(0, len(rows), step):
            part = slice(first, first + step)
            some = rows[part]
            masks, score, usable = store[some], store.score[some], store.valid[some]
            for criterion, judge in CRITERIA.items():
                valid[criterion][part] = judge(masks, score) & usable
            done(first + len(some))
    return Checked(name, store, rows, valid)


def by_class(checked: Checked, data: ImageSet) -> list[ClassShares]:
    """The shares of each class that has masks, in the order of the classes; `data` is the whole split."""
    labels, most = data.labels[checked.rows], len(data.classes)
    counts = np.bincount(labels, minlength=most)
    known = np.flatnonzero(counts)

    def means(values: NDArray[np.float32] | NDArray[np.bool_]) -> list[float]:
        return (100 * np.bincount(labels, values, most)[known] / counts[known]).tolist()

    coverage, valid = means(checked.coverage), {key: means(good) for key, good in checked.valid.items()}
    return [
        ClassShares(data.classes[label], int(counts[label]), coverage[n], {key: valid[key][n] for key in valid})
        for n, label in enumerate(known.tolist())
    ]


def percent(values: NDArray[np.float32] | NDArray[np.bool_]) -> float:
    """The mean, in percent; NaN without any values."""
    return 100 * float(values.mean(dtype=np.float64)) if len(values) else math.nan
