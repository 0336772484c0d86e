"""The tables of a report, each as a specification: its columns are data.

`MethodTable` has one row per method, and each of its columns is a query of the records: a new metric is one more `Column`. `listing` makes
the tables whose rows are something else, such as runs or pairs of methods. All of them take a comparison and the assets of the report,
and return None if there is nothing to show.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Literal, TypeVar

from smix.evaluation.confidence import LEVELS, SURE
from smix.evaluation.corruptions.suite import GROUPS
from smix.evaluation.statistics import NOT_ENOUGH
from smix.progress import duration
from smix.report.reading import data_name
from smix.report.records import (
    CONDITIONS,
    COVERAGES,
    PLAIN,
    Comparison,
    ReportAssets,
)
from smix.report.table import UNKNOWN, Cell, Table, number, over_seeds

T = TypeVar("T")
Best = Literal["max", "min"]
SMALLEST = "The smallest value is in bold, whether or not the difference is statistically significant"


@dataclass(frozen=True)
class Column:
    """A column of a table of methods: a query of the records, see `smix.report.records.Record`, and the format of its values."""

    heading: str
    metric: str = "accuracy"
    condition: str = ""
    severity: float | None = None
    suite: str = ""
    data: str = ""
    scale: float = 100
    """Factor of the values: 100 turns shares into percentages."""
    decimals: int = 2
    best: Best | None = None
    """Mean in bold: the largest, or that nearest to 0. None: no value is better than another."""
    optional: bool = False
    """Left out if no run has a value."""

    def values(self, comparison: Comparison) -> dict[str, dict[int, float]]:
        """Return the values by method and seed."""
        place = {"data": self.data, "suite": self.suite, "condition": self.condition, "severity": self.severity}
        return comparison.values(self.metric, **place)  # type: ignore[arg-type]


@dataclass(frozen=True)
class MethodTable:
    """A table with one row per method: the mean and the standard deviation over seeds of each column."""

    name: str
    title: str
    columns: Sequence[Column] | Callable[[Comparison], Sequence[Column]]
    note: str
    """May hold {spread} (what the cells show), {images} and {left_out} (numbers of images of the suite of the first column)."""

    def __call__(self, comparison: Comparison, assets: ReportAssets) -> Table | None:
        """Return the table; None if there is no value at all."""
        columns = self.columns(comparison) if callable(self.columns) else self.columns
        values = {column: column.values(comparison) for column in columns}
        values = {column: cells for column, cells in values.items() if cells or not column.optional}
        methods = [method for method in comparison.methods if any(method in by_method for by_method in values.values())]
        if not methods:
            return None
        counts = {method: max(len(by_method.get(method, ())) for by_method in values.values()) for method in methods}
        cells = [_column_cells(comparison, column, by_method, methods) for column, by_method in values.items()]
        labels = [Cell(comparison.label(method, count)) for method, count in counts.items()]
        spread = spread_note(len(seeds) for by_method in values.values() for seeds in by_method.values())
        images, left_out = (_count(comparison, name, columns[0]) for name in ("images", "left_out"))
        note = self.note.format(spread=spread, images=images, left_out=left_out)
        head = ("Method", *(column.heading for column in values))
        return Table(self.name, self.title, head, tuple(zip(labels, *cells, strict=True)), note)


@dataclass(frozen=True)
class ConditionTable:
    """A table with one row per condition and one column per method: means over seeds."""

    name: str
    title: str
    heading: str
    """Heading of the first column."""
    conditions: Callable[[Comparison], Iterable[str]]
    note: str
    metric: str = "accuracy"
    suite: str = ""
    best: Best = "max"

    def __call__(self, comparison: Comparison, assets: ReportAssets) -> Table | None:
        """Return the table; None if there is no value."""
        rows = {
            condition: comparison.values(self.metric, suite=self.suite, condition=condition)
            for condition in self.conditions(comparison)
        }
        counts = {
            method: max(len(values.get(method, ())) for values in rows.values()) if rows else 0
            for method in comparison.methods
        }
        counts = {method: count for method, count in counts.items() if count}
        cells = []
        for condition, values in rows.items():
            means = {method: fmean(seeds.values()) for method, seeds in values.items()}
            complete = {method: mean for method, mean in means.items() if len(values[method]) == comparison.planned}
            best = best_of(complete, self.best)
            numbers = (number(means.get(method, math.nan), 1, 100, best=method == best) for method in counts)
            cells.append((Cell(condition), *numbers))
        head = (self.heading, *(comparison.label(method, count) for method, count in counts.items()))
        return Table(self.name, self.title, head, tuple(cells), self.note) if counts else None


def _column_cells(
    comparison: Comparison, column: Column, values: Mapping[str, Mapping[int, float]], methods: Sequence[str]
) -> list[Cell]:
    # A method that lacks runs is never the best: the missing ones may be the bad ones.
    means = {m: fmean(seeds.values()) for m, seeds in values.items() if len(seeds) == comparison.planned}
    best = best_of(means, column.best)
    return [
        over_seeds(values.get(method, {}).values(), column.decimals, column.scale, method == best) for method in methods
    ]


def best_of(means: Mapping[str, float], best: Best | None) -> str | None:
    """Return the method with the best mean of several; None if two are equal."""
    if best is None or len(means) < 2:
        return None
    order = {method: -mean if best == "max" else abs(mean) for method, mean in means.items()}
    first, second = sorted(order, key=lambda method: order[method])[:2]
    return None if math.isclose(order[first], order[second], abs_tol=1e-9) else first


def _count(comparison: Comparison, name: str, column: Column) -> str:
    counts = comparison.values(name, data=column.data, suite=column.suite)
    return f"{next(iter(next(iter(counts.values())).values())):,.0f}" if counts else ""


def spread_note(counts: Iterable[int]) -> str:
    """Return what the cells of a table show, if they summarise so many runs each."""
    counts = set(counts)
    if max(counts, default=0) < 2:
        return f"One run of each method: {NOT_ENOUGH} for a deviation."
    single = f"; the value of a single run ({NOT_ENOUGH})" if 1 in counts else ""
    return f"Mean \N{PLUS-MINUS SIGN} standard deviation over seeds{single}."


CALIBRATION = MethodTable(
    "calibration",
    "Calibration",
    (
        Column("ECE (%)", "ece", best="min"),
        Column("ECE, equal mass (%)", "ece_mass", best="min"),
        Column("ECE, class-wise (%)", "class_wise", best="min"),
        Column("Max error (%)", "mce", decimals=1, best="min"),
        Column("Brier score", "brier", scale=1, decimals=3, best="min"),
        Column("NLL (nats)", "nll", scale=1, decimals=3, best="min"),
        Column("Overconfidence (points)", "overconfidence", best="min"),
        Column("Temperature", "temperature", scale=1),
        Column("ECE, scaled (%)", "ece_scaled", best="min"),
        Column("NLL, scaled (nats)", "nll_scaled", scale=1, decimals=3, best="min"),
    ),
    "{spread} ECE: expected calibration error with 15 bins (of equal width, of equal mass, of each class). Overconfidence: mean confidence "
    "minus accuracy; a network above 0 is overconfident, one below 0 underconfident. Scaled: after its logits are divided by the "
    f"temperature that fits the validation images. {SMALLEST}; of overconfidence the value nearest to 0.",
)

CLASS_CALIBRATION = ConditionTable(
    "class-calibration",
    "Expected calibration error (ECE) of each class (%)",
    "Class",
    lambda comparison: comparison.classes,
    "ECE of the probability of the class, with 15 bins of equal width; mean over seeds.",
    metric="class_ece",
    best="min",
)

CONFIDENCE = MethodTable(
    "confidence",
    "Errors and confidence",
    (
        Column("Error (%)", "error", best="min"),
        Column("Top-5 error (%)", "top5_error", best="min", optional=True),
        *(Column(f"Errors above confidence {low:g} (%)", f"errors_above_{low:g}", best="min") for low in SURE),
        Column(f"Error rate above {SURE[0]:g} (%)", "error_rate", "confidence above", SURE[0], best="min"),
        Column("AURC (%)", "aurc", best="min"),
        *(
            Column(f"Error rate at {100 * share:.0f} % coverage (%)", "error_rate", "coverage", share, best="min")
            for share in COVERAGES
        ),
    ),
    "In percent of all test images; an error rate is in percent of the predictions above a confidence, or of the most confident ones that "
    "cover a share of the images. {spread} AURC: area under the risk-coverage curve, the mean error rate over all coverages. "
    f"{SMALLEST}.",
)

LEVEL_TABLE = MethodTable(
    "levels",
    "Error rate at each level of confidence (%)",
    tuple(
        Column(f"{low:g} to {high:g}", "error_rate", "confidence", low, decimals=1) for low, high in pairwise(LEVELS)
    ),
    "Error rate of the predictions whose confidence is above the first number and at most the second. {spread}",
)


def corruption_table(suite: str, name: str) -> MethodTable:
    """Return the table of accuracy on a suite of corrupted images, and of errors relative to vanilla with the same seed."""
    groups = {"Clean (%)": "clean", "All (%)": "all", **{f"{group.capitalize()} (%)": group for group in GROUPS}}
    accuracies = [Column(heading, "accuracy", group, suite=suite, best="max") for heading, group in groups.items()]
    return MethodTable(
        name,
        f"Accuracy on corrupted images ({suite})",
        (*accuracies, Column(f"mCE, {PLAIN} = 100", "mce", "all", suite=suite, decimals=1)),
        "{images} test images; each corruption and each severity has the same weight. {spread} mCE: mean over corruptions of the error "
        f"rate divided by that of {PLAIN} with the same seed, in percent.",
    )


def each_corruption_table(suite: str, name: str) -> ConditionTable:
    """Return the table of accuracy on each corruption of a suite."""

    def corruptions(comparison: Comparison) -> list[str]:
        records = comparison.select(data="", suite=suite, severity=None, metric="accuracy")
        return [
            name
            for name in dict.fromkeys(record.condition for record in records)
            if name not in ("clean", "all", *GROUPS)
        ]

    note = "Mean over severities and seeds."
    return ConditionTable(name, "Accuracy on each corruption (%)", "Corruption", corruptions, note, suite=suite)


def _attack_columns(comparison: Comparison) -> list[Column]:
    attacks = {
        (record.condition, record.severity) for record in comparison.select(data="", suite="attacks", metric="accuracy")
    }

    def strength(attack: tuple[str, float]) -> tuple[int, float]:
        steps = attack[0].rpartition("-")[2]
        return int(steps) if steps.isdecimal() else 1, attack[1]

    ordered = sorted(((name, eps) for name, eps in attacks if eps is not None), key=strength)
    headings = [f"{name.upper()}, {255 * eps:.3g}/255 (%)" for name, eps in ordered]
    columns = [
        Column(heading, "accuracy", *attack, "attacks") for heading, attack in zip(headings, ordered, strict=True)
    ]
    return [Column("Clean (%)", "accuracy", "clean", suite="attacks"), *columns]


ATTACKS = MethodTable(
    "attacks",
    "Accuracy under attack",
    _attack_columns,
    "{images} test images, each value changed by at most the given number of grey levels (L-infinity norm). {spread}",
)

OBJECTS = MethodTable(
    "background",
    "Accuracy with other backgrounds and hidden objects",
    (
        *(Column(f"{title} (%)", "accuracy", name, suite="objects") for name, title in CONDITIONS.items()),
        Column("Drop after the swap (points)", "swap_loss", suite="objects"),
    ),
    "The same {images} test images in each column ({left_out} more have no usable mask). Background swapped: the object on an image of "
    "another class. Hidden: painted over with the mean colour. {spread}",
)

OTHER_DATA = MethodTable(
    "other-data",
    "Accuracy on other data sets",
    lambda comparison: [Column(f"{data_name(data)} (%)", data=data) for data in comparison.other_data],
    "The same networks, evaluated on the classes that both data sets have. {spread}",
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
