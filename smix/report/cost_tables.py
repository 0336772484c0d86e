"""What a method costs, with the masks it needs, and what the same seconds would have brought."""

import math
from collections.abc import Sequence
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
    seconds = budget(comparison, mask_seconds)
    plain = _seconds(by_method(comparison.runs).get(PLAIN, ()))
    rows = []
    for method, mine in by_method(comparison.runs).items():
        done = [run for run in mine if run.result is not None]
        own, masks = _seconds(mine), start_of(method, mask_seconds)
        rows.append(
            (
                Cell(comparison.named(method, len(done))),
                _duration(own),
                number(fmean(run.result.images_seen / run.result.seconds for run in done if run.result), 0)
                if done
                else Cell(UNKNOWN),
                number(own / plain - 1, 1, 100, sign=True),
                Cell("none") if masks == 0 else _duration(masks),
                number((own + masks) / plain - 1, 1, 100, sign=True),
                over_seeds((run.result.val_accuracy for run in done if run.result), scale=100),
                over_seeds((accuracy_after(run, seconds - masks) for run in done), scale=100),
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
        "Time of training and validation, mean over seeds, as it was beside whatever else ran. Masks are built once for all runs; "
        f"here each run bears all of it. The last two columns are accuracies on {on}: after all epochs, and after the last epoch "
        f"that ended within {_duration(seconds).text}, the time of the quickest method, masks counted in.",
    )


def budget(comparison: Comparison, mask_seconds: float) -> float:
    """Seconds of the quickest method; NaN if none has finished a run."""
    totals = [
        _seconds(mine) + start_of(method, mask_seconds) for method, mine in by_method(comparison.runs).items() if mine
    ]
    return min((total for total in totals if math.isfinite(total)), default=math.nan)


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


def _seconds(runs: Sequence[Run]) -> float:
    done = [run.result.seconds for run in runs if run.result is not None]
    return fmean(done) if done else math.nan


def _duration(seconds: float) -> Cell:
    return Cell(UNKNOWN) if math.isnan(seconds) else Cell(duration(seconds), seconds)
