"""Read folders of runs into comparisons. What is damaged, unfinished, different or contradictory is named and left out.

The typed readers of `smix.training` and `smix.lab` check each file and raise an error of smix; here runs are checked against each other.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np
from jaxtyping import jaxtyped
from numpy.typing import NDArray

from smix import files
from smix.arrays import read_npz
from smix.errors import RunError, SmixError
from smix.evaluation.records import FOLDER, Evaluation, read_evaluation
from smix.evaluation.scores import Scores, compute_scores
from smix.lab.status import describe_unfinished
from smix.mixing import parse_method
from smix.paths import same_value
from smix.report.images import is_picture
from smix.report.records import Comparison, Problem, by_method, records_of
from smix.training.predictions import read_predictions
from smix.training.records import Run, check_unchanged, folders_in, read_run, shared_by, subfolders_of_runs
from smix.training.samples import Samples

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
        comparisons = [read_comparison(paths[0])]
    else:
        comparisons = [
            comparison for path in paths if (comparison := attempt(problems, path, read_comparison, path)) is not None
        ]
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
    predictions: dict[Path, Predicted] = {}
    for run in [run for run in runs if run.result is not None]:
        if predicted := attempt(problems, run.path, predicted_by, run):
            predictions[run.path] = predicted
    runs = [_without_contradiction(run, predictions, problems) for run in runs]
    finished = [run for run in runs if run.result is not None]
    for run in runs:
        if run.result is None and not any(problem.path == run.path for problem in problems):
            problems.append(_problem(run.path, describe_unfinished(run)))
    if not finished:
        reason = f"{problems[0].path.name}: {problems[0].why}" if problems else "none"
        raise RunError(f"{folder}: expected a finished run to report, got 0 of {requested}: {reason}")
    predictions = {run.path: predictions[run.path] for run in finished if run.path in predictions}
    labels = {path: predicted.labels for path, predicted in predictions.items()}
    why = (
        "expected predictions of the same test images as the other runs, got other labels or another order in predictions.npz; "
        f"{LEFT_OUT}"
    )
    _drop_unusual(predictions, labels, {path: path for path in labels}, why, problems)
    scores_of_runs = {path: predicted.scores for path, predicted in predictions.items()}
    evaluations, samples = _evaluations(finished, problems), _samples(runs, problems)
    return Comparison(
        data_name(finished[0].config.data),
        folder,
        runs,
        sorted(problems, key=lambda problem: str(problem.path)),
        records_of(runs, scores_of_runs, evaluations),
        scores_of_runs,
        samples,
    )


def data_name(data: str) -> str:
    """Return the name of a data set without the path of its file: `npz:/somewhere/cifar10.npz` is cifar10."""
    kind, colon, place = data.partition(":")
    return Path(place).stem if colon else kind


def predicted_by(run: Run) -> Predicted:
    """Read and score the predictions of a finished run.

    Raises:
        RunError: They are missing, damaged, or belong to other images.
        DataError: A logit is not finite.
    """
    try:
        logits, labels = read_predictions(run, "predictions.npz", run.provenance["data"]["images"]["test"])
        validation = read_predictions(run, "validation.npz") if "validation.npz" in run.files else None
    except RunError as error:
        raise RunError(f"{error}; {LEFT_OUT}") from None
    return Predicted(compute_scores(logits, labels, validation), tuple(labels.tolist()))


def samples_of(run: Run) -> Samples | None:
    """Read the mixed images of a run; None if it has none, or none that can be drawn.

    Raises:
        RunError: They are damaged.
    """
    path = run.path / "samples.npz"
    if not path.is_file():
        return None
    if path.name in run.files:
        check_unchanged(run, path.name)
    try:
        arrays = read_npz(path)
    except SmixError as error:
        raise RunError(f"expected arrays in {path.name}, got {error}; its mixes are not shown") from None
    if not _fit_together(arrays, len(run.provenance["data"]["classes"])):
        raise RunError(
            f"expected images, mixes and plans that fit each other in {path.name}, got others; its mixes are not shown"
        )
    return Samples(**arrays) if is_picture(arrays["images"].shape[1:]) else None


def attempt(problems: list[Problem], path: Path, read: Callable[..., T], *args: Any) -> T | None:
    """Return `read(*args)`, or None if what is at `path` is unusable: its error is then added to `problems`."""
    try:
        return read(*args)
    except (SmixError, OSError) as error:
        problems.append(_problem(path, str(error)))
        return None


def _comparison_folders(folder: Path) -> list[Path]:
    if (folder / "config.json").is_file():
        raise RunError(f"{folder}: expected a folder of runs, got one run; did you mean {folder.resolve().parent}?")
    below = sorted({path.parent.parent for path in folder.glob("*/*/config.json")})
    below = [path for path in below if not (path / "config.json").is_file()]
    own = [folder] if subfolders_of_runs(folder) or not below else []
    return own + below


def _alike(runs: Sequence[Run], problems: list[Problem]) -> list[Run]:
    """Return the runs that differ only in method and seed: for each option those with the most frequent value."""
    shared = {run.path: shared_by(run) for run in runs}
    alike = list(runs)
    for name in dict.fromkeys(name for options in shared.values() for name in options):
        # Fingerprints are known for runs that have begun, those of masks for runs that use them; unknown values do not differ.
        values = {run.path: shared[run.path][name] for run in alike if name in shared[run.path]}
        usual, unusual = _most_frequent(values)
        for path in unusual:
            alike = [run for run in alike if run.path != path]
            why = (
                f"expected runs that differ in method and seed alone, got one with {name.replace('_', '-')} "
                f"{_short(values[path])} where most have {_short(usual)}; it is left out: report it apart"
            )
            problems.append(Problem(path, why))
    return alike


def _most_frequent(values: Mapping[Key, Any]) -> tuple[Any, list[Key]]:
    """Return the most frequent value, the first of equally frequent ones, and the keys of all other values."""
    texts = {key: repr(value) for key, value in values.items()}
    if not texts:
        return None, []
    usual = Counter(texts.values()).most_common(1)[0][0]
    return next(values[key] for key in texts if texts[key] == usual), [key for key in texts if texts[key] != usual]


def _drop_unusual(
    items: dict[Key, T], values: Mapping[Key, Any], paths: Mapping[Key, Path], why: str, problems: list[Problem]
) -> None:
    """Remove the items whose value is not the most frequent one, and name their paths."""
    for key in _most_frequent(values)[1]:
        del items[key]
        problems.append(Problem(paths[key], why))


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}..."


def _one_per_seed(runs: Sequence[Run], problems: list[Problem]) -> list[Run]:
    """Return one run of each method and seed: the first finished one by folder name."""
    kept: dict[tuple[str, int], Run] = {}
    for run in sorted(runs, key=lambda run: (run.result is None, run.path.name)):
        first = kept.setdefault((run.config.method, run.config.seed), run)
        if first is not run:
            why = f"expected one run of each method and seed, got this and {first.path.name}; it is left out: move one away"
            problems.append(Problem(run.path, why))
    return sorted(kept.values(), key=lambda run: run.path.name)


def _without_contradiction(run: Run, predictions: Mapping[Path, Predicted], problems: list[Problem]) -> Run:
    """Return the run, without its result if its predictions have another accuracy."""
    if run.result is None or run.path not in predictions:
        return run
    accuracy = predictions[run.path].scores.calibration.accuracy
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
    evaluations: dict[tuple[Path, Path], Evaluation] = {}
    names: list[str] = []
    for run in runs:
        for path, evaluation in _evaluations_of(run.path, problems).items():
            name = next((name for name in names if same_value("data", name, evaluation.data)), evaluation.data)
            names.append(name)
            evaluations[run.path, path] = replace(evaluation, data=name)
    for data in dict.fromkeys(_tested(evaluation) for evaluation in evaluations.values()):
        settings = {
            key: _settings(evaluation) for key, evaluation in evaluations.items() if _tested(evaluation) == data
        }
        usual, unusual = _most_frequent(settings)
        for key in unusual:
            name = data_name(evaluations.pop(key).data)
            others = ", ".join(
                f"{option} {_short(value)} where most have {_short(usual[option])}"
                for option, value in settings[key].items()
                if repr(value) != repr(usual[option])
            )
            why = f"expected evaluations of the same images of {name}, got one with {others}; it is left out: evaluate it as the others"
            problems.append(Problem(key[0], why))
    return {
        run.path: [evaluation for (folder, _), evaluation in evaluations.items() if folder == run.path] for run in runs
    }


def _tested(evaluation: Evaluation) -> str | None:
    """Return the data set that was evaluated on; None: the test split of the runs."""
    return None if evaluation.own else evaluation.data


def _settings(evaluation: Evaluation) -> dict[str, Any]:
    """Return what two evaluations on one data set must share to be compared."""
    provenance = {name.replace("_", "-"): evaluation.provenance.get(name) for name in ("seed", "label_map", "resized")}
    counts = {"images": evaluation.images, "left-out": evaluation.left_out}
    return {"fingerprint": evaluation.fingerprint, **counts, **provenance}


def _evaluations_of(run: Path, problems: list[Problem]) -> dict[Path, Evaluation]:
    """Return the evaluations of the weights of a run, by file name."""
    paths, weights = sorted((run / FOLDER).glob("*.json")), run / "weights.safetensors"
    # Without the weights there is nothing to compare with, which is no problem.
    own = attempt([], run, files.sha256, weights, False) if paths else None
    evaluations = {}
    for path in paths:
        if (evaluation := attempt(problems, run, read_evaluation, path)) is None:
            continue
        if own in (None, evaluation.weights):
            evaluations[path] = evaluation
            continue
        why = (
            f"{path}: expected an evaluation of the run's weights ({str(own)[:8]}), got one of others ({evaluation.weights[:8]}); "
            "it is left out: evaluate again"
        )
        problems.append(_problem(run, why))
    return evaluations


def _samples(runs: Sequence[Run], problems: list[Problem]) -> dict[str, Samples]:
    """Return the mixes of the first seed of each method, of the same images."""
    firsts = {method: own[0] for method, own in by_method(runs).items()}
    mixes = {}
    for method, run in firsts.items():
        if (samples := attempt(problems, run.path, samples_of, run)) is not None:
            mixes[method] = samples
    digests = {method: _digest(samples) for method, samples in mixes.items()}
    why = "expected mixes of the same images as the other runs, got others in samples.npz; they are not shown"
    _drop_unusual(mixes, digests, {method: run.path for method, run in firsts.items()}, why, problems)
    return mixes


def _digest(samples: Samples) -> str:
    """Return a sha256 of the images that are mixed."""
    shape = str(samples.images.shape).encode()
    return hashlib.sha256(shape + samples.images.tobytes() + samples.labels.tobytes()).hexdigest()


def _fit_together(arrays: Mapping[str, NDArray[Any]], classes: int) -> bool:
    """Return whether these are the arrays of `Samples`, with the types and shapes of its annotations and possible values."""
    hints = get_type_hints(Samples)
    required = hints.keys() - {"masks"}
    if not required <= arrays.keys() <= hints.keys():
        return False
    with jaxtyped("context"):  # equal names of axes must have equal sizes
        if not all(isinstance(array, hints[name]) for name, array in arrays.items()):
            return False
    return (
        arrays["images"].size > 0
        and all(arrays[name].min() >= 0 for name in ("labels", "partner"))
        and bool(arrays["labels"].max() < classes)
        and bool(arrays["partner"].max() < len(arrays["images"]))
        and all(bool(np.isfinite(arrays[name]).all()) for name in ("weight", "share"))
    )


def _problem(path: Path, message: str) -> Problem:
    """Return a problem without the folder that its message begins with; a report may be published, so it holds no local paths."""
    message = message.removeprefix(f"{path}: ")
    for folder in (path.parent, path.parent.resolve()):
        if folder.name:
            message = message.replace(f"{folder}/", "")
    return Problem(path, message)
