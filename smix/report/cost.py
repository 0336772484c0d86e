"""The cost of methods: the time of training and of the masks, and what each method reaches in the same time."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from smix.mixing import parse_method
from smix.progress import duration
from smix.report.records import PLAIN, Comparison, ReportAssets
from smix.report.table import UNKNOWN, Cell, Table, number, over_seeds
from smix.report.tables import duration_cell, listing
from smix.training.records import Run


@dataclass(frozen=True)
class _Cost:
    """Cost of one method. Seconds are by seed, of finished runs."""

    label: str
    seconds: Mapping[int, float]
    images: float
    """Number of training images over all runs."""
    masks: float
    """Seconds that the masks took; NaN if unknown."""
    plain: Mapping[int, float]
    """Seconds of vanilla."""
    accuracies: Sequence[float]
    """Validation accuracy after all epochs, one per run."""
    in_time: Sequence[float]
    """Validation accuracy within the budget of the seed; NaN if no epoch ended within it."""

    def overhead(self, masks: float = 0.0) -> float:
        """Return the share by which the mean time exceeds that of vanilla, over the seeds that both have; NaN without one."""
        shared = self.seconds.keys() & self.plain.keys()
        if not shared:
            return math.nan
        return (fmean(self.seconds[seed] for seed in shared) + masks) / fmean(self.plain[seed] for seed in shared) - 1


def cost(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return the table of the cost of each method."""
    mask_seconds = math.nan if assets.masks is None else assets.masks.seconds
    starts = {method: start_of(method, mask_seconds) for method in comparison.methods}
    limits = budgets(comparison.runs, starts)
    seconds, images, accuracy = (comparison.values(name) for name in ("seconds", "images_seen", "val_accuracy"))
    rows = []
    for method in comparison.methods:
        finished = [run for run in comparison.runs if run.config.method == method and run.result is not None]
        rows.append(
            _Cost(
                comparison.label(method, len(finished)),
                seconds.get(method, {}),
                math.fsum(images.get(method, {}).values()),
                starts[method],
                seconds.get(PLAIN, {}),
                list(accuracy.get(method, {}).values()),
                [accuracy_after(run, limits.get(run.config.seed, math.nan) - starts[method]) for run in finished],
            )
        )
    images_of = "validation images" if comparison.begun[0].config.val_fraction else "a part of the training images"
    return listing(
        "cost",
        "Cost of a run",
        {
            "Method": lambda row: Cell(row.label),
            "Time per run": lambda row: duration_cell(fmean(row.seconds.values()) if row.seconds else math.nan),
            "Images per second": lambda row: number(
                row.images / math.fsum(row.seconds.values()) if row.seconds else math.nan, 0
            ),
            f"Overhead over {PLAIN} (%)": lambda row: number(row.overhead(), 1, 100, sign=True),
            "Masks": lambda row: Cell("none") if row.masks == 0 else duration_cell(row.masks),
            "Overhead with masks (%)": lambda row: number(row.overhead(row.masks), 1, 100, sign=True),
            "At equal epochs (%)": lambda row: over_seeds(row.accuracies, scale=100),
            # The mean of the runs that have a value would be that of the fast ones.
            "At equal seconds (%)": lambda row: over_seeds(
                row.in_time if all(map(math.isfinite, row.in_time)) else (), scale=100
            ),
        },
        rows,
        "Time of training and validation, mean over seeds, measured while the machine may have been busy; overhead: over the seeds that "
        f"the method and {PLAIN} share. Masks are built once for all runs; here their full time, summed over builds and processes of "
        f"the whole store, is charged to each run. The last two columns are accuracies on {images_of}: after all epochs, and after the "
        f"last epoch that ended within the time of the fastest run of the same seed, masks included ({_range(limits.values())}). A method "
        "that is stopped early has not reached the last reductions of its learning rate.",
    )


def budgets(runs: Sequence[Run], starts: Mapping[str, float]) -> dict[int, float]:
    """Return the seconds of the fastest finished run of each seed, masks included; seeds of unknown time are left out.

    Each seed has its own budget, as the time of a method differs between seeds: a mean would stop the slower runs of the fastest method.

    Args:
        starts: Seconds before the first epoch of each method: see `start_of`.
    """
    fastest: dict[int, float] = {}
    for run in runs:
        if run.result is not None:
            total = run.result.seconds + starts[run.config.method]
            if math.isfinite(total):
                fastest[run.config.seed] = min(total, fastest.get(run.config.seed, math.inf))
    return fastest


def start_of(method: str, mask_seconds: float) -> float:
    """Return the seconds before the first epoch of a method: those of its masks, if it uses any."""
    return mask_seconds if parse_method(method).needs_masks else 0.0


def accuracy_after(run: Run, seconds: float) -> float:
    """Return the validation accuracy, in [0, 1], of the last epoch that had ended by then; NaN if none had."""
    accuracy, spent = math.nan, 0.0
    for epoch in run.metrics:
        spent += epoch.seconds
        if not spent <= seconds * (1 + 1e-9):
            break
        accuracy = epoch.val_accuracy
    return accuracy


def _range(seconds: Collection[float]) -> str:
    if not seconds:
        return UNKNOWN
    low, high = duration(min(seconds)), duration(max(seconds))
    return low if low == high else f"{low} to {high}"
