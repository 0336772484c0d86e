"""Tables of the cost of methods and masks, and of what the same seconds would have brought."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from smix.mixing import parse_method
from smix.progress import duration
from smix.report.comparison import Comparison
from smix.report.table import UNKNOWN, Cell, Table, number, over_seeds
from smix.report.tables import PLAIN, by_method
from smix.training.records import Run


def cost_table(comparison: Comparison, mask_seconds: float) -> Table:
    """A row a method.

    Args:
        mask_seconds: What it took to build the masks; 0: they came with the data; NaN: not known.
    """
    starts = {method: start_of(method, mask_seconds) for method in comparison.methods}
    least = budgets(comparison.runs, starts)
    plain = _seconds(by_method(comparison.runs).get(PLAIN, ()))
    rows = []
    for method, mine in by_method(comparison.runs).items():
        done = [run for run in mine if run.result is not None]
        own, masks = _seconds(mine), starts[method]
        results = [run.result for run in done if run.result is not None]
        in_time = [accuracy_after(run, least.get(run.config.seed, math.nan) - masks) for run in done]
        rows.append(
            (
                Cell(comparison.named(method, len(done))),
                _duration(fmean(own.values()) if own else math.nan),
                number(sum(one.images_seen for one in results) / sum(own.values()) if own else math.nan, 0),
                number(_over(own, plain), 1, 100, sign=True),
                Cell("none") if masks == 0 else _duration(masks),
                number(_over(own, plain, masks), 1, 100, sign=True),
                over_seeds((one.val_accuracy for one in results), scale=100),
                # The mean of the runs that have a value would be that of the quick ones.
                over_seeds(in_time if all(map(math.isfinite, in_time)) else (), scale=100),
            )
        )
    on = "validation images" if comparison.begun[0].config.val_fraction else "a part of the training images"
    return Table(
        "cost",
        "What a run costs",
        (
            "Method",
            "Time per run",
            "Images per second",
            f"Over {PLAIN} (%)",
            "Masks",
            "Over, with masks (%)",
            "At equal epochs (%)",
            "At equal seconds (%)",
        ),
        tuple(rows),
        f"Time of training and validation, mean over seeds, as it was beside whatever else ran; over {PLAIN}: over the seeds that both "
        "have. Masks are built once for all runs; here each run bears all of it. Their seconds are summed over builds and processes of "
        f"the whole store. The last two columns are accuracies on {on}: after all epochs, and after the last epoch that ended within the "
        f"time of the quickest run of the same seed, masks counted in ({_span(least)}). A method that is stopped before its end has "
        "not had its last drops of the learning rate.",
    )


def budgets(runs: Sequence[Run], starts: Mapping[str, float]) -> dict[int, float]:
    """Seed -> seconds of its quickest finished run, masks counted in. Seeds without a run whose time is known are left out.

    A budget a seed, since the time of a method differs between seeds: the mean would stop its own slower runs.

    Args:
        starts: Method -> seconds before its first epoch, as `start_of` finds them.
    """
    least: dict[int, float] = {}
    for run in runs:
        if run.result is not None:
            total = run.result.seconds + starts[run.config.method]
            if math.isfinite(total):
                least[run.config.seed] = min(total, least.get(run.config.seed, math.inf))
    return least


def start_of(method: str, mask_seconds: float) -> float:
    """Seconds before the first epoch of a method: those of its masks, if it uses any."""
    return mask_seconds if parse_method(method).needs_masks else 0.0


def accuracy_after(run: Run, seconds: float) -> float:
    """Accuracy of the last epoch that had ended by then, in [0, 1], as metrics.jsonl has it; NaN if none had."""
    found, spent = math.nan, 0.0
    for epoch in run.metrics:
        spent += epoch.seconds
        if not spent <= seconds * (1 + 1e-9):
            break
        found = epoch.val_accuracy
    return found


def _seconds(runs: Sequence[Run]) -> dict[int, float]:
    """Return the seconds of the finished runs by seed."""
    return {run.config.seed: run.result.seconds for run in runs if run.result is not None}


def _over(own: Mapping[int, float], plain: Mapping[int, float], masks: float = 0.0) -> float:
    """The share by which the mean is longer, over the seeds that both have; NaN without one."""
    shared = own.keys() & plain.keys()
    if not shared:
        return math.nan
    return (fmean(own[seed] for seed in shared) + masks) / fmean(plain[seed] for seed in shared) - 1


def _span(seconds: Mapping[int, float]) -> str:
    """Describe values from the least to the greatest."""
    if not seconds:
        return UNKNOWN
    least, most = duration(min(seconds.values())), duration(max(seconds.values()))
    return least if least == most else f"{least} to {most}"


def _duration(seconds: float) -> Cell:
    return Cell(UNKNOWN) if math.isnan(seconds) else Cell(duration(seconds), seconds)
