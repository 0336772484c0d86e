"""Accuracy on corrupted and attacked images, on other data, and on images cut along their objects."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from smix.evaluation import cifar_c
from smix.evaluation.corruptions.suite import GROUPS, LABEL
from smix.paths import data_name
from smix.plots.charts import Chart, Curve, Estimate, Row, draw_rows, interval_rows, line_charts, rows_height
from smix.plots.layout import EDGE, Heading, sanitised, write
from smix.plots.style import looks
from smix.report.comparison import Comparison, ReportAssets, percentages
from smix.report.records import CONDITIONS
from smix.report.tables import BOLD, Column, MetricTable

MIN_SPAN = 5.0
"""Minimum span of an axis in points, so that small differences look small."""


def curves_of(means: Mapping[float, Mapping[str, float]]) -> dict[str, Curve]:
    """Return a curve for each method; `means[x][method]` is a value."""
    methods = next(iter(means.values()))
    points = {m: np.array([(x, values[m]) for x, values in means.items() if m in values]) for m in methods}
    return {method: Curve(*each.T) for method, each in points.items()}


@looks
def corruptions(comparison: Comparison, assets: ReportAssets, suite: str = LABEL) -> Figure | None:
    """Draw the accuracy by severity, mean over corruptions, and by corruption, mean over severities; mean over seeds.

    Returns None if no run was evaluated on this suite of corruptions.
    """
    clean = comparison.values("accuracy", suite=suite, condition="clean")
    if not clean:
        return None
    records = comparison.select(data="", suite=suite, metric="accuracy")

    def means(condition: str, severity: float | None = None) -> dict[str, float]:
        return percentages(comparison.values("accuracy", condition, severity, suite=suite))

    def row(label: str, accuracy: Mapping[str, float]) -> Row:
        return Row(label.replace("_", " "), [Estimate(assets.styles[m], accuracy.get(m, np.nan)) for m in clean])

    severities = sorted({one.severity for one in records if one.severity is not None})
    by_severity = {0.0: means("clean"), **{severity: means("all", severity) for severity in severities}}
    unknown = {one.condition for one in records if one.severity is not None} - {"all"}
    rows = [row("No corruption", means("clean"))]
    groups = {
        group.capitalize(): (*names, extra) for (group, names), extra in zip(GROUPS.items(), cifar_c.EXTRA, strict=True)
    }
    for group, names in {**groups, "Other": tuple(sorted(unknown - set().union(*groups.values())))}.items():
        known = [row(name, means(name)) for name in names if name in unknown]
        rows += [Row(group), *known] if known else []
    heading = Heading("Accuracy on corrupted images", f"In percent, on {sanitised(suite)}; mean over seeds.")
    title, axis = "By severity, mean over all corruptions", "Severity (0: no corruption)"
    chart = Chart(curves_of(by_severity), axis, title, integer=True, settings={"xmargin": 0.02, "ymargin": 0.06})
    below = 0.35 + rows_height(rows)
    drawing = line_charts(heading, [chart], comparison.labels(clean), assets.styles, 2.4, below)
    top = drawing.get_figheight() - below
    write(drawing, EDGE, top + 0.12, "By corruption, mean over severities")
    draw_rows(drawing, top + 0.35, rows, "Accuracy (%)")
    return drawing


official_corruptions = partial(corruptions, suite=cifar_c.LABEL)


@looks
def attacks(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the accuracy by the size of an attack, one chart for each attack, mean over seeds. None without attacks."""
    clean = comparison.values("accuracy", suite="attacks", condition="clean")
    sizes: dict[str, set[float]] = {}
    for one in comparison.select(data="", suite="attacks", metric="accuracy"):
        if one.severity is not None:
            sizes.setdefault(one.condition, set()).add(one.severity)
    if not sizes:
        return None
    charts = []
    for attack in sorted(sizes):
        by_size: dict[float, dict[str, float]] = {0.0: {}}
        for eps in sorted(sizes[attack]):
            values = comparison.values("accuracy", suite="attacks", condition=attack, severity=eps)
            by_size[255 * eps] = percentages(values)
            by_size[0.0] |= percentages({m: {seed: clean[m][seed] for seed in seeds} for m, seeds in values.items()})
        name, _, steps = attack.partition("-")
        title = sanitised(name).upper() + (f", {steps} steps" if steps else "")
        limits = {"xlim": (0, None), "ylim": (0, None)}
        charts.append(Chart(curves_of(by_size), "Maximum change of a pixel value (of 255)", title, settings=limits))
    note = "In percent, by the maximum change of a pixel value; mean over seeds. White-box attacks on each model."
    return line_charts(Heading("Accuracy under attack", note), charts, comparison.labels(clean), assets.styles, 2.4)


@looks
def objects(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the accuracy with the object on another background and with either of them hidden; None if not measured."""
    images = comparison.values("images", suite="objects")
    if not images:
        return None
    charts: dict[str, list[Row]] = {}
    for condition, title in CONDITIONS.items():
        charts[title] = []
        values = comparison.values("accuracy", suite="objects", condition=condition)
        labels = comparison.labels(values)
        for method, mean in percentages(values).items():
            seeds = [100 * value for value in values[method].values()]
            estimate = Estimate(assets.styles[method], mean, min(seeds), max(seeds))
            charts[title].append(Row(labels[method], [estimate], f"{mean:.1f}"))
    count = int(max(value for seeds in images.values() for value in seeds.values()))
    heading = Heading(
        "Objects and backgrounds",
        f"Accuracy in percent on the {count:,} images with a usable mask. Mark: mean over seeds; line: their range. All charts have "
        "the same scale.",
    )
    return interval_rows(heading, charts, min_span=MIN_SPAN)


def corruption_tables(suite: str, ending: str = "") -> tuple[MetricTable, MetricTable]:
    """Return the tables of accuracy on a suite of corrupted images: by group, with the errors relative to vanilla, and by corruption.

    Args:
        suite: Label of the suite.
        ending: Appended to the names of the tables.
    """
    groups = [Column(heading=f"{group.capitalize()} (%)", condition=group) for group in ("clean", "all", *GROUPS)]
    note = (
        "{images} test images; each corruption and each severity has the same weight. {spread} mCE: mean over corruptions of the error "
        f"rate divided by that of vanilla with the same seed, in percent. {BOLD}."
    )
    title = f"Accuracy on corrupted images ({suite})"
    columns = (*groups, Column("corruption_error", condition="all"))

    def corruptions(comparison: Comparison) -> list[Column]:
        records = comparison.select(data="", suite=suite, severity=None, metric="accuracy")
        names = dict.fromkeys(record.condition for record in records)
        return [Column(heading=name, condition=name) for name in names if name not in ("clean", "all", *GROUPS)]

    means, each_title = f"Mean over severities and seeds. {BOLD}.", "Accuracy on each corruption (%)"
    return (
        MetricTable(f"corruptions{ending}", title, columns, note, suite),
        MetricTable(f"each-corruption{ending}", each_title, corruptions, means, suite, across="Corruption"),
    )


def _attack_columns(comparison: Comparison) -> list[Column]:
    records = comparison.select(data="", suite="attacks", metric="accuracy")
    attacks = {(record.condition, record.severity) for record in records if record.severity is not None}

    def strength(attack: tuple[str, float]) -> tuple[int, float]:
        steps = attack[0].rpartition("-")[2]
        return int(steps) if steps.isdecimal() else 1, attack[1]

    columns = [
        Column("accuracy", f"{name.upper()}, {255 * eps:.3g}/255 (%)", name, eps)
        for name, eps in sorted(attacks, key=strength)
    ]
    return [Column(heading="Clean (%)", condition="clean"), *columns]


ATTACKS = MetricTable(
    "attacks",
    "Accuracy under attack",
    _attack_columns,
    "{images} test images, each value changed by at most the given number of grey levels (L-infinity norm). {spread} "
    + BOLD
    + ".",
    "attacks",
)

OBJECTS = MetricTable(
    "background",
    "Accuracy with other backgrounds and hidden objects",
    (*(Column(heading=f"{title} (%)", condition=name) for name, title in CONDITIONS.items()), Column("swap_loss")),
    "The same {images} test images in each column ({left_out} more have no usable mask). Background swapped: the object on an image of "
    "another class. Hidden: painted over with the mean colour. {spread}",
    "objects",
    bold=False,
)


def _other_data_columns(comparison: Comparison) -> list[Column]:
    names = {record.data for record in comparison.select(suite="", metric="accuracy")} - {""}
    return [Column(heading=f"{data_name(name)} (%)", data=name) for name in sorted(names)]


OTHER_DATA = MetricTable(
    "other-data",
    "Accuracy on other data sets",
    _other_data_columns,
    "The same networks, evaluated on the classes that both data sets have. {spread} " + BOLD + ".",
)
