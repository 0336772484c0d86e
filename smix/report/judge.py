"""The masks of a store, judged by several rules."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smix.masks.store import MaskStore
from smix.masks.validity import StoreValidity
from smix.mixing import Validity

CRITERIA = {
    "figure14": StoreValidity(Validity.figure14()),
    "published": StoreValidity(Validity.published()),
    "default": StoreValidity(),
}
"""The three ways to call a mask valid that `smix masks check` shows side by side."""
BATCH = 512
"""Masks that are judged at once: memory does not grow with the store."""


@dataclass(frozen=True, eq=False)
class Checked:
    """The masks of a store that are built, judged."""

    name: str
    store: MaskStore
    rows: NDArray[np.int64]
    """Built rows of the store."""
    valid: dict[str, NDArray[np.bool_]]
    """For each of `CRITERIA`, whether each of `rows` is valid."""

    def share(self, criterion: str, among: NDArray[np.bool_] | None = None) -> float:
        """Valid share of the built masks, or of those `among` them, in percent; NaN without any."""
        valid = self.valid[criterion] if among is None else self.valid[criterion][among]
        return 100 * float(valid.mean()) if len(valid) else math.nan


def check(store: MaskStore, name: str) -> Checked:
    """Read the whole store, which compares every file with its sha256, and judge its masks.

    Raises:
        MaskError: the store is broken.
    """
    rows = np.flatnonzero(store.built)
    judged: dict[str, list[NDArray[np.bool_]]] = {criterion: [np.zeros(0, bool)] for criterion in CRITERIA}
    for first in range(0, len(rows), BATCH):
        some = rows[first : first + BATCH]
        masks, score, usable = store[some], store.score[some], store.valid[some]
        for criterion, good in CRITERIA.items():
            judged[criterion].append(good(masks, score) & usable)
    return Checked(name, store, rows, {criterion: np.concatenate(parts) for criterion, parts in judged.items()})
