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
| corrupted images | "" or name | label | corruption, group, "all", "clean" | 1, 2, ...; None: mean | accuracy, mce |
| attacked images | "" or name | "attacks" | attack, "clean" | eps on the 0..1 scale | accuracy |
| images cut along their masks | "" or name | "objects" | field of `ObjectAccuracies` | None | accuracy, swap_loss |

Each suite also has the metric `images`, its number of images, and "objects" has `left_out`. Shares are in [0, 1]. A number that is not
finite is no record.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from smix.data.sets import ImageSet
from smix.errors import SmixError
from smix.evaluation.cifar_c import mean_corruption_error
from smix.evaluation.confidence import LEVELS
from smix.evaluation.corruptions.suite import GROUPS
from smix.evaluation.records import Attacked, Corrupted, Evaluation, ObjectAccuracies, errors_of
from smix.evaluation.scores import Scores
from smix.evaluation.statistics import Difference, Summary, compare_pairs, summary
from smix.mixing import METHODS
from smix.report.masks import JudgedMasks
from smix.report.style import PLAIN as PLAIN
from smix.report.style import Style
from smix.training.records import Run
from smix.training.samples import Samples

COVERAGES = (0.8, 0.5)
"""Shares of the test images, the most confident first, whose errors are records."""
NO_RUNS = Summary(math.nan, math.nan, 0, math.nan, math.nan)
CONDITIONS = {
    "clean": "Unchanged",
    "swapped": "Background swapped",
    "object_hidden": "Object hidden",
    "background_hidden": "Background hidden",
}
"""Conditions of the suite "objects", and their names in tables and figures."""


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
    """Severity of a corruption, size of an attack, level of confidence; None: none, or the mean over all."""
    metric: str
    value: float
    """Finite. Shares are in [0, 1]."""


@dataclass(frozen=True)
class Problem:
    """A run, or a part of one, that is left out of the report."""

    path: Path
    why: str
    """One line: what was expected, what was found, and what to do."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs that differ only in method and seed."""

    name: str
    """Name of the data set, without the path of its file."""
    folder: Path
    runs: Sequence[Run]
    """Finished and unfinished runs; unfinished ones count as missing."""
    problems: Sequence[Problem]
    records: Sequence[Record]
    scores: Mapping[Path, Scores]
    """Scores of each finished run whose predictions are readable, by folder: what is no single number, such as confusion matrices."""
    samples: Mapping[str, Samples]
    """Mixed images of the first seed of each method, where images have two spatial dimensions."""

    @cached_property
    def methods(self) -> list[str]:
        """Methods in display order."""
        return list(by_method(self.runs))

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return list(self.begun[0].provenance["data"]["classes"])

    @property
    def begun(self) -> list[Run]:
        """Runs that have a config.json."""
        return [run for run in self.runs if run.provenance]

    @cached_property
    def planned(self) -> int:
        """Number of seeds that any method has."""
        return len({run.config.seed for run in self.runs})

    def values(
        self, metric: str, *, data: str = "", suite: str = "", condition: str = "", severity: float | None = None
    ) -> dict[str, dict[int, float]]:
        """Return the values of a metric by method, in display order, and by seed.

        Methods without a value are left out. The arguments are the fields of `Record`.
        """
        matches = self._index.get((data, suite, condition, severity, metric), {})
        return {method: dict(sorted(matches[method].items())) for method in self.methods if method in matches}

    def select(self, **fields: Any) -> list[Record]:
        """Return the records whose fields have these values, such as `suite="attacks"`."""
        return [
            record for record in self.records if all(getattr(record, name) == value for name, value in fields.items())
        ]

    @cached_property
    def _index(self) -> dict[tuple[str, str, str, float | None, str], dict[str, dict[int, float]]]:
        index: dict[tuple[str, str, str, float | None, str], dict[str, dict[int, float]]] = {}
        for record in self.records:
            key = (record.data, record.suite, record.condition, record.severity, record.metric)
            index.setdefault(key, {}).setdefault(record.method, {})[record.seed] = record.value
        return index

    @cached_property
    def suites(self) -> list[str]:
        """Labels of the suites of corrupted images that any run was evaluated on, that of smix first."""
        labels = {record.suite for record in self.select(data="", condition="all", severity=None, metric="accuracy")}
        return sorted(labels, key=lambda label: (not label.startswith("own"), label))

    @cached_property
    def other_data(self) -> list[str]:
        """Other data sets that any run was evaluated on."""
        return sorted({record.data for record in self.select(suite="", metric="accuracy") if record.data})

    def scores_of(self, method: str) -> dict[int, Scores]:
        """Return the scores of a method by seed."""
        runs = by_method(self.runs)[method]
        return {run.config.seed: self.scores[run.path] for run in runs if run.path in self.scores}

    def label(self, method: str, count: int) -> str:
        """Return the method, with the number of its runs behind a figure if some are missing: "smix (2 of 3)"."""
        return method if count == self.planned else f"{method} ({count} of {self.planned})"


@dataclass(frozen=True, eq=False)
class ReportAssets:
    """What a report shows in addition to the files of the runs. None: not available."""

    styles: Mapping[str, Style]
    """Colour and marker of each method."""
    test_images: ImageSet | None = None
    """Test split as it was predicted."""
    masks: JudgedMasks | None = None
    """Masks that the runs used."""


@dataclass(frozen=True)
class Row:
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
        """Number of runs in words, such as "2 of 3"."""
        return str(self.finished) if self.complete else f"{self.finished} of {self.planned}"


def by_method(runs: Sequence[Run]) -> dict[str, list[Run]]:
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


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """Return one row per method."""
    planned = len({run.config.seed for run in runs})
    rows = []
    for method, own in by_method(runs).items():
        results = [run.result for run in own if run.result is not None]
        accuracy = summary([100 * result.test_accuracy for result in results]) if results else NO_RUNS
        seconds = fmean(result.seconds for result in results) if results else math.nan
        rows.append(Row(method, len(results), planned, accuracy, seconds))
    return rows


def best_rows(rows: Sequence[Row]) -> list[int]:
    """Return the places of the rows with the highest mean: several if they are equal, none if no method is complete."""
    means = [row.accuracy.mean if row.finished and row.complete else -math.inf for row in rows]
    highest = max(means, default=-math.inf)
    return [n for n, mean in enumerate(means) if mean > -math.inf and math.isclose(mean, highest, abs_tol=1e-9)]


def differences(runs: Sequence[Run]) -> list[Difference]:
    """Return every pair of complete methods, compared in percentage points of test accuracy."""
    complete = {row.method for row in rows_of(runs) if row.complete}
    return compare_pairs(
        {
            method: {run.config.seed: 100 * run.result.test_accuracy for run in own if run.result is not None}
            for method, own in by_method(runs).items()
            if method in complete
        }
    )


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
    records = []
    for run in runs:
        method, seed = run.config.method, run.config.seed
        numbers = list(_of_result(run))
        if run.path in scores:
            numbers += _of_scores(scores[run.path], run.provenance["data"]["classes"])
        for evaluation in evaluations.get(run.path, ()):
            data = "" if evaluation.own else evaluation.data
            numbers += (
                []
                if evaluation.own
                else [(data, "", "", None, name, value) for name, value in evaluation.numbers.items()]
            )
            for suite in evaluation.corruptions:
                reference = plain.get((seed, data, suite.suite))
                numbers += [(data, suite.suite, *each) for each in _of_corruptions(suite, reference)]
            numbers += [(data, "attacks", *each) for each in _of_attacks(evaluation.attacks)]
            numbers += [(data, "objects", *each) for each in _of_objects(evaluation.objects)]
        records += [Record(method, seed, *each) for each in numbers if math.isfinite(each[-1])]
    return records


Number = tuple[str, str, str, float | None, str, float]
"""Data, suite, condition, severity, metric and value."""
SuiteNumber = tuple[str, float | None, str, float]
"""Condition, severity, metric and value."""


def _of_result(run: Run) -> Iterator[Number]:
    if run.result is not None:
        for name in ("test_accuracy", "test_loss", "val_accuracy", "seconds", "images_seen"):
            yield "", "", "", None, name, getattr(run.result, name)


def _of_scores(scores: Scores, classes: Sequence[str]) -> Iterator[Number]:
    numbers = {**scores.numbers(), "error": 1 - scores.calibration.accuracy}
    if len(classes) > 5:
        numbers["top5_error"] = 1 - scores.top5
    for name, value in numbers.items():
        yield "", "", "", None, name, value
    for (low, _), level in zip(pairwise(LEVELS), scores.levels, strict=True):
        yield "", "", "confidence", low, "error_rate", level.error_rate
    for level in scores.sure:
        yield "", "", "confidence above", level.low, "error_rate", level.error_rate
    for share in COVERAGES:
        yield "", "", "coverage", share, "error_rate", 1 - scores.risk.accuracy_at(share)
    by_class = {"class_accuracy": scores.class_accuracy, "class_ece": scores.calibration.class_errors}
    for metric, values in by_class.items():
        for name, value in zip(classes, values.tolist(), strict=True):
            yield "", "", name, None, metric, value


def _of_corruptions(corrupted: Corrupted, plain: Corrupted | None) -> Iterator[SuiteNumber]:
    yield "", None, "images", corrupted.images
    yield "clean", None, "accuracy", corrupted.clean
    means = {name: fmean(values) for name, values in corrupted.accuracy.items()}
    for name, values in corrupted.accuracy.items():
        yield name, None, "accuracy", means[name]
        for severity, value in enumerate(values, 1):
            yield name, float(severity), "accuracy", value
    for group, names in GROUPS.items():
        if known := [means[name] for name in names if name in means]:
            yield group, None, "accuracy", fmean(known)
    yield "all", None, "accuracy", corrupted.mean
    for severity, values in enumerate(zip(*corrupted.accuracy.values(), strict=False), 1):
        yield "all", float(severity), "accuracy", fmean(values)
    if plain is not None:
        try:
            error = mean_corruption_error(errors_of(corrupted, "method"), errors_of(plain, PLAIN))
        except SmixError:  # other corruptions, or a reference without errors
            return
        yield "all", None, "mce", error


def _of_attacks(attacks: Sequence[Attacked]) -> Iterator[SuiteNumber]:
    for attack in attacks:
        name = f"{attack.name}-{attack.steps}" if attack.steps > 1 else attack.name
        yield "", None, "images", attack.images
        yield "clean", None, "accuracy", attack.clean
        yield name, attack.eps, "accuracy", attack.accuracy


def _of_objects(objects: ObjectAccuracies | None) -> Iterator[SuiteNumber]:
    if objects is None:
        return
    yield "", None, "images", objects.images
    yield "", None, "left_out", objects.left_out
    for name in CONDITIONS:
        yield name, None, "accuracy", getattr(objects, name)
    yield "", None, "swap_loss", objects.clean - objects.swapped
