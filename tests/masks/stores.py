"""Provide sources that record calls and can fail, and the bytes of a folder, for the tests of stores."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smix.data.sets import ImageSet
from smix.masks import build
from smix.masks.sources import Segmentation
from smix.masks.store import COST


class BrightnessSource:
    """Source of soft masks that depend only on the image, `finer` times as fine. It records the requested rows."""

    def __init__(self, name: str = "drawn", before: Callable[[int], None] = lambda call: None, finer: int = 1) -> None:
        self.name, self.before, self.finer = name, before, finer
        self.asked: list[int] = []
        self.calls = 0

    def describe(self, data: ImageSet) -> dict[str, Any]:
        return {"name": self.name, "sha256": "0" * 64, "input_size": "own"}

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        self.before(self.calls)
        self.calls += 1
        self.asked.extend(data.index[index].tolist())
        bright = torch.from_numpy(data.images[index].mean(-1) / 255).float()
        found = bright.repeat_interleave(self.finer, 1).repeat_interleave(self.finer, 2)
        return Segmentation((found + 0.25).clamp(max=1), None)


class SourceWithMissingRows(BrightnessSource):
    """Like `BrightnessSource`, but some rows have no file."""

    def __init__(self, *rows: int) -> None:
        super().__init__()
        self.rows = rows

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        found = super().__call__(data, index)
        missing = {place: "no file" for place, row in enumerate(data.index[index]) if row in self.rows}
        for place in missing:
            found.object[place] = torch.nan
        return replace(found, problems=missing)


def raise_at(call: int, error: BaseException) -> Callable[[int], None]:
    """Return a function that raises the error at this call."""

    def before(now: int) -> None:
        if now == call:
            raise error

    return before


def use_small_shards(monkeypatch, rows_per_shard: int = 8, batch: int = 3) -> None:
    """Set shards and batches to sizes that give several of each for 40 images."""
    monkeypatch.setattr(build, "ROWS_PER_SHARD", rows_per_shard)
    monkeypatch.setattr(build, "BATCH", batch)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # syncs are slow, and tests need not survive a power failure


def content(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files by their path in the folder, without locks and recorded times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock" and path.name not in (".lock", COST)
    }


def threshold_in_gap(scores: torch.Tensor) -> float:
    """Return a threshold near the median of scores and far from each score, so that rounding does not change any mask."""
    values = scores.flatten().double().sort().values
    middle = values[len(values) // 4 : len(values) - len(values) // 4]
    widest = middle.diff().argmax()
    return ((middle[widest] + middle[widest + 1]) / 2).item()
