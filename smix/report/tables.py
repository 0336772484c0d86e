"""The numbers of a comparison as tables: accuracy, pairs of methods, runs. The form is that of the report's table."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from smix.evaluation.statistics import NOT_ENOUGH, Difference, Summary, compare_pairs, interval, summary, verdict
from smix.mixing import METHODS
from smix.progress import duration
from smix.report.table import UNKNOWN, Cell, Table, number
from smix.training.records import Run

PLAIN = "vanilla"
"""The method that others are compared with."""


@dataclass(frozen=True)
class Row:
    """One method of a comparison."""

    method: str
    finished: int
    planned: int
    """Seeds that any method of the comparison has."""
    accuracy: Summary | None
    """On the test split, in percent, of the finished runs; None without any."""
    seconds: float
    """Mean time of the finished runs; NaN without one."""

    @property
    def whole(self) -> bool:
        """True if all planned runs are finished. Else the missing ones may be the bad ones: the mean is shown, not compared."""
        return self.finished == self.planned

    @property
    def runs(self) -> str:
        return str(self.finished) if self.whole else f"{self.finished} of {self.planned}"


def by_method(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each method by seed; methods in the order of `METHODS`, variants of one after it."""
    names = list(METHODS)

    def place(method: str) -> tuple[int, int, str]:
        first = method.split("+")[0].split("(")[0].strip()
        return (names.index(first) if first in names else len(names)), method.count("+"), method

    methods = sorted({run.config.method for run in runs}, key=place)
    return {
        method: sorted((run for run in runs if run.config.method == method), key=lambda run: run.config.seed)
        for method in methods
    }


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """A row a method. Of a method that lacks runs the mean is that of the others, and it cannot win: see `Row.whole`."""
    seeds = {run.config.seed for run in runs}
    rows = []
    for method, mine in by_method(runs).items():
        results = [run.result for run in mine if run.result is not None]
        rows.append(
            Row(
                method,
                len(results),
                len(seeds),
                summary([100 * result.test_accuracy for result in results]) if results else None,
                sum(result.seconds for result in results) / len(results) if results else math.nan,
            )
        )
    return rows


def differences(runs: Sequence[Run]) -> list[Difference]:
    """Every pair of methods whose runs are all finished, in percentage points of test accuracy."""
    whole = {row.method for row in rows_of(runs) if row.whole}
    scores = {
        method: {run.config.seed: 100 * run.result.test_accuracy for run in mine if run.result is not None}
        for method, mine in by_method(runs).items()
        if method in whole
    }
    return compare_pairs(scores)


def best_rows(rows: Sequence[Row]) -> list[int]:
    """The places of the rows with the highest mean: one, more if they are equal, none if no method has all of its runs."""
    means = [row.accuracy.mean if row.accuracy is not None and row.whole else -math.inf for row in rows]
    highest = max(means, default=-math.inf)
    return [n for n, mean in enumerate(means) if mean > -math.inf and math.isclose(mean, highest, abs_tol=1e-9)]


def accuracy_table(runs: Sequence[Run], intervals: bool = True) -> Table:
    """Method, mean, standard deviation, runs, min, max, time per run: the form of the report's table; and the interval of the mean.

    Args:
        intervals: False leaves the last column out: with it the table is wider than a terminal of 80 columns.
    """
    rows = rows_of(runs)
    best = best_rows(rows)
    lines = []
    for place, row in enumerate(rows):
        a = row.accuracy or summary([])
        lines.append(
            (
                Cell(row.method),
                number(a.mean, best=place in best),
                Cell(NOT_ENOUGH) if a.count == 1 else number(a.std),
                Cell(row.runs, row.finished if row.whole else None),
                number(a.minimum),
                number(a.maximum),
                Cell(UNKNOWN) if math.isnan(row.seconds) else Cell(duration(row.seconds), row.seconds),
                *((_interval(a),) if intervals else ()),
            )
        )
    note = "Accuracy on the test split at the last epoch. Standard deviation over seeds, with n - 1."
    if intervals:
        note += " Interval: of the mean over seeds, by Student's t."
    if not all(row.whole for row in rows):
        note += " Methods that lack runs (n of N) are not compared: the missing runs may be the bad ones."
    head = ["Method", "Mean (%)", "Std Dev (%)", "Runs", "Min (%)", "Max (%)", "Time per run"]
    if intervals:
        head.append("95 % interval (%)")
    return Table("accuracy", "Test accuracy", tuple(head), tuple(lines), note)


def spread(counts: Iterable[int]) -> str:
    """Return what a cell with a mean shows beside it, if the cells are of so many runs each."""
    counts = set(counts)
    if max(counts, default=0) < 2:
        return f"One run of each method: {NOT_ENOUGH} for a deviation."
    few = f"; of one run its value ({NOT_ENOUGH})" if 1 in counts else ""
    return f"Mean \N{PLUS-MINUS SIGN} standard deviation over seeds{few}."


def _interval(a: Summary) -> Cell:
    if a.count < 2:
        return Cell(NOT_ENOUGH if a.count else UNKNOWN)
    low, high = interval(a)
    return Cell(f"{low:.1f} to {high:.1f}")


def pairs_table(pairs: Sequence[Difference]) -> Table:
    """Each pair: mean difference, its interval, p before and after correction, the verdict, and what could have been shown."""
    rows = tuple(
        (
            Cell(f"{pair.first} - {pair.second}"),
            number(pair.mean, sign=True),
            Cell(UNKNOWN if math.isnan(pair.low) else f"{pair.low:+.2f} to {pair.high:+.2f}"),
            Cell(str(pair.count), pair.count),
            _p(pair.p),
            _p(pair.p_corrected),
            Cell(verdict(pair)),
            Cell("none possible") if pair.detectable > 100 else number(pair.detectable),
        )
        for pair in pairs
    )
    return Table(
        "pairs",
        "Every pair of methods",
        (
            "Difference",
            "Mean (points)",
            "95 % interval",
            "Seeds",
            "p",
            "p, Holm-corrected",
            "The first is",
            "Found 4 times of 5 (points)",
        ),
        rows,
        "Paired t-tests over seeds, in percentage points of test accuracy, corrected by Holm's method over all pairs; intervals are of "
        "each pair alone. Found 4 times of 5: the smallest true difference that so many seeds find with probability 0.8; none possible: it "
        "would be above 100 points.",
    )


def runs_table(runs: Sequence[Run]) -> Table:
    """A row a run, finished or not."""
    rows = []
    for mine in by_method(runs).values():
        for run in mine:
            r = run.result
            epochs = len(run.metrics) if r is None else r.epochs
            rows.append(
                (
                    Cell(run.path.name),
                    Cell(run.config.method),
                    Cell(str(run.config.seed), run.config.seed),
                    number(math.nan if r is None else r.test_accuracy, scale=100),
                    number(math.nan if r is None else r.test_loss, 3),
                    number(math.nan if r is None else r.val_accuracy, scale=100),
                    Cell(f"{epochs} of {run.config.epochs}", epochs),
                    Cell(UNKNOWN) if r is None else Cell(f"{r.images_seen:,}", r.images_seen),
                    number(math.nan if r is None else r.seconds, 0),
                    Cell(UNKNOWN if r is None else r.device),
                )
            )
    head = (
        "Run",
        "Method",
        "Seed",
        "Test accuracy (%)",
        "Test loss",
        "Validation accuracy (%)",
        "Epochs",
        "Images seen",
        "Seconds",
        "Device",
    )
    return Table(
        "runs", "Every run", head, tuple(rows), "Seconds: of training and validation. Loss: cross-entropy, in nats."
    )


def p_value(p: float) -> str:
    return UNKNOWN if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _p(p: float) -> Cell:
    return Cell(NOT_ENOUGH) if math.isnan(p) else Cell(p_value(p), p)
