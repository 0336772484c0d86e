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

from smix.evaluation.bootstrap import bootstrap_over_images
from smix.evaluation.confidence import LEVELS, SURE
from smix.evaluation.corruptions.suite import GROUPS
from smix.evaluation.statistics import NOT_ENOUGH, Summary, interval, verdict
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
Best = Literal["max", "min", "zero"]
NO_RUNS = Summary(math.nan, math.nan, 0, math.nan, math.nan)
GAPS = "The smallest value is in bold, whether or not the difference is statistically significant"


@dataclass(frozen=True)
class Column:
    """A column of a table of methods: a query of the records, see `smix.report.records.Record`, and the format of its values."""

    heading: str
    metric: str = "accuracy"
    data: str = ""
    suite: str = ""
    condition: str = ""
    severity: float | None = None
    scale: float = 100
    """Factor of the values: 100 turns shares into percentages."""
    decimals: int = 2
    best: Best | None = None
    """The mean in bold: the largest, the smallest, or that nearest to zero. None: no value is better than another."""
    optional: bool = False
    """True: left out if no run has a value."""
    counted: bool = True
    """False: it may have fewer values than the method has runs, such as those relative to vanilla."""

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
        counts = {method: _runs_behind(method, values) for method in methods}
        cells = [_column_cells(comparison, column, found, methods) for column, found in values.items()]
        labels = [Cell(comparison.label(method, count)) for method, count in counts.items()]
        spread = spread_note(len(seeds) for found in values.values() for seeds in found.values())
        images, left_out = (_count(comparison, name, columns[0]) for name in ("images", "left_out"))
        note = self.note.format(spread=spread, images=images, left_out=left_out)
        head = ("Method", *(column.heading for column in values))
        return Table(self.name, self.title, head, tuple(zip(labels, *cells, strict=True)), note)


def _runs_behind(method: str, values: Mapping[Column, Mapping[str, Mapping[int, float]]]) -> int:
    """Return how many runs of a method every counted column has at least; if none is counted, how many any column has."""
    counted = [len(found[method]) for column, found in values.items() if method in found and column.counted]
    return min(counted) if counted else max(len(found.get(method, ())) for found in values.values())


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
        Column("Overconfidence (points)", "overconfidence", best="zero"),
        Column("Temperature", "temperature", scale=1, counted=False),
        Column("ECE, scaled (%)", "ece_scaled", best="min", counted=False),
        Column("NLL, scaled (nats)", "nll_scaled", scale=1, decimals=3, best="min", counted=False),
    ),
    "{spread} ECE: expected calibration error with 15 bins (of equal width, of equal mass, of each class). Overconfidence: mean confidence "
    "minus accuracy; a network above 0 is overconfident, one below 0 underconfident. Scaled: after its logits are divided by the "
    f"temperature that fits the validation images. {GAPS}; of overconfidence the value nearest to 0.",
)

CONFIDENCE = MethodTable(
    "confidence",
    "Errors and confidence",
    (
        Column("Error (%)", "error", best="min"),
        Column("Top-5 error (%)", "top5_error", best="min", optional=True),
        *(Column(f"Errors above confidence {low:g} (%)", f"errors_above_{low:g}", best="min") for low in SURE),
        Column(
            f"Error rate above confidence {SURE[0]:g} (%)",
            "error_rate",
            condition="confidence above",
            severity=SURE[0],
            best="min",
            counted=False,
        ),
        Column("AURC (%)", "aurc", best="min"),
        *(
            Column(
                f"Error rate of the most confident {100 * share:.0f} % (%)",
                "error_rate",
                condition="coverage",
                severity=share,
                best="min",
            )
            for share in COVERAGES
        ),
    ),
    "In percent of all test images; an error rate is in percent of the predictions that its heading names. {spread} AURC: area under the "
    f"risk-coverage curve, the mean error rate over all coverages. {GAPS}.",
)

LEVEL_TABLE = MethodTable(
    "levels",
    "Error rate at each level of confidence (%)",
    tuple(
        Column(f"{low:g} to {high:g}", "error_rate", condition="confidence", severity=low, decimals=1, counted=False)
        for low, high in pairwise(LEVELS)
    ),
    "Error rate of the predictions whose confidence is above the first number and at most the second. {spread}",
)


def corruption_table(suite: str, name: str) -> MethodTable:
    """Return the table of accuracy on a suite of corrupted images, and of errors relative to vanilla with the same seed."""
    columns = (
        Column("Clean (%)", suite=suite, condition="clean", best="max"),
        Column("All (%)", suite=suite, condition="all", best="max"),
        *(Column(f"{group.capitalize()} (%)", suite=suite, condition=group, best="max") for group in GROUPS),
        Column("mCE, vanilla = 100", "mce", suite=suite, condition="all", decimals=1, counted=False),
    )
    note = (
        "{images} test images; each corruption and each severity has the same weight. {spread} mCE: mean over corruptions of the error "
        "rate divided by that of vanilla with the same seed, in percent."
    )
    return MethodTable(name, f"Accuracy on corrupted images ({suite})", columns, note)


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
    strength = sorted(
        ((name, eps) for name, eps in attacks if eps is not None),
        key=lambda attack: (int(attack[0].rpartition("-")[2]) if "-" in attack[0] else 1, attack[1]),
    )
    return [
        Column("Clean (%)", suite="attacks", condition="clean"),
        *(
            Column(
                f"{name.upper()}, {255 * eps:.3g}/255 (%)", suite="attacks", condition=name, severity=eps, counted=False
            )
            for name, eps in strength
        ),
    ]


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
        Column("Unchanged (%)", suite="objects", condition="clean"),
        Column("Background swapped (%)", suite="objects", condition="swapped"),
        Column("Drop after the swap (points)", "swap_loss", suite="objects"),
        Column("Object hidden (%)", suite="objects", condition="object_hidden"),
        Column("Background hidden (%)", suite="objects", condition="background_hidden"),
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
    best = [rows[place].method for place in best_rows(rows)]
    columns: dict[str, Callable[[Row], Cell]] = {
        "Method": lambda row: Cell(row.method),
        "Mean (%)": lambda row: number((row.accuracy or NO_RUNS).mean, best=row.method in best),
        "Std Dev (%)": lambda row: Cell(NOT_ENOUGH) if row.finished == 1 else number((row.accuracy or NO_RUNS).std),
        "Runs": lambda row: Cell(row.count, row.finished if row.complete else None),
        "Min (%)": lambda row: number((row.accuracy or NO_RUNS).least),
        "Max (%)": lambda row: number((row.accuracy or NO_RUNS).most),
        "Time per run": lambda row: duration_cell(row.seconds),
    }
    note = "Accuracy on the test split at the last epoch. Standard deviation over seeds, with n - 1."
    if intervals:
        columns["95 % interval (%)"] = lambda row: _interval_cell(row.accuracy or NO_RUNS)
        note += " Interval: of the mean over seeds, by Student's t."
    if not all(row.complete for row in rows):
        note += " Methods that lack runs (n of N) are not compared: the missing runs may be the bad ones."
    table = listing("accuracy", "Test accuracy", columns, rows, note)
    assert table is not None, "a comparison has a run"
    return table


def _interval_cell(accuracy: Summary) -> Cell:
    if accuracy.count < 2:
        return Cell(NOT_ENOUGH if accuracy.count else UNKNOWN)
    low, high = interval(accuracy)
    return Cell(f"{low:.1f} to {high:.1f}")


def duration_cell(seconds: float) -> Cell:
    """Return a cell such as "1 min 1 s"; a dash for NaN."""
    return Cell(UNKNOWN) if math.isnan(seconds) else Cell(duration(seconds), seconds)


def accuracy(comparison: Comparison, assets: ReportAssets) -> Table:
    """Return the table of test accuracy."""
    return accuracy_table(comparison.runs)


def pairs(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return the table of every pair of methods: mean difference, test, and the difference that could have been detected."""
    return listing(
        "pairs",
        "Every pair of methods",
        {
            "Difference": lambda pair: Cell(f"{pair.first} - {pair.second}"),
            "Mean (points)": lambda pair: number(pair.mean, sign=True),
            "95 % interval": lambda pair: Cell(
                UNKNOWN if math.isnan(pair.low) else f"{pair.low:+.2f} to {pair.high:+.2f}"
            ),
            "Seeds": lambda pair: Cell(str(pair.count), pair.count),
            "p": lambda pair: _p_cell(pair.p),
            "p, Holm-corrected": lambda pair: _p_cell(pair.p_corrected),
            "The first is": lambda pair: Cell(verdict(pair)),
            "Detectable (points)": lambda pair: (
                Cell("none possible") if pair.detectable > 100 else number(pair.detectable)
            ),
        },
        differences(comparison.runs),
        "Paired t-tests over seeds, in percentage points of test accuracy, corrected by Holm's method over all pairs; intervals are "
        "of each pair alone. Detectable: the smallest true difference that so many seeds find with probability 0.8; none possible: "
        "it would be above 100 points.",
    )


def _p_cell(p: float) -> Cell:
    return Cell(NOT_ENOUGH) if math.isnan(p) else Cell(p_value(p), p)


def runs(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return the table with one row per run, finished or not."""
    columns: dict[str, Callable[[Run], Cell]] = {
        "Run": lambda run: Cell(run.path.name),
        "Method": lambda run: Cell(run.config.method),
        "Seed": lambda run: Cell(str(run.config.seed), run.config.seed),
        "Test accuracy (%)": lambda run: number(run.result.test_accuracy if run.result else math.nan, scale=100),
        "Test loss": lambda run: number(run.result.test_loss if run.result else math.nan, 3),
        "Validation accuracy (%)": lambda run: number(run.result.val_accuracy if run.result else math.nan, scale=100),
        "Epochs": lambda run: Cell(f"{len(run.metrics)} of {run.config.epochs}", len(run.metrics)),
        "Images seen": lambda run: (
            Cell(f"{run.result.images_seen:,}", run.result.images_seen) if run.result else Cell(UNKNOWN)
        ),
        "Seconds": lambda run: number(run.result.seconds if run.result else math.nan, 0),
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
        if method == PLAIN or not (seeds := sorted(own.keys() & plain.keys())):
            continue
        seed = seeds[0]
        difference = bootstrap_over_images(own[seed].correct, plain[seed].correct)
        rows.append((comparison.label(method, len(seeds)), seed, difference))
    return listing(
        "test-images",
        f"Over test images only: difference from {PLAIN} of one pair of networks",
        {
            "Method": lambda row: Cell(row[0]),
            "Seed": lambda row: Cell(str(row[1]), row[1]),
            "Difference (points)": lambda row: number(row[2].mean, 2, 100, sign=True),
            "95 % interval over test images": lambda row: Cell(
                f"{100 * row[2].low:+.2f} to {100 * row[2].high:+.2f}" if math.isfinite(row[2].low) else UNKNOWN
            ),
        },
        rows,
        "Bootstrap over test images: how much the difference of these two networks would change with other test images. Another seed gives "
        "other networks, so this is no evidence for a method.",
    )


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
