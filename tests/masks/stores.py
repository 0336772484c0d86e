"""What the tests of stores share: sources that can be watched and can fail, and the bytes of a folder."""

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


class Drawn:
    """Soft masks that are a function of the image alone, `finer` times as fine; remembers what it was asked."""

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


class Missing(Drawn):
    """As `Drawn`, but there is no file for some rows."""

    def __init__(self, *rows: int) -> None:
        super().__init__()
        self.rows = rows

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        found = super().__call__(data, index)
        missing = {place: "no file" for place, row in enumerate(data.index[index]) if row in self.rows}
        for place in missing:
            found.object[place] = torch.nan
        return replace(found, problems=missing)


def raises_at(call: int, error: BaseException) -> Callable[[int], None]:
    def before(now: int) -> None:
        if now == call:
            raise error

    return before


def small_parts(monkeypatch, rows_per_shard: int = 8, batch: int = 3) -> None:
    """Several shards of several batches in 40 images."""
    monkeypatch.setattr(build, "ROWS_PER_SHARD", rows_per_shard)
    monkeypatch.setattr(build, "BATCH", batch)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # a test need not survive a power cut, and syncs are slow


def content(folder: Path) -> dict[str, bytes]:
    """Every file but the locks and what the builds took, by its path in the folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock" and path.name not in (".lock", COST)
    }


def in_a_gap(scores: torch.Tensor) -> float:
    """A threshold near the median of scores, and far from each of them: rounding changes none's side."""
    values = scores.flatten().double().sort().values
    middle = values[len(values) // 4 : len(values) - len(values) // 4]
    widest = middle.diff().argmax()
    return ((middle[widest] + middle[widest + 1]) / 2).item()
