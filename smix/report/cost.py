"""The cost of methods: the time of training and of the masks, and what each method reaches in the same time."""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from statistics import fmean

from smix.mixing import parse_method
from smix.progress import duration
from smix.report.records import PLAIN, Comparison, ReportAssets, by_method
from smix.report.table import UNKNOWN, Cell, Table, number, over_seeds
from smix.report.tables import duration_cell, listing
from smix.training.records import Run


def cost(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return the table of the cost of each method."""
    mask_seconds = math.nan if assets.masks is None else assets.masks.seconds
    starts = {method: start_of(method, mask_seconds) for method in comparison.methods}
    limits, seconds = budgets(comparison.runs, starts), comparison.values("seconds")
    finished = {m: [run for run in runs if run.result is not None] for m, runs in by_method(comparison.runs).items()}

    def rate(method: str) -> float:
        images = comparison.values("images_seen").get(method, {})
        return math.fsum(images.values()) / math.fsum(seconds[method].values()) if images else math.nan

    def overhead(method: str, masks: float = 0.0) -> Cell:
        own, plain = seconds.get(method, {}), seconds.get(PLAIN, {})
        if not (shared := own.keys() & plain.keys()):
            return Cell(UNKNOWN)
        ratio = (fmean(own[seed] for seed in shared) + masks) / fmean(plain[seed] for seed in shared)
        return number(ratio - 1, 1, 100, sign=True)

    def in_time(method: str) -> Cell:
        spent = starts[method]
        values = [accuracy_after(run, limits.get(run.config.seed, math.nan) - spent) for run in finished[method]]
        # The mean of the runs that have a value would be that of the fast ones.
        return over_seeds(values if all(map(math.isfinite, values)) else (), scale=100)

    held_out = comparison.begun[0].provenance["data"]["validated_on"] == "validation images"
    images_of = "validation images" if held_out else "a part of the training images"
    return listing(
        "cost",
        "Cost of a run",
        {
            "Method": lambda method: Cell(comparison.label(method, len(finished[method]))),
            "Time per run": lambda method: duration_cell(fmean(seconds.get(method, {0: math.nan}).values())),
            "Images per second": lambda method: number(rate(method), 0),
            f"Overhead over {PLAIN} (%)": overhead,
            "Masks": lambda method: Cell("none") if starts[method] == 0 else duration_cell(starts[method]),
            "Overhead with masks (%)": lambda method: overhead(method, starts[method]),
            "At equal epochs (%)": lambda method: over_seeds(
                comparison.values("val_accuracy").get(method, {}).values(), scale=100
            ),
            "At equal seconds (%)": in_time,
        },
        comparison.methods,
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
    ends = accumulate(epoch.seconds for epoch in run.metrics)
    limit = seconds * (1 + 1e-9)
    return [math.nan, *(epoch.val_accuracy for epoch, end in zip(run.metrics, ends, strict=True) if end <= limit)][-1]


def _range(seconds: Collection[float]) -> str:
    ends = (min(seconds), max(seconds)) if seconds else ()
    return " to ".join(dict.fromkeys(map(duration, ends))) or UNKNOWN
