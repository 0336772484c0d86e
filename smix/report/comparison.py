"""A comparison: runs that differ only in method and seed, prepared once for all tables and figures of a report."""

import math
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from smix.data.sets import ImageSet
from smix.evaluation.records import Evaluation
from smix.evaluation.scores import Scores
from smix.evaluation.statistics import Difference, Summary, compare_pairs, summary
from smix.mixing import METHODS
from smix.plots.style import PLAIN as PLAIN
from smix.plots.style import Style
from smix.report.cautions import Caution, cautions_of
from smix.report.masks import JudgedMasks
from smix.report.records import Record, records_of
from smix.reprs import short_repr
from smix.training.records import Run
from smix.training.samples import Samples

Condition = tuple[str, str, str, float | None, str]
"""Data set, suite, condition, severity and metric of a record."""


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
