"""A comparison as a report sees it: the runs that can be compared, what each predicted, and what is wrong with the others."""

import io
import math
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smix.errors import DataError, RunError, SmixError
from smix.evaluation.scores import Scores, scores
from smix.evaluation.statistics import NOT_ENOUGH
from smix.lab.evaluations import Evaluation, evaluations_of
from smix.lab.status import what_is_missing
from smix.mixing import parse_method
from smix.report.tables import by_method
from smix.training.records import Run, folders_in, read_run, shared_by
from smix.training.samples import Samples

Pair = tuple[Tensor, Tensor]
"""Logits and labels."""


@dataclass(frozen=True)
class Problem:
    """A run, or a part of one, that is not in the report."""

    path: Path
    why: str
    """One line: what was expected, what came, what to do."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs that differ in method and seed alone."""

    name: str
    """Of the data set, without the path of its file."""
    folder: Path
    runs: Sequence[Run]
    """Finished or not: those without a result count as missing."""
    problems: Sequence[Problem]
    scores: Mapping[Path, Scores]
    """Of the finished runs whose predictions could be read, by folder."""
    evaluations: Mapping[Path, Sequence[Evaluation]]
    """By folder; empty where smix evaluate was not run."""
    samples: Mapping[str, Samples]
    """The mixes of the first seed of each method, where images have two spatial dimensions."""

    @property
    def methods(self) -> list[str]:
        return list(by_method(self.runs))

    def named(self, method: str, count: int) -> str:
        """The method, and how many of its planned runs a row is of, if not of all."""
        planned = len({run.config.seed for run in self.runs})
        return method if count == planned else f"{method} ({count} of {planned})"

    @property
    def spread(self) -> str:
        """What a cell with a mean shows beside it."""
        counts = [sum(run.result is not None for run in mine) for mine in by_method(self.runs).values()]
        if max(counts) < 2:
            return f"One run of each method: {NOT_ENOUGH} for a deviation."
        few = f"; of one run its value ({NOT_ENOUGH})" if 1 in counts else ""
        return f"Mean \N{PLUS-MINUS SIGN} standard deviation over seeds{few}."

    @property
    def begun(self) -> list[Run]:
        return [run for run in self.runs if run.made]

    @property
    def classes(self) -> list[str]:
        return list(self.begun[0].made["data"]["classes"])

    def scores_of(self, method: str) -> dict[int, Scores]:
        """By seed."""
        return {
            run.config.seed: self.scores[run.path] for run in by_method(self.runs)[method] if run.path in self.scores
        }

    def evaluations_on(self, method: str, data: str | None = None) -> dict[int, Evaluation]:
        """By seed, those on the own test split, or on another data set."""
        return {
            run.config.seed: one
            for run in by_method(self.runs)[method]
            for one in self.evaluations.get(run.path, ())
            if (one.own if data is None else not one.own and one.data == data)
        }


def read_comparison(folder: Path | str) -> Comparison:
    """Read a folder of runs. What is broken, differs or is missing is named in `problems`, and the others are compared.

    Raises:
        RunError: no run in it has finished and can be read.
    """
    folder = Path(folder)
    runs, problems = [], []
    for path in folders_in(folder):
        try:
            runs.append(_readable(path))
        except SmixError as error:
            problems.append(_problem(path, error))
    return comparison_of(runs, folder, problems)


def comparisons_in(folders: Sequence[Path]) -> tuple[list[Comparison], list[Problem]]:
    """The comparisons of all these folders, and what is wrong with them. A folder of comparisons, as a sweep with a grid leaves it,
    stands for each of them.

    Raises:
        RunError: none of them has a finished run.
    """
    comparisons: list[Comparison] = []
    problems: list[Problem] = []
    found = [path for folder in folders for path in _spread(folder)]
    for folder in dict.fromkeys(found):
        try:
            comparisons.append(read_comparison(folder))
            problems += comparisons[-1].problems
        except RunError as error:
            if len(found) == 1:
                raise
            problems.append(_problem(folder, error))
    if not comparisons:
        raise RunError(
            f"{folders[0]}: expected comparisons, got none that can be reported; {problems[0].path}: {problems[0].why}"
        )
    return comparisons, problems


def _spread(folder: Path) -> list[Path]:
    if (folder / "config.json").is_file():
        raise RunError(f"{folder}: expected a folder of runs, got one run; did you mean {folder.resolve().parent}?")
    below = sorted({path.parent.parent for path in folder.glob("*/*/config.json")})
    return below if below and not list(folder.glob("*/config.json")) else [folder]


def comparison_of(runs: Sequence[Run], folder: Path, problems: Sequence[Problem] = ()) -> Comparison:
    """The same of runs that are read already."""
    problems = list(problems)
    good = [_checked(run, problems) for run in runs]
    good = _one_a_seed(_alike(good, problems), problems)
    for run in good:
        if run.result is None and not any(one.path == run.path for one in problems):
            problems.append(Problem(run.path, _without(run.path, what_is_missing(run))))
    finished = [run for run in good if run.result is not None]
    if not finished:
        found = f"{problems[0].path.name}: {problems[0].why}" if problems else "none"
        raise RunError(f"{folder}: expected a finished run to report, got 0 of {len(runs) or len(problems)}: {found}")
    made: dict[Path, Scores] = {}
    evaluations: dict[Path, Sequence[Evaluation]] = {}
    for run in finished:
        try:
            made[run.path] = _scores(run)
        except SmixError as error:
            problems.append(_problem(run.path, error))
        try:
            evaluations[run.path] = evaluations_of(run.path)
        except SmixError as error:
            problems.append(_problem(run.path, error))
    return Comparison(
        data_name(finished[0].config.data),
        folder,
        good,
        sorted(problems, key=lambda one: str(one.path)),
        made,
        evaluations,
        _samples(good, problems),
    )


def data_name(data: str) -> str:
    """`npz:/somewhere/cifar10.npz` is cifar10."""
    kind, colon, place = data.partition(":")
    return Path(place).stem if colon else kind


def _readable(path: Path) -> Run:
    """Raises SmixError: it is broken, or its method or its data are none."""
    run = read_run(path)
    parse_method(run.config.method)
    data = run.made.get("data")
    if not isinstance(data, dict) or not {"classes", "images", "fingerprint_train", "fingerprint_test"} <= data.keys():
        raise RunError("expected what the data are in config.json, got none; move the folder away")
    return run


def _checked(run: Run, problems: list[Problem]) -> Run:
    """The run; without its result if that holds numbers that cannot be."""
    wrong, result = "", run.result
    if not all(_finite(value) for epoch in run.metrics for value in vars(epoch).values()):
        wrong = "finite numbers in metrics.jsonl, got NaN, infinity or none"
    elif result is not None and not all(map(_finite, (result.test_accuracy, result.test_loss, result.seconds))):
        wrong = "finite numbers in result.json, got NaN, infinity or none"
    elif result is not None and not 0 <= result.test_accuracy <= 1:
        wrong = f"a test accuracy from 0 to 1 in result.json, got {result.test_accuracy}"
    if not wrong:
        return run
    problems.append(Problem(run.path, f"expected {wrong}; train it again in a new folder"))
    return replace(run, result=None, metrics=[])


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _alike(runs: Sequence[Run], problems: list[Problem]) -> list[Run]:
    """Those that differ in method and seed alone: of each option, those that have what most have, or else what the first has."""
    shared = {run.path: shared_by(run) for run in runs}
    alike = list(runs)
    for name in dict.fromkeys(name for one in shared.values() for name in one):
        # Fingerprints are known of runs that have begun, those of masks of runs that use them: what is not known does not differ.
        values = {run.path: shared[run.path][name] for run in alike if name in shared[run.path]}
        if not values:
            continue
        usual = Counter(map(repr, values.values())).most_common(1)[0][0]
        for run in [run for run in alike if run.path in values and repr(values[run.path]) != usual]:
            alike.remove(run)
            why = (
                f"expected runs that differ in method and seed alone, got one with {name.replace('_', '-')} "
                f"{values[run.path]} where most have {usual}; it is left out: report it apart"
            )
            problems.append(Problem(run.path, why))
    return alike


def _one_a_seed(runs: Sequence[Run], problems: list[Problem]) -> list[Run]:
    """One run of each method and seed; finished ones first, then by folder name."""
    kept: dict[tuple[str, int], Run] = {}
    for run in sorted(runs, key=lambda run: (run.result is None, run.path.name)):
        first = kept.setdefault((run.config.method, run.config.seed), run)
        if first is not run:
            why = f"expected one run of each method and seed, got this and {first.path.name}; it is left out: move one away"
            problems.append(Problem(run.path, why))
    return sorted(kept.values(), key=lambda run: run.path.name)


def _scores(run: Run) -> Scores:
    """Raises RunError or DataError: predictions are not there, broken, or not those of the result."""
    tested = _predictions(run.path / "predictions.npz")
    validation = run.path / "validation.npz"
    found = scores(*tested, _predictions(validation) if validation.is_file() else None)
    assert run.result is not None
    if not math.isclose(found.calibration.accuracy, run.result.test_accuracy, abs_tol=1e-9):
        raise DataError(
            f"expected predictions with the test accuracy of result.json, {run.result.test_accuracy:.4f}, got "
            f"{found.calibration.accuracy:.4f} in predictions.npz; train it again in a new folder"
        )
    return found


def _predictions(path: Path) -> Pair:
    left_out = "its calibration and confusion are left out"
    arrays = _arrays(path, left_out)
    if arrays.keys() < {"logits", "labels"}:
        raise RunError(f"expected logits and labels in {path.name}, got {', '.join(arrays) or 'nothing'}; {left_out}")
    logits, labels = arrays["logits"], arrays["labels"]
    if logits.dtype.kind != "f" or labels.dtype.kind not in "iu":
        raise RunError(
            f"expected logits as floats and labels as whole numbers in {path.name}, got {logits.dtype} and {labels.dtype}; {left_out}"
        )
    return torch.from_numpy(logits), torch.from_numpy(labels.astype(np.int64))


def _samples(runs: Sequence[Run], problems: list[Problem]) -> dict[str, Samples]:
    found = {}
    for method, mine in by_method(runs).items():
        path = mine[0].path / "samples.npz"
        if not path.is_file():
            continue
        try:
            samples = Samples(**_arrays(path, "its mixes are not shown"))
        except (SmixError, TypeError) as error:
            problems.append(Problem(mine[0].path, str(error)))
            continue
        if samples.images.ndim == 4:
            found[method] = samples
    return found


def _arrays(path: Path, so: str) -> dict[str, NDArray[Any]]:
    """What an .npz file holds. Raises RunError, which ends with what follows."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(f"expected arrays in {path.name}, got {type(error).__name__}; {so}") from None


def _problem(path: Path, error: SmixError) -> Problem:
    return Problem(path, _without(path, str(error)))


def _without(path: Path, message: str) -> str:
    """The message without the folder in front, which stands beside it."""
    return message.removeprefix(f"{path}: ")
