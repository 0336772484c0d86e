"""What a run folder says, checked: a report is made of files that may be broken, and each must be named and not believed."""

import io
import math
import sys
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smix import files
from smix.errors import DataError, RunError, SmixError
from smix.evaluation.scores import Scores, scores
from smix.lab.evaluations import FOLDER, Evaluation, read_evaluation
from smix.mixing import parse_method
from smix.report.thumbnails import is_picture
from smix.training.records import Run
from smix.training.samples import Samples

UNREADABLE = (
    *(OSError, ValueError, TypeError, EOFError, MemoryError, RuntimeError, SyntaxError, KeyError, OverflowError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What numpy raises of a broken archive depends on the place of the damage."""
LEFT_OUT = "its calibration and confusion are left out"


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a run made of the test images."""

    scores: Scores
    labels: tuple[int, ...]
    """(N,), in the order of the images."""


def check_made(run: Run) -> None:
    """Raises SmixError: its method is none, or config.json does not say what it is made of. A run that was never begun says
    nothing."""
    parse_method(run.config.method)
    if run.made and (lacking := _lacking(run.made)):
        raise RunError(f"expected {lacking} in config.json, got none; move the folder away")


def _lacking(made: Mapping[str, Any]) -> str:
    """What is not there, or not as it should be."""
    data, masks = made.get("data"), made.get("masks")
    if not isinstance(data, dict):
        return "what the data are"
    if not all(isinstance(data.get(name), str) for name in ("fingerprint_train", "fingerprint_test")):
        return "fingerprints of the data"
    classes, images = data.get("classes"), data.get("images")
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        return "a list of names of classes"
    if not isinstance(images, dict) or not {"training", "validation", "test"} <= images.keys():
        return "counts of images"
    if not all(isinstance(count, int) and _finite(count) and count >= 0 for count in images.values()):
        return "counts of images"
    if not isinstance(data.get("init", ""), str):
        return "a sha256 of the initial weights"
    if not isinstance(made.get("versions"), dict):
        return "versions"
    if "masks" not in made or (masks is not None and not _describes_masks(masks)):
        return "what the masks are"
    return ""


def _describes_masks(masks: object) -> bool:
    if not isinstance(masks, dict):
        return False
    source, refine, empty = masks.get("source"), masks.get("refine"), masks.get("empty")
    return (
        isinstance(masks.get("fingerprint"), str)
        and isinstance(source, dict)
        and "name" in source
        and isinstance(source.get("input_size", "own"), str | list)
        and "refine" in masks
        and (refine is None or (isinstance(refine, dict) and "name" in refine))
        and _finite(empty)
    )


def wrong_numbers(run: Run) -> str:
    """What was expected of its epochs and its result instead; empty: they can be."""
    result, metrics = run.result, run.metrics
    if not all(_finite(value) for epoch in metrics for value in vars(epoch).values()):
        return "finite numbers in metrics.jsonl, got NaN, infinity or none"
    if [epoch.epoch for epoch in metrics] != list(range(1, len(metrics) + 1)):
        return "the epochs 1, 2 and so on in metrics.jsonl, got others"
    if any(epoch.seconds < 0 for epoch in metrics):
        return "seconds of 0 or more in metrics.jsonl, got less"
    if result is None:
        return ""
    if not all(_finite(value) for name, value in vars(result).items() if name != "device"):
        return "finite numbers in result.json, got NaN, infinity or none"
    for name, accuracy in (("test", result.test_accuracy), ("validation", result.val_accuracy)):
        if not 0 <= accuracy <= 1:
            return f"a {name} accuracy from 0 to 1 in result.json, got {accuracy}"
    for name, value in (("seconds", result.seconds), ("images_seen", result.images_seen)):
        if value <= 0:
            return f"{name} above 0 in result.json, got {value}"
    if not len(metrics) == result.epochs == run.config.epochs:
        return f"{run.config.epochs} epochs, as config.json says, got {result.epochs} in result.json and {len(metrics)} in metrics.jsonl"
    return ""


def _finite(value: object) -> bool:
    # Python compares whole numbers of any length with floats; math.isfinite does not take all of them.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def predicted_by(run: Run) -> Predicted:
    """Raises RunError or DataError: predictions are not there, broken, of other images, or not those of the result."""
    data = run.made["data"]
    logits, labels = _predictions(run.path / "predictions.npz", len(data["classes"]), data["images"]["test"])
    validation = run.path / "validation.npz"
    kept = _predictions(validation, len(data["classes"]), None) if validation.is_file() else None
    found = scores(logits, labels, kept)
    assert run.result is not None
    if not math.isclose(found.calibration.accuracy, run.result.test_accuracy, abs_tol=1e-9):
        raise DataError(
            f"expected predictions with the test accuracy of result.json, {run.result.test_accuracy:.4f}, got "
            f"{found.calibration.accuracy:.4f} in predictions.npz; train it again in a new folder"
        )
    return Predicted(found, tuple(labels.tolist()))


def _predictions(path: Path, classes: int, rows: int | None) -> tuple[Tensor, Tensor]:
    """Logits and labels of so many images; None: of any number."""
    arrays = _arrays(path, LEFT_OUT)
    if not {"logits", "labels"} <= arrays.keys():
        raise RunError(f"expected logits and labels in {path.name}, got {', '.join(arrays) or 'nothing'}; {LEFT_OUT}")
    logits, labels = arrays["logits"], arrays["labels"]
    if logits.dtype.kind != "f" or labels.dtype.kind not in "iu":
        raise RunError(
            f"expected logits as floats and labels as whole numbers in {path.name}, got {logits.dtype} and {labels.dtype}; {LEFT_OUT}"
        )
    count = len(labels) if rows is None and labels.ndim else rows
    if logits.shape != (count, classes) or labels.shape != (count,) or not count:
        raise RunError(
            f"expected logits of {count} images and {classes} classes and their labels in {path.name}, got shapes {logits.shape} and "
            f"{labels.shape}; {LEFT_OUT}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise RunError(
            f"expected labels from 0 to {classes - 1} in {path.name}, got {labels.min()} to {labels.max()}; {LEFT_OUT}"
        )
    exact = np.float32 if logits.dtype.itemsize <= 4 else np.float64
    return torch.from_numpy(logits.astype(exact)), torch.from_numpy(labels.astype(np.int64))


def evaluations_in(run: Path) -> tuple[list[Evaluation], list[str]]:
    """Those of the run's own weights, by file name; and what is wrong with the others."""
    found, wrong = [], []
    paths, weights = sorted((run / FOLDER).glob("*.json")), run / "weights.safetensors"
    own = files.sha256(weights) if paths and weights.is_file() else None
    for path in paths:
        try:
            one = read_evaluation(path)
        except SmixError as error:
            wrong.append(str(error))
        except (OverflowError, RecursionError) as error:
            wrong.append(f"{path}: expected what smix evaluate wrote, got {type(error).__name__}; evaluate again")
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
    arrays = _arrays(path, so)
    if not _fit_together(arrays, len(run.made["data"]["classes"])):
        raise RunError(f"expected images, mixes and plans that fit each other in {path.name}, got others; {so}")
    return Samples(**arrays) if is_picture(arrays["images"].shape[1:]) else None


def _fit_together(arrays: Mapping[str, NDArray[Any]], classes: int) -> bool:
    """Are these the arrays of `Samples`?"""
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
    """What an .npz file holds. Raises RunError, which ends with what follows."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            found = dict(arrays)
    except UNREADABLE as error:
        raise RunError(f"expected arrays in {path.name}, got {type(error).__name__}; {so}") from None
    if not all(isinstance(array, np.ndarray) for array in found.values()):
        raise RunError(f"expected arrays in {path.name}, got other files; {so}")
    return found
