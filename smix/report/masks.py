"""Object masks judged by several criteria: how many are valid, in total and in each class."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray

from smix import progress
from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.criteria import StoreValidity
from smix.masks.lookup import StoredMasks
from smix.masks.reasons import Reason, reasons_of_flags, reasons_of_masks
from smix.masks.store import MaskStore
from smix.mixing import Validity
from smix.paths import data_name
from smix.reprs import short_repr

CRITERIA = {
    "figure14": StoreValidity(Validity.figure14()),
    "published": StoreValidity(Validity.published()),
    "default": StoreValidity(),
}
"""Criteria of a valid mask that `smix masks check` shows side by side."""
PIXELS = 1 << 21
"""Maximum number of pixels of masks that are judged at once, so that memory does not grow with a store."""
CARRIED = 2000
"""Maximum number of masks in a data set that are judged."""


@dataclass(frozen=True)
class ClassShares:
    """Masks of one class. Shares are in percent."""

    name: str
    masks: int
    coverage: float
    valid: dict[str, float]
    """Share of valid masks by each of `CRITERIA`."""


@dataclass(frozen=True, eq=False)
class JudgedMasks:
    """Masks of a data set, and whether they are valid."""

    name: str
    data: ImageSet
    """Whole split that the masks belong to."""
    masks: Bool[np.ndarray, "N *S"] | MaskStore | StoredMasks
    """Masks by row of the split: `masks[rows]` are bool arrays (n, *S)."""
    rows: Int[np.ndarray, "n"]
    """Rows of the split whose masks are judged, in ascending order."""
    coverage: Float[np.ndarray, "n"]
    """Share of each mask's pixels that belong to the object, in [0, 1]."""
    score: Float[np.ndarray, "n"]
    """Mean confidence of the source on the object, in [0, 1]."""
    valid: Mapping[str, Bool[np.ndarray, "n"]]
    """Validity of each mask by each of `CRITERIA`."""
    seconds: float = 0.0
    """Seconds that the masks took to build: 0 if they came with the data, NaN if unknown."""
    problems: Mapping[int, str] = field(default_factory=dict)
    """Reasons why masks are broken, by row."""
    source: Mapping[str, Any] = field(default_factory=dict)
    refine: Mapping[str, Any] = field(default_factory=dict)
    """Name and settings of the source of the masks, and of their refinement."""
    reasons: UInt8[np.ndarray, "n"] = field(default_factory=lambda: np.zeros(0, np.uint8))
    """`smix.masks.reasons.Reason` of each mask by the default rule."""
    __repr__ = short_repr("judged.share(), judged.by_class()")

    def share(self, criterion: str = "default") -> float:
        """Return the share of valid masks in percent; NaN without any mask."""
        return percent(self.valid[criterion])

    def reason_counts(self) -> dict[Reason, int]:
        """Return the number of masks for each reason why masks are not valid by the default rule, in the order of the reasons."""
        codes, counts = np.unique(self.reasons[self.reasons != Reason.VALID], return_counts=True)
        return {Reason(code): count for code, count in zip(codes.tolist(), counts.tolist(), strict=True)}

    def positions(self, rows: Int[np.ndarray, "size"]) -> Int[np.ndarray, "size"]:
        """Return the indices of some rows in the arrays of this class."""
        return np.searchsorted(self.rows, rows)

    def by_class(self) -> list[ClassShares]:
        """Return the shares of each class that has masks, in the order of the classes."""
        labels, count = self.data.labels[self.rows], len(self.data.classes)
        masks = np.bincount(labels, minlength=count)
        known = np.flatnonzero(masks)

        def means(values: NDArray[Any]) -> list[float]:
            shares: list[float] = (100 * np.bincount(labels, values, count)[known] / masks[known]).tolist()
            return shares

        coverage, valid = means(self.coverage), {criterion: means(each) for criterion, each in self.valid.items()}
        return [
            ClassShares(self.data.classes[label], int(masks[label]), coverage[n], {key: valid[key][n] for key in valid})
            for n, label in enumerate(known.tolist())
        ]

    @property
    def class_shares(self) -> dict[str, float]:
        """Percentage of valid masks of each class by the default rule."""
        return {one.name: one.valid["default"] for one in self.by_class()}


def judge_store(store: MaskStore, data: ImageSet, name: str = "", quiet: bool = True) -> JudgedMasks:
    """Read the whole store, compare every file with its checksum, and judge the masks that are built.

    Args:
        data: Whole split whose masks the store has.
        name: Name of the masks as it is shown; empty: that of the data set and its split.

    Raises:
        MaskError: The store is damaged, or belongs to other images.
    """
    stored, manifest = store.align(data), store.manifest
    store.verify()
    rows = np.flatnonzero(store.built[stored])
    problems, built = store.problems, stored[rows]
    judged = JudgedMasks(
        name or f"{data_name(manifest.data.name)} {data.split}",
        data,
        StoredMasks(store, stored),
        rows,
        store.coverage[built],
        store.scores[built],
        dict.fromkeys(CRITERIA, store.usable[built]),
        store.seconds,
        {row: problems[place] for row, place in enumerate(stored.tolist()) if place in problems},
        manifest.source,
        manifest.refine,
        reasons_of_flags(store, built),
    )
    return _judge(judged, quiet)


def judge_carried(data: ImageSet, limit: int = CARRIED) -> JudgedMasks:
    """Judge the masks included in a data set: at most `limit` of them, class-balanced.

    Raises:
        MaskError: It includes none.
    """
    if data.masks is None:
        raise MaskError(
            f"{data.name}: expected a data set with masks, got one without; build them with smix masks build"
        )
    rows = np.sort(data.take(min(limit, len(data))).index)
    coverage = data.masks[rows].reshape(len(rows), -1).mean(1, dtype=np.float32)
    name, ones = f"{data_name(data.name)} {data.split}", np.ones(len(rows), np.float32)
    judged = JudgedMasks(name, data, data.masks, rows, coverage, ones, dict.fromkeys(CRITERIA, coverage > 0))
    return _judge(replace(judged, reasons=np.zeros(len(rows), np.uint8)), quiet=True)


def _judge(judged: JudgedMasks, quiet: bool) -> JudgedMasks:
    """Apply each of `CRITERIA` to masks that are so far valid if they show an object at all."""
    count, valid = len(judged.rows), {criterion: each.copy() for criterion, each in judged.valid.items()}
    reasons = judged.reasons.copy()
    shape = judged.masks.shape[1:] if isinstance(judged.masks, np.ndarray) else judged.masks.shape
    step = max(1, PIXELS // math.prod(shape))
    with progress.bar(f"judging {judged.name}", count, "masks", quiet) as advance:
        for first in range(0, count, step):
            part = slice(first, first + step)
            masks = judged.masks[judged.rows[part]]
            for criterion, is_valid in CRITERIA.items():
                if criterion != "default":
                    valid[criterion][part] &= is_valid(masks, judged.score[part])
            of_masks = reasons_of_masks(masks, judged.score[part], CRITERIA.get("default"))
            reasons[part] = np.where(reasons[part] == Reason.VALID, of_masks, reasons[part])
            advance(first + len(masks))
    if "default" in valid:
        valid["default"] = reasons == Reason.VALID
    return replace(judged, valid=valid, reasons=reasons)


def input_size(source: Mapping[str, Any]) -> str:
    """Return the size of the images that a source of masks works on."""
    size = source.get("input_size", "own")
    return " x ".join(map(str, size)) if isinstance(size, list) else str(size)


def percent(values: NDArray[Any]) -> float:
    """Return the mean in percent; NaN if there are no values."""
    return 100 * float(values.mean(dtype=np.float64)) if len(values) else math.nan
