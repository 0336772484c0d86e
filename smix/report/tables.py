"""The numbers of a comparison as tables: for the terminal, as Markdown and as CSV. The form is that of the report's table."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from smix.evaluation.statistics import Difference, Summary, compare_pairs, summary
from smix.mixing import METHODS
from smix.progress import duration
from smix.training.records import Run

HEAD = ("Method", "Mean (%)", "Std Dev (%)", "Runs", "Min (%)", "Max (%)", "Time per run")


@dataclass(frozen=True)
class Row:
    """One method of a comparison."""

    method: str
    finished: int
    planned: int
    """Seeds that any method of the comparison has."""
    accuracy: Summary | None
    """On the test split, in percent; None unless all planned runs are finished."""
    seconds: float
    """Mean time of the finished runs; NaN without one."""

    def cells(self) -> tuple[str, ...]:
        numbers = ["-"] * 4
        if self.accuracy is not None:
            a = self.accuracy
            numbers = ["-" if math.isnan(value) else f"{value:.2f}" for value in (a.mean, a.std, a.least, a.most)]
        runs = str(self.finished) if self.finished == self.planned else f"{self.finished} of {self.planned}"
        time = "-" if math.isnan(self.seconds) else duration(self.seconds)
        return self.method, numbers[0], numbers[1], runs, numbers[2], numbers[3], time


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
    """A row a method. A method that lacks runs has no mean: those that are missing may be the bad ones."""
    seeds = {run.config.seed for run in runs}
    rows = []
    for method, mine in by_method(runs).items():
        results = [run.result for run in mine if run.result is not None]
        whole = len(results) == len(seeds)
        rows.append(
            Row(
                method,
                len(results),
                len(seeds),
                summary([100 * result.test_accuracy for result in results]) if whole else None,
                sum(result.seconds for result in results) / len(results) if results else math.nan,
            )
        )
    return rows


def differences(runs: Sequence[Run]) -> list[Difference]:
    """Every pair of methods whose runs are all finished, in percentage points of test accuracy."""
    whole = {row.method for row in rows_of(runs) if row.accuracy is not None}
    scores = {
        method: {run.config.seed: 100 * run.result.test_accuracy for run in mine if run.result is not None}
        for method, mine in by_method(runs).items()
        if method in whole
    }
    return compare_pairs(scores)


def best_rows(rows: Sequence[Row]) -> list[int]:
    """The places of the rows with the highest mean: one, more if they are equal, none if no row has a mean."""
    means = [row.accuracy.mean if row.accuracy is not None else -math.inf for row in rows]
    highest = max(means, default=-math.inf)
    return [n for n, mean in enumerate(means) if mean > -math.inf and math.isclose(mean, highest, abs_tol=1e-9)]


def terminal_table(rows: Sequence[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="Test accuracy", title_justify="left")
    for place, head in enumerate(HEAD):
        table.add_column(head, justify="right" if place else "left", no_wrap=place > 0, overflow="fold")
    for place, row in enumerate(rows):
        table.add_row(*row.cells(), style="bold" if place in best_rows(rows) else None)
    return table


def markdown_table(rows: Sequence[Row]) -> str:
    """The best mean in bold."""
    lines: list[tuple[str, ...]] = [HEAD]
    for place, row in enumerate(rows):
        method, mean, *others = row.cells()
        lines.append((method, f"**{mean}**" if place in best_rows(rows) else mean, *others))
    return _markdown(lines)


def markdown_differences(pairs: Sequence[Difference]) -> str:
    """Each pair: mean difference, its interval, and p before and after correction."""
    lines: list[tuple[str, ...]] = [
        ("Difference", "Mean (points)", "95 % interval", "Seeds", "p", "p, Holm-corrected", "More than noise")
    ]
    for pair in pairs:
        interval = "-" if math.isnan(pair.low) else f"{pair.low:+.2f} to {pair.high:+.2f}"
        verdict = "cannot tell" if math.isnan(pair.p) else "yes" if pair.significant else "no"
        lines.append(
            (
                f"{pair.first} - {pair.second}",
                f"{pair.mean:+.2f}",
                interval,
                str(pair.count),
                p_value(pair.p),
                p_value(pair.p_corrected),
                verdict,
            )
        )
    return _markdown(lines)


def p_value(p: float) -> str:
    return "-" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def csv_table(rows: Sequence[Row]) -> str:
    """The table with full precision, and columns that programs can name."""
    lines: list[tuple[object, ...]] = [("method", "mean", "std", "runs", "planned", "min", "max", "seconds_per_run")]
    for row in rows:
        a = row.accuracy or Summary(math.nan, math.nan, 0, math.nan, math.nan)
        lines.append((row.method, a.mean, a.std, row.finished, row.planned, a.least, a.most, row.seconds))
    return _csv(lines)


def csv_runs(runs: Sequence[Run]) -> str:
    """A line a run, finished or not."""
    lines: list[tuple[object, ...]] = [
        (
            "method",
            "seed",
            "test_accuracy",
            "test_loss",
            "val_accuracy",
            "epochs",
            "images_seen",
            "seconds",
            "device",
            "folder",
        )
    ]
    for mine in by_method(runs).values():
        for run in mine:
            r = run.result
            numbers: tuple[object, ...] = (math.nan, math.nan, math.nan, len(run.metrics), math.nan, math.nan, "")
            if r is not None:
                numbers = (r.test_accuracy, r.test_loss, r.val_accuracy, r.epochs, r.images_seen, r.seconds, r.device)
            lines.append((run.config.method, run.config.seed, *numbers, run.path.name))
    return _csv(lines)


def _markdown(lines: Sequence[tuple[str, ...]]) -> str:
    """The first line is the head; all columns but the first are numbers, aligned to the right."""
    rule = ("---", *["---:"] * (len(lines[0]) - 1))
    return "".join(
        f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in (lines[0], rule, *lines[1:])
    )


def _csv(lines: Sequence[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        ["" if isinstance(cell, float) and math.isnan(cell) else cell for cell in line] for line in lines
    )
    return text.getvalue()
