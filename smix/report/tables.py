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

from smix.evaluation.bootstrap import ImageBootstrap, bootstrap_over_images
from smix.evaluation.confidence import LEVELS, SURE
from smix.evaluation.corruptions.suite import GROUPS
from smix.evaluation.statistics import NOT_ENOUGH, Difference, Summary, interval, verdict
from smix.progress import duration
from smix.report.reading import data_name
from smix.report.records import (
    COVERAGES,
    PLAIN,
    Comparison,
    ReportAssets,
    Row,
    best_rows,
    by_method,
    differences,
    rows_of,
)
from smix.report.table import UNKNOWN, Cell, Table, number, over_seeds, p_value
from smix.training.records import Run

T = TypeVar("T")
Best = Literal["max", "min"]
NONE = "none possible"
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
        values = {column: found for column, found in values.items() if found or not column.optional}
        methods = [method for method in comparison.methods if any(method in found for found in values.values())]
        if not methods:
            return None
        counts = {method: max(len(found.get(method, ())) for found in values.values()) for method in methods}
        cells = [_column_cells(comparison, column, found, methods) for column, found in values.items()]
        labels = [Cell(comparison.label(method, count)) for method, count in counts.items()]
        spread = spread_note(len(seeds) for found in values.values() for seeds in found.values())
        images, left_out = (_count(comparison, name, columns[0]) for name in ("images", "left_out"))
        note = self.note.format(spread=spread, images=images, left_out=left_out)
        head = ("Method", *(column.heading for column in values))
        return Table(self.name, self.title, head, tuple(zip(labels, *cells, strict=True)), note)


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


def each_corruption_table(suite: str, name: str) -> Callable[[Comparison, ReportAssets], Table | None]:
    """Return the table with a row per corruption and a column per method: accuracy, the mean over severities and seeds."""

    def table(comparison: Comparison, assets: ReportAssets) -> Table | None:
        clean = comparison.values("accuracy", suite=suite, condition="clean")
        records = comparison.select(data="", suite=suite, severity=None, metric="accuracy")
        names = dict.fromkeys(one.condition for one in records if one.condition not in ("clean", "all", *GROUPS))
        rows = []
        for corruption in names:
            values = comparison.values("accuracy", suite=suite, condition=corruption)
            means = {method: fmean(seeds.values()) for method, seeds in values.items()}
            best = best_of({m: mean for m, mean in means.items() if len(values[m]) == comparison.planned}, "max")
            cells = (number(means.get(method, math.nan), 1, 100, best=method == best) for method in clean)
            rows.append((Cell(corruption), *cells))
        head = ("Corruption", *(comparison.label(method, len(seeds)) for method, seeds in clean.items()))
        title, note = "Accuracy on each corruption (%)", "Mean over severities and seeds."
        return Table(name, title, head, tuple(rows), note) if rows else None

    return table


def _attack_columns(comparison: Comparison) -> list[Column]:
    attacks = {(one.condition, one.severity) for one in comparison.select(data="", suite="attacks", metric="accuracy")}

    def strength(attack: tuple[str, float]) -> tuple[int, float]:
        steps = attack[0].rpartition("-")[2]
        return int(steps) if steps.isdecimal() else 1, attack[1]

    ordered = sorted(((name, eps) for name, eps in attacks if eps is not None), key=strength)
    headings = [f"{name.upper()}, {255 * eps:.3g}/255 (%)" for name, eps in ordered]
    columns = [Column(heading, "accuracy", *one, "attacks") for heading, one in zip(headings, ordered, strict=True)]
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
        Column("Unchanged (%)", "accuracy", "clean", suite="objects"),
        Column("Background swapped (%)", "accuracy", "swapped", suite="objects"),
        Column("Drop after the swap (points)", "swap_loss", suite="objects"),
        Column("Object hidden (%)", "accuracy", "object_hidden", suite="objects"),
        Column("Background hidden (%)", "accuracy", "background_hidden", suite="objects"),
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


def accuracy_table(runs: Sequence[Run], intervals: bool = True) -> Table:
    """Return the table of test accuracy: one row per method.

    Args:
        intervals: Append the confidence interval of the mean, which makes the table wider than a terminal of 80 columns.
    """
    rows = rows_of(runs)
    best = [rows[place] for place in best_rows(rows)]
    columns: dict[str, Callable[[Row], Cell]] = {
        "Method": lambda row: Cell(row.method),
        "Mean (%)": lambda row: number(row.accuracy.mean, best=row in best),
        "Std Dev (%)": lambda row: Cell(NOT_ENOUGH) if row.finished == 1 else number(row.accuracy.std),
        "Runs": lambda row: Cell(row.count, row.finished if row.complete else None),
        "Min (%)": lambda row: number(row.accuracy.minimum),
        "Max (%)": lambda row: number(row.accuracy.maximum),
        "Time per run": lambda row: duration_cell(row.seconds),
    }
    note = "Accuracy on the test split at the last epoch. Standard deviation over seeds, with n - 1."
    if intervals:
        columns["95 % interval (%)"] = lambda row: _interval_cell(row.accuracy)
        note += " Interval: of the mean over seeds, by Student's t."
    if not all(row.complete for row in rows):
        note += " Methods that lack runs (n of N) are not compared: the missing runs may be the bad ones."
    table = listing("accuracy", "Test accuracy", columns, rows, note)
    assert table is not None, "there is at least one run"
    return table


def _interval_cell(accuracy: Summary) -> Cell:
    if accuracy.count < 2:
        return Cell(NOT_ENOUGH if accuracy.count else UNKNOWN)
    low, high = interval(accuracy)
    return Cell(f"{low:.1f} to {high:.1f}")


def range_cell(low: float, high: float) -> Cell:
    """Return a cell such as "-0.12 to +0.34"; a dash for NaN."""
    return Cell(f"{low:+.2f} to {high:+.2f}" if math.isfinite(low) else UNKNOWN)


def duration_cell(seconds: float) -> Cell:
    """Return a cell such as "1 min 1 s"; a dash for NaN."""
    return Cell(UNKNOWN) if math.isnan(seconds) else Cell(duration(seconds), seconds)


def pairs(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return the table of every pair of methods: mean difference, test, and the difference that could have been detected."""
    columns: dict[str, Callable[[Difference], Cell]] = {
        "Difference": lambda pair: Cell(f"{pair.first} - {pair.second}"),
        "Mean (points)": lambda pair: number(pair.mean, sign=True),
        "95 % interval": lambda pair: range_cell(pair.low, pair.high),
        "Seeds": lambda pair: Cell(str(pair.count), pair.count),
        "p": lambda pair: _p_cell(pair.p),
        "p, Holm-corrected": lambda pair: _p_cell(pair.p_corrected),
        "The first is": lambda pair: Cell(verdict(pair)),
        "Detectable (points)": lambda pair: Cell(NONE) if pair.detectable > 100 else number(pair.detectable),
    }
    note = (
        "Paired t-tests over seeds, in percentage points of test accuracy, corrected by Holm's method over all pairs; intervals are "
        "of each pair alone. Detectable: the smallest true difference that so many seeds find with probability 0.8; "
        f"{NONE}: it would be above 100 points."
    )
    return listing("pairs", "Every pair of methods", columns, differences(comparison.runs), note)


def _p_cell(p: float) -> Cell:
    return Cell(NOT_ENOUGH) if math.isnan(p) else Cell(p_value(p), p)


def runs(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return the table with one row per run, finished or not."""

    def result(run: Run, name: str, decimals: int = 2, scale: float = 1) -> Cell:
        return number(getattr(run.result, name), decimals, scale) if run.result else Cell(UNKNOWN)

    columns: dict[str, Callable[[Run], Cell]] = {
        "Run": lambda run: Cell(run.path.name),
        "Method": lambda run: Cell(run.config.method),
        "Seed": lambda run: Cell(str(run.config.seed), run.config.seed),
        "Test accuracy (%)": lambda run: result(run, "test_accuracy", scale=100),
        "Test loss": lambda run: result(run, "test_loss", 3),
        "Validation accuracy (%)": lambda run: result(run, "val_accuracy", scale=100),
        "Epochs": lambda run: Cell(f"{len(run.metrics)} of {run.config.epochs}", len(run.metrics)),
        "Images seen": lambda run: result(run, "images_seen", 0),
        "Seconds": lambda run: result(run, "seconds", 0),
        "Device": lambda run: Cell(run.result.device if run.result else UNKNOWN),
    }
    rows = [run for own in by_method(comparison.runs).values() for run in own]
    note = "Seconds of training and validation. Loss: cross-entropy, in nats."
    return listing("runs", "Every run", columns, rows, note)


def test_images(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return how precisely the test images determine the difference from vanilla, for one pair of networks of each method."""
    rows = []
    plain = comparison.scores_of(PLAIN) if PLAIN in comparison.methods else {}
    for method in comparison.methods:
        own = comparison.scores_of(method)
        if method != PLAIN and (seeds := sorted(own.keys() & plain.keys())):
            seed = seeds[0]
            difference = bootstrap_over_images(own[seed].correct, plain[seed].correct)
            rows.append((comparison.label(method, len(seeds)), seed, difference))
    columns: dict[str, Callable[[tuple[str, int, ImageBootstrap]], Cell]] = {
        "Method": lambda row: Cell(row[0]),
        "Seed": lambda row: Cell(str(row[1]), row[1]),
        "Difference (points)": lambda row: number(row[2].mean, 2, 100, sign=True),
        "95 % interval over test images": lambda row: range_cell(100 * row[2].low, 100 * row[2].high),
    }
    note = (
        "Bootstrap over test images: how much the difference of these two networks would change with other test images. Another seed "
        "gives other networks, so this is no evidence for a method."
    )
    title = f"Over test images only: difference from {PLAIN} of one pair of networks"
    return listing("test-images", title, columns, rows, note)


def across_table(comparisons: Sequence[Comparison], names: Sequence[str]) -> Table:
    """Return the overview of several comparisons: methods down, data sets across."""
    rows = [{row.method: row for row in rows_of(comparison.runs)} for comparison in comparisons]
    best = [[list(column)[place] for place in best_rows(list(column.values()))] for column in rows]
    cells = [
        {method: _across_cell(comparison, row, method in winners) for method, row in column.items()}
        for comparison, column, winners in zip(comparisons, rows, best, strict=True)
    ]
    methods = by_method([run for comparison in comparisons for run in comparison.runs])
    return Table(
        "data-sets",
        "Test accuracy on each data set (%)",
        ("Method", *names),
        tuple((Cell(method), *(column.get(method, Cell(UNKNOWN)) for column in cells)) for method in methods),
        f"{spread_note(row.finished for column in rows for row in column.values())} The highest mean is in bold, whether or not the "
        "difference is statistically significant. A method that lacks runs (n of N) shows the mean of the others and is never the best.",
    )


def _across_cell(comparison: Comparison, row: Row, best: bool) -> Cell:
    values = comparison.values("test_accuracy").get(row.method, {})
    cell = over_seeds(values.values(), scale=100, best=best)
    text = cell.text if row.complete or cell.text == UNKNOWN else f"{cell.text} ({row.count})"
    return Cell(text, cell.value, cell.deviation, cell.best)
