"""The tables of a report, each as a specification: its columns are data.

`MetricTable` compares methods, and each of its columns is a query of the records: a new metric is one more `Column`. `listing` makes
the tables whose rows are something else, such as runs or pairs of methods. All of them take a comparison and the assets of the report,
and return None if there is nothing to show.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import TypeVar

from smix.evaluation.confidence import LEVELS, SURE
from smix.evaluation.statistics import NOT_ENOUGH
from smix.progress import duration
from smix.report.comparison import Comparison, ReportAssets
from smix.report.records import COVERAGES, METRICS, Best
from smix.report.table import UNKNOWN, Cell, Table, number, over_seeds

T = TypeVar("T")
BOLD = "The best value is in bold, whether or not the difference is statistically significant"


@dataclass(frozen=True)
class Column:
    """A column of a table of methods: a query of the records, see `smix.report.records.Record`."""

    metric: str = "accuracy"
    heading: str = ""
    """Empty: the heading of the metric."""
    condition: str = ""
    severity: float | None = None
    data: str = ""


@dataclass(frozen=True)
class MetricTable:
    """A table that compares methods: the mean and the standard deviation over seeds of each column."""

    name: str
    title: str
    columns: Sequence[Column] | Callable[[Comparison], Sequence[Column]]
    note: str
    """May hold {spread} (what the cells show), {images} and {left_out} (numbers of images of the suite)."""
    suite: str = ""
    bold: bool = True
    """Show the best values in bold."""
    across: str = ""
    """Heading of the first column of a table with methods as columns and means only; empty: methods are rows."""

    def __call__(self, comparison: Comparison, assets: ReportAssets) -> Table | None:
        """Return the table, or None if it has no values."""
        values = {}
        for column in self.columns(comparison) if callable(self.columns) else self.columns:
            place = (column.condition, column.severity, column.data)
            values[column] = comparison.values(column.metric, *place, suite=self.suite)
        # A metric that no run has is left out; a level that has no predictions is unknown.
        known = {record.metric for record in comparison.records}
        values = {column: by_method for column, by_method in values.items() if column.metric in known}
        longest = {
            m: max((each.get(m, {}) for each in values.values()), key=len, default={}) for m in comparison.by_method
        }
        labels = comparison.labels({method: seeds for method, seeds in longest.items() if seeds})
        if not labels:
            return None
        headings = [column.heading or METRICS[column.metric].heading for column in values]
        cells = [self._cells(column.metric, each, list(labels), comparison.planned) for column, each in values.items()]
        if self.across:
            head = (self.across, *labels.values())
            rows = tuple((Cell(heading), *row) for heading, row in zip(headings, cells, strict=True))
        else:
            head = ("Method", *headings)
            rows = tuple(zip(map(Cell, labels.values()), *cells, strict=True))
        spread = spread_note(len(seeds) for each in values.values() for seeds in each.values())
        counts = {"images": "", "left_out": ""}
        for name in counts:
            for record in comparison.select(data="", suite=self.suite, metric=name)[:1]:
                counts[name] = f"{record.value:,.0f}"
        note = self.note.format(spread=spread, **counts)
        return Table(self.name, self.title, head, rows, note)

    def _cells(
        self, name: str, values: Mapping[str, Mapping[int, float]], methods: Sequence[str], planned: int
    ) -> list[Cell]:
        metric = METRICS[name]
        means = {method: fmean(seeds.values()) for method, seeds in values.items()}
        # A method that lacks runs is never the best: the missing ones may be the bad ones.
        complete = {method: mean for method, mean in means.items() if len(values[method]) == planned}
        best = best_of(complete, metric.best if self.bold else None)
        if self.across:
            return [number(means.get(m, math.nan), 1, metric.scale, best=m == best) for m in methods]
        return [over_seeds(values.get(m, {}).values(), metric.decimals, metric.scale, m == best) for m in methods]


def best_of(means: Mapping[str, float], best: Best | None) -> str | None:
    """Return the method with the best mean, or None if two are equal."""
    if best is None or len(means) < 2:
        return None
    order = {method: -mean if best == "max" else abs(mean) for method, mean in means.items()}
    first, second = sorted(order, key=lambda method: order[method])[:2]
    return None if math.isclose(order[first], order[second], abs_tol=1e-9) else first


def spread_note(counts: Iterable[int]) -> str:
    """Return a note on what the cells of a table show, given the numbers of runs that they summarise."""
    counts = set(counts)
    if max(counts, default=0) < 2:
        return f"One run of each method: {NOT_ENOUGH} for a deviation."
    single = f"; the value of a single run ({NOT_ENOUGH})" if 1 in counts else ""
    return f"Mean \N{PLUS-MINUS SIGN} standard deviation over seeds{single}."


CALIBRATION = MetricTable(
    "calibration",
    "Calibration",
    [
        *map(Column, ("ece", "ece_mass", "class_wise", "mce", "brier", "nll", "overconfidence")),
        *map(Column, ("temperature", "ece_scaled", "nll_scaled")),
    ],
    "{spread} ECE: expected calibration error with 15 bins (of equal width, of equal mass, of each class). Overconfidence: mean confidence "
    "minus accuracy; a network above 0 is overconfident, one below 0 underconfident. Scaled: after its logits are divided by the "
    f"temperature that fits the validation images. {BOLD}; of overconfidence the value nearest to 0.",
)

CLASS_CALIBRATION = MetricTable(
    "class-calibration",
    "Expected calibration error (ECE) of each class (%)",
    lambda comparison: [Column("class_ece", name, name) for name in comparison.classes],
    f"ECE of the probability of the class, with 15 bins of equal width; mean over seeds. {BOLD}.",
    across="Class",
)

CONFIDENCE = MetricTable(
    "confidence",
    "Errors and confidence",
    (
        *map(Column, ("error", "top5_error", *(f"errors_above_{low:g}" for low in SURE))),
        Column("error_rate", f"Error rate above {SURE[0]:g} (%)", "confidence above", SURE[0]),
        Column("aurc"),
        *(Column("error_rate", f"Error rate at {share:.0%} coverage (%)", "coverage", share) for share in COVERAGES),
    ),
    "In percent of all test images; an error rate is in percent of the predictions above a confidence, or of the most confident ones that "
    "cover a share of the images. {spread} AURC: area under the risk-coverage curve, the mean error rate over all coverages. "
    f"{BOLD}.",
)

LEVEL_TABLE = MetricTable(
    "levels",
    "Error rate at each level of confidence (%)",
    tuple(Column("error_rate", f"{low:g} to {high:g}", "confidence", low) for low, high in pairwise(LEVELS)),
    "Error rate of the predictions whose confidence is above the first number and at most the second. {spread}",
    bold=False,
)


def listing(
    name: str, title: str, columns: Mapping[str, Callable[[T], Cell]], rows: Iterable[T], note: str
) -> Table | None:
    """Return a table with a row for each item, and a column for each of these functions; None without rows."""
    cells = tuple(tuple(cell(row) for cell in columns.values()) for row in rows)
    return Table(name, title, tuple(columns), cells, note) if cells else None


def range_cell(low: float, high: float) -> Cell:
    """Return a cell such as "-0.12 to +0.34"; a dash for NaN."""
    return Cell(f"{low:+.2f} to {high:+.2f}" if math.isfinite(low) else UNKNOWN)


def duration_cell(seconds: float) -> Cell:
    """Return a cell such as "1 min 1 s"; a dash for NaN."""
    return Cell(UNKNOWN) if math.isnan(seconds) else Cell(duration(seconds), seconds)
