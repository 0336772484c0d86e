"""The numbers of a report: one flat list of records.

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Literal

from smix.errors import SmixError
from smix.evaluation.cifar_c import mean_corruption_error
from smix.evaluation.confidence import LEVELS
from smix.evaluation.corruptions.suite import GROUPS
from smix.evaluation.records import Attacked, Corrupted, Evaluation, ObjectAccuracies, errors_of
from smix.evaluation.scores import Scores
from smix.evaluation.statistics import summary
from smix.plots.style import PLAIN as PLAIN
from smix.training.records import Run

COVERAGES = (0.8, 0.5)
"""Shares of the test images, the most confident first, whose errors are records."""
Number = tuple[str, float, str, float | None]
"""Metric, value, condition and severity of a record."""
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
