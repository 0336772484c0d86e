"""The arrays and evaluations of run folders, checked: a report names what is damaged and leaves it out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smix import files
from smix.arrays import read_npz
from smix.errors import RunError, SmixError
from smix.evaluation.records import FOLDER, Evaluation, read_evaluation
from smix.evaluation.scores import Scores, scores
from smix.report.thumbnails import is_picture
from smix.training.predictions import read_predictions
from smix.training.records import Run, check_unchanged
from smix.training.samples import Samples
from smix.untrusted import UnreadableError

LEFT_OUT = "its calibration and confusion are left out"


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions of a run for the test images."""

    scores: Scores
    labels: tuple[int, ...]
    """(N,), in the order of the images."""


def predicted_by(run: Run) -> Predicted:
    """Return the predictions of a finished run. Raises RunError or DataError: They are missing, damaged, or of other images."""
    try:
        logits, labels = read_predictions(run, "predictions.npz", run.provenance["data"]["images"]["test"])
        kept = read_predictions(run, "validation.npz") if "validation.npz" in run.files else None
    except RunError as error:
        raise RunError(f"{error}; {LEFT_OUT}") from None
    return Predicted(scores(logits, labels, kept), tuple(labels.tolist()))


def contradiction(run: Run, predicted: Predicted) -> str:
    """Return an error message if the predictions of a run contradict its test accuracy, else an empty string."""
    found = predicted.scores.calibration.accuracy
    if run.result is None or math.isclose(found, run.result.test_accuracy, abs_tol=1e-9):
        return ""
    return (
        f"expected predictions.npz to have the test accuracy of result.json, {run.result.test_accuracy:.4f}, got {found:.4f}; "
        "the run is left out of the report; train it again in a new folder"
    )


def evaluations_in(run: Path) -> tuple[list[Evaluation], list[str]]:
    """Return the evaluations of the run's own weights by file name, and what is wrong with the others."""
    found, wrong = [], []
    paths, weights = sorted((run / FOLDER).glob("*.json")), run / "weights.safetensors"
    try:
        own = files.sha256(weights, links=False) if paths else None
    except UnreadableError:
        own = None  # a run without its weights: there is nothing to compare with
    for path in paths:
        try:
            one = read_evaluation(path)
        except SmixError as error:
            wrong.append(str(error))
        else:
            if own in (None, one.weights):
                found.append(one)
                continue
            wrong.append(
                f"{path}: expected an evaluation of the run's weights ({str(own)[:8]}), got one of others ({one.weights[:8]}); it is left "
                "out: evaluate again"
            )
    return found, wrong


def samples_of(run: Run) -> Samples | None:
    """Its mixes; None: there are none, or none that can be drawn. Raises RunError: they are broken."""
    path = run.path / "samples.npz"
    if not path.is_file():
        return None
    so = "its mixes are not shown"
    if path.name in run.files:
        check_unchanged(run, path.name)
    arrays = _arrays(path, so)
    if not _fit_together(arrays, len(run.provenance["data"]["classes"])):
        raise RunError(f"expected images, mixes and plans that fit each other in {path.name}, got others; {so}")
    return Samples(**arrays) if is_picture(arrays["images"].shape[1:]) else None


def _fit_together(arrays: Mapping[str, NDArray[Any]], classes: int) -> bool:
    """Return whether these are the arrays of `Samples`."""
    if "images" not in arrays or not arrays["images"].size or arrays["images"].ndim < 3:
        return False
    shape = arrays["images"].shape
    count, plane = shape[:1], shape[:-1]
    wanted = {
        "images": (shape, "u1"),
        "mixed": (shape, "u1"),
        "labels": (count, "i"),
        "partner": (count, "i"),
        "weight": (plane, "f"),
        "share": (count, "f"),
        "fell_back": (count, "b1"),
    }
    if "masks" in arrays:
        wanted["masks"] = (plane, "b1")
    return (
        arrays.keys() == wanted.keys()
        and all(
            arrays[name].shape == size and arrays[name].dtype.str[1:].startswith(kind)
            for name, (size, kind) in wanted.items()
        )
        and all(arrays[name].min() >= 0 for name in ("labels", "partner"))
        and bool(arrays["labels"].max() < classes)
        and bool(arrays["partner"].max() < len(arrays["images"]))
        and all(bool(np.isfinite(arrays[name]).all()) for name in ("weight", "share"))
    )


def _arrays(path: Path, so: str) -> dict[str, NDArray[Any]]:
    """Return the arrays in an .npz file. Raises RunError, which ends with what follows."""
    try:
        return read_npz(path)
    except UnreadableError as error:
        raise RunError(f"expected arrays in {path.name}, got {error}; {so}") from None
