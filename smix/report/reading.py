"""Read folders of runs into comparisons. Damaged, unfinished, different or contradictory runs are named and left out.

The typed readers of `smix.training` and `smix.lab` check each file and raise an error of smix; here runs are checked against each other.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from smix import files
from smix.data.pictures import Pictures
from smix.data.sets import ImageSet, Split, is_local
from smix.data.streaming import fits_on_device
from smix.errors import DataError, MaskError, RunError, SmixError
from smix.evaluation.records import FOLDER, Evaluation, read_evaluation
from smix.evaluation.scores import Scores, compute_scores
from smix.lab.status import describe_unfinished
from smix.masks import MaskStore
from smix.masks.lookup import masks_of
from smix.mixing import parse_method
from smix.paths import data_name, same_value
from smix.plots.pictures import is_picture
from smix.report.comparison import Comparison, Problem, prepare, runs_by_method
from smix.report.masks import JudgedMasks, judge_carried, judge_store
from smix.training.inputs import training_images
from smix.training.own_images import load_own
from smix.training.predictions import read_predictions
from smix.training.records import Run, folders_in, read_run, shared_by, subfolders_of_runs
from smix.training.samples import Samples, read_samples

T = TypeVar("T")
Key = TypeVar("Key", bound=Hashable)
MAX_LENGTH = 60
"""Maximum number of characters of a quoted value."""
LEFT_OUT = "its calibration and confusion are left out"


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions of a run for the test images."""

    scores: Scores
    labels: tuple[int, ...]
    """(N,), in the order of the images."""


def read_comparisons(folders: Sequence[Path]) -> tuple[list[Comparison], list[Problem]]:
    """Read the comparisons in these folders, and name what is left out.

    A folder of comparisons, as a sweep with a grid creates it, stands for each of them; if it also holds runs, for their comparison too.

    Raises:
        RunError: None of them holds a finished run.
    """
    problems: list[Problem] = []
    paths = list(dict.fromkeys(path for folder in folders for path in _comparison_folders(folder)))
    if len(paths) == 1:
        comparison = read_comparison(paths[0])
        return [comparison], list(comparison.problems)
    attempts = [attempt(problems, path, read_comparison, path) for path in paths]
    comparisons = [comparison for comparison in attempts if comparison is not None]
    problems += [problem for comparison in comparisons for problem in comparison.problems]
    if not comparisons:
        first = f"{problems[0].path}: {problems[0].why}"
        raise RunError(f"{folders[0]}: expected comparisons, got none that can be reported; {first}")
    return comparisons, problems


def read_comparison(folder: Path | str) -> Comparison:
    """Read the runs in a folder and compare those that are alike. The others are named in `problems`.

    Raises:
        RunError: No run in it is finished and readable.
    """
    folder, problems = Path(folder), list[Problem]()
    runs = [run for path in folders_in(folder) if (run := attempt(problems, path, read_run, path)) is not None]
    return comparison_of(runs, folder, problems)


def comparison_of(runs: Sequence[Run], folder: Path, problems: Sequence[Problem] = ()) -> Comparison:
    """Compare runs that were read before. Arguments and errors are those of `read_comparison`."""
    problems, requested = list(problems), len(runs) + len(problems)
    runs = [run for run in runs if attempt(problems, run.path, parse_method, run.config.method)]
    runs = _one_per_seed(_alike(runs, problems), problems)
    predictions = {
        run.path: predicted
        for run in runs
        if run.result is not None
        and (predicted := attempt(problems, run.path, predicted_by, run, consequence=LEFT_OUT)) is not None
    }
    runs = [_without_contradiction(run, predictions.get(run.path), problems) for run in runs]
    finished = [run for run in runs if run.result is not None]
    for run in runs:
        if run.result is None and not any(problem.path == run.path for problem in problems):
            problems.append(_problem(run.path, describe_unfinished(run)))
    if not finished:
        reason = f"{problems[0].path.name}: {problems[0].why}" if problems else "none"
        raise RunError(f"{folder}: expected a finished run to report, got 0 of {requested}: {reason}")
    predictions = {run.path: predictions[run.path] for run in finished if run.path in predictions}
    for path in outliers({path: {"labels": predicted.labels} for path, predicted in predictions.items()}):
        expected = "expected predictions of the same test images as the other runs"
        problems.append(
            Problem(path, f"{expected}, got different labels or a different order in predictions.npz; {LEFT_OUT}")
        )
        del predictions[path]
    scores = {path: predicted.scores for path, predicted in predictions.items()}
    evaluations, samples = _evaluations(finished, problems), _samples(runs, problems)
    problems.sort(key=lambda problem: str(problem.path))
    return prepare(data_name(finished[0].config.data), folder, runs, problems, scores, evaluations, samples)


def predicted_by(run: Run) -> Predicted:
    """Read and score the predictions of a finished run.

    Raises:
        RunError: They are missing, damaged, or belong to other images.
        DataError: A logit is not finite.
    """
    logits, labels = read_predictions(run, "predictions.npz", run.provenance["data"]["images"]["test"])
    validation = read_predictions(run, "validation.npz") if "validation.npz" in run.files else None
    return Predicted(compute_scores(logits, labels, validation), tuple(labels.tolist()))


def attempt(problems: list[Problem], path: Path, read: Callable[..., T], *args: Any, consequence: str = "") -> T | None:
    """Return `read(*args)`, or None if what is at `path` is unusable: its error is then added to `problems`, with its consequence."""
    try:
        return read(*args)
    except (SmixError, OSError) as error:
        problems.append(_problem(path, f"{error}; {consequence}" if consequence else str(error)))
        return None


def _comparison_folders(folder: Path) -> list[Path]:
    if (folder / "config.json").is_file():
        raise RunError(f"{folder}: expected a folder of runs, got one run; did you mean {folder.resolve().parent}?")
    below = sorted({path.parent.parent for path in folder.glob("*/*/config.json")})
    below = [path for path in below if not (path / "config.json").is_file()]
    own = [folder] if subfolders_of_runs(folder) or not below else []
    return own + below


def outliers(settings: Mapping[Key, Mapping[str, object]]) -> dict[Key, str]:
    """Return the keys whose settings differ from those of the majority, with a description of the differences.

    Options are compared one after another, each among the keys that agree so far. An unknown option does not differ.

    >>> outliers({"a": {"lr": 0.1}, "b": {"lr": 0.2}, "c": {"lr": 0.1}, "d": {}})
    {'b': 'lr 0.2 where most have 0.1'}
    """
    kept, usual = dict(settings), dict[str, object]()
    for name in dict.fromkeys(name for options in settings.values() for name in options):
        values = [options[name] for options in kept.values() if name in options]
        counts = Counter(map(repr, values))
        usual |= {name: max(values, key=lambda value: counts[repr(value)])} if values else {}
        kept = {key: options for key, options in kept.items() if not _differing(options, {name: usual.get(name)})}
    return {key: ", ".join(_differing(options, usual)) for key, options in settings.items() if key not in kept}


def _differing(options: Mapping[str, object], usual: Mapping[str, object]) -> list[str]:
    return [
        f"{name.replace('_', '-')} {_short(options[name])} where most have {_short(value)}"
        for name, value in usual.items()
        if name in options and repr(options[name]) != repr(value)
    ]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}..."


def _alike(runs: Sequence[Run], problems: list[Problem]) -> list[Run]:
    """Return the runs that differ only in method and seed."""
    others = outliers({run.path: shared_by(run) for run in runs})
    for path, difference in others.items():
        why = f"expected runs that differ only in method and seed, got one with {difference}; it is left out: report it separately"
        problems.append(Problem(path, why))
    return [run for run in runs if run.path not in others]


def _one_per_seed(runs: Sequence[Run], problems: list[Problem]) -> list[Run]:
    """Return one run of each method and seed: the first finished one by folder name."""
    kept: dict[tuple[str, int], Run] = {}
    for run in sorted(runs, key=lambda run: (run.result is None, run.path.name)):
        first = kept.setdefault((run.config.method, run.config.seed), run)
        if first is not run:
            why = f"expected one run of each method and seed, got this and {first.path.name}; it is left out: move one of them away"
            problems.append(Problem(run.path, why))
    return sorted(kept.values(), key=lambda run: run.path.name)


def _without_contradiction(run: Run, predicted: Predicted | None, problems: list[Problem]) -> Run:
    """Return the run, without its result if its predictions have another accuracy."""
    if run.result is None or predicted is None:
        return run
    accuracy = predicted.scores.calibration.accuracy
    if math.isclose(accuracy, run.result.test_accuracy, abs_tol=1e-9):
        return run
    why = (
        f"expected predictions.npz to have the test accuracy of result.json, {run.result.test_accuracy:.4f}, got {accuracy:.4f}; "
        "the run is left out of the report; train it again in a new folder"
    )
    problems.append(Problem(run.path, why))
    return replace(run, result=None, metrics=[])


def _evaluations(runs: Sequence[Run], problems: list[Problem]) -> dict[Path, list[Evaluation]]:
    """Return the evaluations of the weights of each run that were made with the same images and options as most."""
    evaluations = [(run.path, each) for run in runs for each in _evaluations_of(run.path, problems)]
    names = [each.data for _, each in evaluations]
    for n, (path, each) in enumerate(evaluations):
        name = next(name for name in names if same_value("data", name, each.data))
        evaluations[n] = path, replace(each, data=name)
    settings: dict[str | None, dict[int, dict[str, object]]] = {}
    for n, (_, each) in enumerate(evaluations):
        provenance = {name: each.provenance.get(name) for name in ("seed", "label_map", "resized")}
        images = {"fingerprint": each.fingerprint, "images": each.images, "left_out": each.left_out}
        settings.setdefault(None if each.own else each.data, {})[n] = images | provenance
    others = {n: difference for by_number in settings.values() for n, difference in outliers(by_number).items()}
    for n, difference in others.items():
        path, each = evaluations[n]
        expected = f"expected evaluations of the same images of {data_name(each.data)}"
        problems.append(
            Problem(path, f"{expected}, got one with {difference}; it is left out: evaluate it with the same options")
        )
    kept = [evaluation for n, evaluation in enumerate(evaluations) if n not in others]
    return {run.path: [each for path, each in kept if path == run.path] for run in runs}


def _evaluations_of(run: Path, problems: list[Problem]) -> list[Evaluation]:
    """Return the evaluations of the weights of a run, by file name."""
    paths = sorted((run / FOLDER).glob("*.json"))
    # Without the weights there is nothing to compare with, which is no problem.
    own = attempt([], run, files.sha256, run / "weights.safetensors", False) if paths else None
    evaluations = []
    for path in paths:
        if (evaluation := attempt(problems, run, read_evaluation, path)) is None:
            continue
        if own in (None, evaluation.weights):
            evaluations.append(evaluation)
            continue
        why = (
            f"{path}: expected an evaluation of the run's weights ({str(own)[:8]}), got one of other weights ({evaluation.weights[:8]}); "
            "it is left out: evaluate again"
        )
        problems.append(_problem(run, why))
    return evaluations


def _samples(runs: Sequence[Run], problems: list[Problem]) -> dict[str, Samples]:
    """Return the mixes of the first seed of each method, of the same images."""
    firsts = {method: own[0] for method, own in runs_by_method(runs).items()}
    mixes = {}
    for method, run in firsts.items():
        samples = attempt(problems, run.path, read_samples, run, consequence="its mixes are not shown")
        if samples is not None and is_picture(samples.images.shape[1:]):
            mixes[method] = samples
    for method in outliers({method: {"images": _digest(samples)} for method, samples in mixes.items()}):
        why = (
            "expected mixes of the same images as the other runs, got different ones in samples.npz; they are not shown"
        )
        problems.append(Problem(firsts[method].path, why))
        del mixes[method]
    return mixes


def _digest(samples: Samples) -> str:
    """Return a sha256 of the images that are mixed."""
    shape = str(samples.images.shape).encode()
    return hashlib.sha256(shape + samples.images.tobytes() + samples.labels.tobytes()).hexdigest()


def _problem(path: Path, message: str) -> Problem:
    """Return a problem without the folder that its message begins with; a report may be published, so it holds no local paths."""
    message = message.removeprefix(f"{path}: ")
    for folder in (path.parent, path.parent.resolve()):
        if folder.name:
            message = message.replace(f"{folder}/", "")
    return Problem(path, message)


def load_test_images(comparison: Comparison, data_root: Path) -> ImageSet:
    """Return the test split as it was predicted.

    Raises:
        DataError: The split is not on this machine, or has changed.
    """
    return _load(comparison, data_root, "test").take(comparison.first.config.test_limit)


def load_masks(comparison: Comparison, data_root: Path) -> JudgedMasks | None:
    """Return the masks that the runs used, judged; None if they used none.

    Raises:
        SmixError: The masks are missing, damaged or changed, or the images are not on this machine.
    """
    used = [run for run in comparison.runs if run.provenance.get("masks")]
    if not used:
        return None
    data, folder = _load(comparison, data_root, "train"), used[0].config.masks
    store = None if folder == "carried" else MaskStore(folder)
    if store is not None:
        store.align(data)
    _check_used(used[0], data, data_root)
    return judge_carried(data) if store is None else judge_store(store, data)


def _check_used(run: Run, data: ImageSet, data_root: Path) -> None:
    """Raise MaskError unless the masks of the training images are those that the run used."""
    config = run.config
    training = training_images(config, data, data_root)
    if isinstance(training.images, Pictures) and training.size is not None and fits_on_device(data, config.image_size):
        # The run had the images in memory and brought its masks to their size. The images themselves do not matter here.
        training = replace(training, images=np.zeros((len(training), *training.size, 3), np.uint8))
    found = masks_of(training, config.masks).provenance["fingerprint"]
    expected = run.provenance["masks"]["fingerprint"]
    if found != expected:
        raise MaskError(
            f"masks: expected the masks that the runs used ({expected[:8]}), got different masks ({found[:8]}); restore the "
            "original store or data set"
        )


def _load(comparison: Comparison, data_root: Path, part: Split) -> ImageSet:
    run = comparison.first
    if not is_local(run.config.data, data_root):  # a report of others' runs downloads nothing
        raise DataError(f"{comparison.name}: the images are not on this machine; pass their folder with --data-root")
    data, expected = load_own(run, data_root, part), run.provenance["data"][f"fingerprint_{part}"]
    if data.fingerprint != expected:
        raise DataError(
            f"{comparison.name}: expected the images that the runs used ({expected[:8]}), got different images "
            f"({data.fingerprint[:8]}); pass the folder of the original images with --data-root"
        )
    return data
