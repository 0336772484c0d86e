"""The runs of a comparison: every run, their cost, and their provenance."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import fmean

from smix.mixing import parse_method
from smix.progress import duration
from smix.report.comparison import Comparison, ReportAssets
from smix.report.masks import input_size
from smix.report.page import Facts
from smix.report.records import METRICS, PLAIN
from smix.report.table import UNKNOWN, Cell, Table, number, over_seeds
from smix.report.tables import duration_cell, listing
from smix.training.records import Run, held_out


def every_run(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return the table with one row per run, finished or not."""

    def result(name: str) -> dict[str, Callable[[Run], Cell]]:
        metric = METRICS[name]
        return {metric.heading: lambda run: number(getattr(run.result, name, math.nan), metric.decimals, metric.scale)}

    columns: dict[str, Callable[[Run], Cell]] = {
        "Run": lambda run: Cell(run.path.name),
        "Method": lambda run: Cell(run.config.method),
        "Seed": lambda run: Cell(str(run.config.seed), run.config.seed),
        **result("test_accuracy"),
        **result("test_loss"),
        **result("val_accuracy"),
        "Epochs": lambda run: Cell(f"{len(run.metrics)} of {run.config.epochs}", len(run.metrics)),
        **result("images_seen"),
        **result("seconds"),
        "Device": lambda run: Cell(run.result.device if run.result else UNKNOWN),
    }
    rows = [run for own in comparison.by_method.values() for run in own]
    note = "Seconds of training and validation. Loss: cross-entropy, in nats."
    return listing("runs", "Every run", columns, rows, note)


def cost(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return the table of the cost of each method."""
    mask_seconds = math.nan if assets.masks is None else assets.masks.seconds
    starts = {method: start_of(method, mask_seconds) for method in comparison.by_method}
    limits, seconds = budgets(comparison.runs, starts), comparison.values("seconds")
    finished = {m: [run for run in runs if run.result is not None] for m, runs in comparison.by_method.items()}

    labels = comparison.labels(finished)

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

    images_of = "validation images" if held_out(comparison.first) else "a part of the training images"
    return listing(
        "cost",
        "Cost of a run",
        {
            "Method": lambda method: Cell(labels[method]),
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
        comparison.by_method,
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
    """Return the validation accuracy, in [0, 1], of the last epoch that had ended by then; NaN if no epoch had."""
    ends = accumulate(epoch.seconds for epoch in run.metrics)
    limit = seconds * (1 + 1e-9)
    return [math.nan, *(epoch.val_accuracy for epoch, end in zip(run.metrics, ends, strict=True) if end <= limit)][-1]


def _range(seconds: Collection[float]) -> str:
    ends = (min(seconds), max(seconds)) if seconds else ()
    return " to ".join(dict.fromkeys(map(duration, ends))) or UNKNOWN


NOT_SHARED = ("method", "seed", "masks")
UNSET = {"train_limit": "all", "test_limit": "all", "image_size": "their own", "init_weights": "random weights"}
"""Meaning of options without a value."""


def options(comparison: Comparison, assets: ReportAssets) -> Facts:
    """Return options, data and masks, by name."""
    first = comparison.first
    config = {name: value for name, value in first.config.to_json().items() if name not in NOT_SHARED}
    config["milestones"] = list(first.config.drops)
    config["data"] = _without_path(first.config.data)
    if first.config.init_weights is not None:
        config["init_weights"] = Path(first.config.init_weights).name
    rows = [(name.replace("_", "-"), _text(name, value)) for name, value in config.items()]
    counts = first.provenance["data"]["images"]
    rows.append(("images", ", ".join(f"{count:,} {part}" for part, count in counts.items())))
    if masks := next((run.provenance["masks"] for run in comparison.runs if run.provenance.get("masks")), None):
        source, refine = masks["source"], masks["refine"]
        size = f", input size {input_size(source)}" if input_size(source) != "own" else ""
        rows.append(("masks", f"{source['name']}{size}" + (f", refinement {refine['name']}" if refine else "")))
        rows.append(("masks that show no object", f"{100 * masks['empty']:.1f} % of the training images"))
    for method, own in comparison.by_method.items():
        shares = [epoch.fell_back for run in own for epoch in run.metrics]
        if any(shares):
            share = 100 * sum(shares) / len(shares)
            rows.append((f"{method} fell back to its second method", f"for {share:.1f} % of its samples"))
    return Facts(tuple(rows), "Options, data and masks")


def versions(comparison: Comparison, assets: ReportAssets) -> Facts:
    """Return versions of packages, and devices; several values where the runs differ."""
    values: dict[str, dict[str, None]] = {}
    for run in (run for run in comparison.runs if run.provenance):
        settings = {name: run.provenance.get(name) for name in ("threads", "processes", "precision", "compile")}
        for name, value in (run.provenance["versions"] | settings).items():
            if value is not None:
                values.setdefault(name, {})[str(value)] = None
    for run in comparison.runs:
        if run.result is not None:
            values.setdefault("device", {})[run.result.device] = None
    return Facts(tuple((name, ", ".join(each)) for name, each in values.items()), "Versions and devices")


def _without_path(data: str) -> str:
    """Remove the parent folders from npz:FILE and folder:DIR, since they are private. hf:OWNER/NAME is not a path."""
    kind, colon, place = data.partition(":")
    is_path = kind != "hf" or place.startswith(("/", ".", "~"))
    return f"{kind}:{Path(place).name if is_path else place}" if colon else kind


def _text(name: str, value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return UNSET.get(name, "none") if value is None else str(value)
