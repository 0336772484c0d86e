"""Exact selection of the largest values of each row, without sorting."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

SAMPLE = 256
"""Approximate number of values of a row that are sorted to bracket its threshold."""
MARGIN = 8
"""Number of ranks of the sample on either side of the threshold; a row whose threshold lies outside these is partitioned entirely."""


def mark_largest(field: Float[Tensor, "n N"], count: Int[Tensor, "n"]) -> Float[Tensor, "n N"]:
    """Return 1 on exactly the `count` largest values of each row (the first of equal values), and 0 elsewhere."""
    if field.device.type == "cpu" and not torch.compiler.is_compiling():
        return _by_threshold(field, count)
    order = field.argsort(dim=1, descending=True, stable=True)
    ranked = torch.arange(field.shape[1], device=field.device) < count[:, None]
    return torch.zeros_like(ranked).scatter(1, order, ranked).float()


def _by_threshold(field: Float[Tensor, "n N"], count: Int[Tensor, "n"]) -> Float[Tensor, "n N"]:
    """Return the same marks as sorting does, five times faster.

    A sorted sample brackets the threshold of each row, and only the values between the brackets are sorted.
    """
    rows, counts = field.numpy(), count.numpy()
    low, high = _brackets(rows, counts)
    # Comparisons that write floats are three times faster than those that write bools.
    above, marks = (torch.gt(field, torch.from_numpy(bound), out=torch.empty_like(field)) for bound in (high, low))
    missing = counts - above.sum(1).long().numpy()
    place = np.flatnonzero(marks.sub_(above).to(torch.uint8).numpy().view(bool))
    starts = np.searchsorted(place, np.arange(len(rows) + 1) * rows.shape[1])
    inside = np.diff(starts)
    values = np.full((len(rows), max(int(inside.max(initial=0)), 1)), -np.inf, dtype=rows.dtype)
    values[np.arange(values.shape[1]) < inside[:, None]] = rows.reshape(-1)[place]
    values.sort(axis=1)
    bracketed = (missing > 0) & (missing <= inside)
    threshold = np.take_along_axis(values, (values.shape[1] - missing.clip(1, values.shape[1]))[:, None], axis=1)
    torch.ge(field, torch.from_numpy(np.where(bracketed[:, None], threshold, np.float32(np.inf))), out=marks)
    for row in np.flatnonzero(marks.sum(1).long().numpy() != counts):  # ties at the threshold, or beyond the brackets
        marks[row] = torch.from_numpy(_mark_row(rows[row], int(counts[row])))
    return marks


def _brackets(
    rows: Float[np.ndarray, "n N"], counts: Int[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "n 1"], Float[np.ndarray, "n 1"]]:
    """Return two values per row: the threshold is most likely above the first, and not above the second."""
    sample = np.sort(rows[:, :: rows.shape[1] // SAMPLE | 1], axis=1)
    size = sample.shape[1]
    rank = size - counts * size // rows.shape[1]
    bounds = []
    for bound, beyond in ((rank - MARGIN, -np.inf), (rank + MARGIN, np.inf)):
        value = np.take_along_axis(sample, bound.clip(0, size - 1)[:, None], axis=1)
        bounds.append(np.where(((bound >= 0) & (bound < size))[:, None], value, np.float32(beyond)))
    return bounds[0], bounds[1]


def _mark_row(row: Float[np.ndarray, "N"], count: int) -> Bool[np.ndarray, "N"]:
    marks = np.zeros(row.shape, dtype=bool)
    if count:
        threshold = np.partition(row, len(row) - count)[len(row) - count]
        marks |= row > threshold
        marks[np.flatnonzero(row == threshold)[: count - np.count_nonzero(marks)]] = True
    return marks
