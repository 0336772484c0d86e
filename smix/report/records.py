"""The data model of a report: a comparison is a set of runs and one flat list of records.

A record is one number of one run: its metric, and the data set, suite, condition and severity that it was measured under. Tables and
figures are queries of these records, so that a new metric is one more row here and one more column there.

| measured on | data | suite | condition | severity | metrics |
|---|---|---|---|---|---|
| result of the run | "" | "" | "" | None | test_accuracy, test_loss, val_accuracy, seconds, images_seen |
| predictions for the test split | "" | "" | "" | None | `smix.evaluation.scores.Scores.numbers`, error, top5_error |
| the same, by confidence | "" | "" | "confidence" | lower bound | error_rate |
| the same, above a confidence | "" | "" | "confidence above" | threshold | error_rate |
| the most confident share | "" | "" | "coverage" | share | error_rate |
| the images of one class | "" | "" | name of the class | None | class_accuracy |
| another data set | its name | "" | "" | None | `smix.evaluation.records.Evaluation.numbers` |
| corrupted images | "" or name | label | corruption, group, "all", "clean" | 1, 2, ...; None: mean | accuracy, corruption_error |
| attacked images | "" or name | "attacks" | attack, "clean" | eps, for images in [0, 1] | accuracy |
| images cut along their masks | "" or name | "objects" | field of `ObjectAccuracies` | None | accuracy, swap_loss |

Each suite also has the metric `images`, its number of images, and "objects" has `left_out`. Shares are in [0, 1]. Numbers
that are not finite are not recorded.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from smix.data.sets import ImageSet
from smix.errors import SmixError
from smix.evaluation.cifar_c import mean_corruption_error
from smix.evaluation.confidence import LEVELS
from smix.evaluation.corruptions.suite import GROUPS
from smix.evaluation.records import Attacked, Corrupted, Evaluation, ObjectAccuracies, errors_of
from smix.evaluation.scores import Scores
from smix.evaluation.statistics import Difference, Summary, compare_pairs, summary
from smix.mixing import METHODS
from smix.plots.style import PLAIN as PLAIN
from smix.plots.style import Style
from smix.report.cautions import Caution, cautions_of
from smix.report.masks import JudgedMasks
from smix.reprs import short_repr
from smix.training.records import Run
from smix.training.samples import Samples

COVERAGES = (0.8, 0.5)
"""Shares of the test images, the most confident first, whose errors are records."""
Number = tuple[str, float, str, float | None]
"""Metric, value, condition and severity of a record."""
Condition = tuple[str, str, str, float | None, str]
"""Data set, suite, condition, severity and metric of a record."""
CONDITIONS = {
    "clean": "Unchanged",
    "swapped": "Background swapped",
    "object_hidden": "Object hidden",
    "background_hidden": "Background hidden",
}
"""Conditions of the suite "objects", and their names in tables and figures."""


Best = Literal["max", "min", "zero"]


@dataclass(frozen=True)
class Metric:
    """Heading, format and direction of a metric."""

    heading: str
    """Heading of a column and label of an axis, with the unit."""
    best: Best | None = None
    """Best value: the largest, the smallest, or the nearest to 0. None: no value is better than another."""
    scale: float = 100
    """Factor of the values: 100 turns shares into percentages."""
    decimals: int = 2


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric("Accuracy (%)", "max"),
    "top5": Metric("Top-5 accuracy (%)", "max"),
    "error": Metric("Error (%)", "min"),
    "top5_error": Metric("Top-5 error (%)", "min"),
    "confidence": Metric("Mean confidence (%)"),
    "overconfidence": Metric("Overconfidence (points)", "zero"),
    "ece": Metric("ECE (%)", "min"),
    "ece_mass": Metric("ECE, equal mass (%)", "min"),
    "class_wise": Metric("ECE, class-wise (%)", "min"),
    "mce": Metric("Max error (%)", "min", decimals=1),
    "brier": Metric("Brier score", "min", 1, 3),
    "nll": Metric("NLL (nats)", "min", 1, 3),
    "temperature": Metric("Temperature", scale=1),
    "ece_scaled": Metric("ECE, scaled (%)", "min"),
    "nll_scaled": Metric("NLL, scaled (nats)", "min", 1, 3),
    "errors_above_0.9": Metric("Errors above confidence 0.9 (%)", "min"),
    "errors_above_0.99": Metric("Errors above confidence 0.99 (%)", "min"),
    "error_rate": Metric("Error rate (%)", "min"),
    "aurc": Metric("AURC (%)", "min"),
    "class_accuracy": Metric("Accuracy (%)", "max", decimals=1),
    "class_ece": Metric("ECE (%)", "min", decimals=1),
    "corruption_error": Metric("mCE, vanilla = 100", "min", decimals=1),
    "swap_loss": Metric("Drop after the swap (points)", "min"),
    "test_accuracy": Metric("Test accuracy (%)", "max"),
    "test_loss": Metric("Test loss", "min", 1, 3),
    "val_accuracy": Metric("Validation accuracy (%)", "max"),
    "images_seen": Metric("Images seen", None, 1, 0),
    "seconds": Metric("Seconds", None, 1, 0),
}
"""Metrics by their names in records, evaluations and results, in the order in which the terminal shows them."""


@dataclass(frozen=True, slots=True)
class Record:
    """One number of one run."""

    method: str
    seed: int
    data: str
    """Data set of the images; empty: the test split of the comparison."""
    suite: str
    """Label of a corruption suite, "attacks" or "objects"; empty: the images as they are."""
    condition: str
    """Corruption, attack, class or kind of subset; empty: all images of the suite."""
    severity: float | None
    """Severity of a corruption, size of an attack, or confidence level; None: not applicable, or the mean over all."""
    metric: str
    value: float
    """Finite. Shares are in [0, 1]."""


@dataclass(frozen=True)
class Problem:
    """A run, or a part of one, that is left out of the report."""

    path: Path
    why: str
    """One line: what was expected, what was found, and what to do."""


@dataclass(frozen=True)
class MethodSummary:
    """Test accuracy of one method."""

    method: str
    finished: int
    """Number of finished runs."""
    planned: int
    """Number of seeds that any method of the comparison has."""
    accuracy: Summary
    """Test accuracy of the finished runs, in percent; NaN without any."""
    seconds: float
    """Mean time of the finished runs; NaN without any."""

    @property
    def complete(self) -> bool:
        """True if all planned runs are finished. Otherwise the mean is shown but not compared: the missing runs may be the bad ones."""
        return self.finished == self.planned

    @property
    def count(self) -> str:
        """Number of runs as text, such as "2 of 3"."""
        return str(self.finished) if self.complete else f"{self.finished} of {self.planned}"


@dataclass(frozen=True)
class AccuracySummary:
    """Test accuracy of the methods, and what can be concluded from it."""

    methods: Sequence[MethodSummary]
    """One per method, in display order."""
    best: Sequence[MethodSummary]
    """Methods with the highest mean: several if they are equal, none if no method is complete or there are cautions."""
    pairs: Sequence[Difference]
    """Every pair of complete methods, compared in percentage points."""
    cautions: Sequence[Caution] = ()
    """Reasons why the comparison is too small to name a best method: see `smix.report.cautions`."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs that differ only in method and seed, prepared once by `prepare` for all tables and figures."""

    name: str
    """Name of the data set, without the path of its file."""
    folder: Path
    runs: Sequence[Run]
    """Finished and unfinished runs; unfinished ones count as missing."""
    problems: Sequence[Problem]
    records: Sequence[Record]
    scores: Mapping[str, Mapping[int, Scores]]
    """Scores of the runs with readable predictions, by method and seed, for results such as confusion matrices."""
    samples: Mapping[str, Samples]
    """Mixed images of the first seed of each method, where images have two spatial dimensions."""
    by_method: Mapping[str, Sequence[Run]]
    """Runs of each method, by seed; methods in display order."""
    first: Run
    """First run that has a config.json: its configuration, but for method and seed, is that of all runs."""
    classes: Sequence[str]
    planned: int
    """Number of seeds that any method has."""
    accuracy: AccuracySummary
    index: Mapping[Condition, Mapping[str, Mapping[int, float]]]
    """Values of the records by condition, method and seed."""
    __repr__ = short_repr("comparison.values(metric), comparison.accuracy, smix.write_report")

    def values(
        self, metric: str, condition: str = "", severity: float | None = None, data: str = "", *, suite: str = ""
    ) -> dict[str, dict[int, float]]:
        """Return the values of a metric by method, in display order, and by seed.

        Methods without a value are left out. The arguments are the fields of `Record`.
        """
        matches = self.index.get((data, suite, condition, severity, metric), {})
        return {method: dict(sorted(matches[method].items())) for method in self.by_method if method in matches}

    def shared_seeds(self, metric: str) -> dict[str, list[int]]:
        """Return the seeds for which both the method and vanilla have a metric; methods without one are left out."""
        values = self.values(metric)
        plain = values.pop(PLAIN, {}).keys()
        return {method: seeds for method, own in values.items() if (seeds := sorted(own.keys() & plain))}

    def select(self, **fields: Any) -> list[Record]:
        """Return the records whose fields have these values, such as `suite="attacks"`."""
        return [
            record for record in self.records if all(getattr(record, name) == value for name, value in fields.items())
        ]

    def labels(self, values: Mapping[str, Sized]) -> dict[str, str]:
        """Return the name of each method, with the number of its values if some are missing: "smix (2 of 3)"."""
        counts = {method: len(each) for method, each in values.items()}
        return {m: m if count == self.planned else f"{m} ({count} of {self.planned})" for m, count in counts.items()}


def prepare(
    name: str,
    folder: Path,
    runs: Sequence[Run],
    problems: Sequence[Problem] = (),
    scores: Mapping[Path, Scores] | None = None,
    evaluations: Mapping[Path, Sequence[Evaluation]] | None = None,
    samples: Mapping[str, Samples] | None = None,
) -> Comparison:
    """Return the comparison of runs that differ only in method and seed.

    Args:
        name: Name of the data set.
        folder: Folder of the runs.
        runs: At least one run that has a config.json.
        problems: Runs, or parts of them, that are left out.
        scores: Scores of the predictions, by folder of the run.
        evaluations: Results of `smix evaluate`, by folder of the run.
        samples: Mixed images of the first seed of each method.
    """
    scores, by_method = scores or {}, runs_by_method(runs)
    first = next(run for run in runs if run.provenance)
    records = records_of(runs, scores, evaluations or {})
    index: dict[Condition, dict[str, dict[int, float]]] = {}
    for record in records:
        condition = (record.data, record.suite, record.condition, record.severity, record.metric)
        index.setdefault(condition, {}).setdefault(record.method, {})[record.seed] = record.value
    by_seed = {
        m: {run.config.seed: scores[run.path] for run in own if run.path in scores} for m, own in by_method.items()
    }
    return Comparison(
        name,
        folder,
        runs,
        problems,
        records,
        {method: each for method, each in by_seed.items() if each},
        samples or {},
        by_method,
        first,
        tuple(first.provenance["data"]["classes"]),
        len({run.config.seed for run in runs}),
        summarise(runs, _chance(scores.values())),
        index,
    )


def _chance(scores: Iterable[Scores]) -> float | None:
    """Return the share of the test images in the most frequent class; None without predictions."""
    matrix = next((one.confusion for one in scores), None)
    return None if matrix is None else float(matrix.sum(1).max() / matrix.sum())


@dataclass(frozen=True, eq=False)
class ReportAssets:
    """Data that a report shows in addition to the files of the runs; None if not available."""

    styles: Mapping[str, Style]
    """Colour and marker of each method."""
    test_images: ImageSet | None = None
    """Test split as it was predicted."""
    masks: JudgedMasks | None = None
    """Masks that the runs used."""


def runs_by_method(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the runs of each method, by seed; methods in the order of `METHODS`, followed by their variants."""
    names = list(METHODS)

    def order(method: str) -> tuple[int, int, str]:
        first = method.split("+")[0].split("(")[0].strip()
        return (names.index(first) if first in names else len(names)), method.count("+"), method

    methods = sorted({run.config.method for run in runs}, key=order)
    return {
        method: sorted((run for run in runs if run.config.method == method), key=lambda run: run.config.seed)
        for method in methods
    }


def summarise(runs: Sequence[Run], chance: float | None = None) -> AccuracySummary:
    """Return the test accuracy of each method, the differences between those that are complete, and cautions.

    Args:
        runs: Runs that differ only in method and seed.
        chance: Accuracy of guessing, in [0, 1]. Default: 1 / number of classes.
    """
    planned, methods = len({run.config.seed for run in runs}), []
    accuracies: dict[str, dict[int, float]] = {}
    for method, own in runs_by_method(runs).items():
        results = {run.config.seed: run.result for run in own if run.result is not None}
        values = {seed: 100 * result.test_accuracy for seed, result in results.items()}
        seconds = summary([result.seconds for result in results.values()]).mean
        methods.append(MethodSummary(method, len(results), planned, summary(list(values.values())), seconds))
        if methods[-1].complete:
            accuracies[method] = values
    complete = [one for one in methods if one.finished and one.complete]
    cautions = cautions_of(runs, {one.method: one.accuracy for one in complete}, chance)
    highest = max((one.accuracy.mean for one in complete), default=-math.inf)
    best = [one for one in complete if math.isclose(one.accuracy.mean, highest, abs_tol=1e-9)]
    return AccuracySummary(methods, [] if cautions else best, compare_pairs(accuracies), cautions)


def percentages(values: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    """Return the mean over seeds of each method, in percent."""
    return {method: 100 * fmean(seeds.values()) for method, seeds in values.items()}


def difference_from(method: str, pairs: Iterable[Difference]) -> list[Difference]:
    """Return the pairs that hold this method, each as the other method minus this one."""
    return [pair.swapped() if pair.first == method else pair for pair in pairs if method in (pair.first, pair.second)]


def records_of(
    runs: Sequence[Run], scores: Mapping[Path, Scores], evaluations: Mapping[Path, Sequence[Evaluation]]
) -> list[Record]:
    """Return all numbers of these runs.

    Args:
        scores: Scores of the predictions, by folder of the run.
        evaluations: Results of `smix evaluate`, by folder of the run.
    """
    plain = {
        (run.config.seed, "" if evaluation.own else evaluation.data, corrupted.suite): corrupted
        for run in runs
        if run.config.method == PLAIN
        for evaluation in evaluations.get(run.path, ())
        for corrupted in evaluation.corruptions
    }
    records: list[Record] = []

    def add(run: Run, data: str, suite: str, numbers: Iterable[Number]) -> None:
        method, seed = run.config.method, run.config.seed
        for metric, value, condition, severity in numbers:
            if math.isfinite(value):
                records.append(Record(method, seed, data, suite, condition, severity, metric, value))

    for run in runs:
        if run.result is not None:
            names = ("test_accuracy", "test_loss", "val_accuracy", "seconds", "images_seen")
            add(run, "", "", [(name, getattr(run.result, name), "", None) for name in names])
        if run.path in scores:
            add(run, "", "", _of_scores(scores[run.path], run.provenance["data"]["classes"]))
        for evaluation in evaluations.get(run.path, ()):
            data = "" if evaluation.own else evaluation.data
            if not evaluation.own:
                add(run, data, "", [(name, value, "", None) for name, value in evaluation.numbers.items()])
            for corrupted in evaluation.corruptions:
                reference = plain.get((run.config.seed, data, corrupted.suite))
                add(run, data, corrupted.suite, _of_corruptions(corrupted, reference))
            add(run, data, "attacks", _of_attacks(evaluation.attacks))
            if evaluation.objects is not None:
                add(run, data, "objects", _of_objects(evaluation.objects))
    return records


def _of_scores(scores: Scores, classes: Sequence[str]) -> Iterator[Number]:
    numbers = {**scores.numbers(), "error": 1 - scores.calibration.accuracy}
    if len(classes) > 5:
        numbers["top5_error"] = 1 - scores.top5
    for name, value in numbers.items():
        yield name, value, "", None
    for (low, _), level in zip(pairwise(LEVELS), scores.levels, strict=True):
        yield "error_rate", level.error_rate, "confidence", low
    for level in scores.sure:
        yield "error_rate", level.error_rate, "confidence above", level.low
    for share in COVERAGES:
        yield "error_rate", 1 - scores.risk.accuracy_at(share), "coverage", share
    by_class = (scores.class_accuracy.tolist(), scores.calibration.class_errors.tolist())
    for name, accuracy, ece in zip(classes, *by_class, strict=True):
        yield "class_accuracy", accuracy, name, None
        yield "class_ece", ece, name, None


def _of_corruptions(corrupted: Corrupted, plain: Corrupted | None) -> Iterator[Number]:
    yield "images", corrupted.images, "", None
    yield "accuracy", corrupted.clean, "clean", None
    means = {name: fmean(values) for name, values in corrupted.accuracy.items()}
    for name, values in corrupted.accuracy.items():
        yield "accuracy", means[name], name, None
        for severity, value in enumerate(values, 1):
            yield "accuracy", value, name, float(severity)
    for group, names in GROUPS.items():
        yield "accuracy", summary([means[name] for name in names if name in means]).mean, group, None
    yield "accuracy", corrupted.mean, "all", None
    for severity, values in enumerate(zip(*corrupted.accuracy.values(), strict=False), 1):
        yield "accuracy", fmean(values), "all", float(severity)
    if plain is not None:
        # Vanilla may have been tested with other corruptions, or make no errors.
        with suppress(SmixError):
            error = mean_corruption_error(errors_of(corrupted, "method"), errors_of(plain, PLAIN))
            yield "corruption_error", error, "all", None


def _of_attacks(attacks: Sequence[Attacked]) -> Iterator[Number]:
    for attack in attacks:
        name = f"{attack.name}-{attack.steps}" if attack.steps > 1 else attack.name
        yield "images", attack.images, "", None
        yield "accuracy", attack.clean, "clean", None
        yield "accuracy", attack.accuracy, name, attack.eps


def _of_objects(objects: ObjectAccuracies) -> Iterator[Number]:
    yield "images", objects.images, "", None
    yield "left_out", objects.left_out, "", None
    for name in CONDITIONS:
        yield "accuracy", getattr(objects, name), name, None
    yield "swap_loss", objects.clean - objects.swapped, "", None
