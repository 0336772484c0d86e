"""Read the predictions in a run folder, the logits and labels that the training wrote."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from smix.arrays import read_npz
from smix.errors import RunError
from smix.training.records import Run, check_unchanged
from smix.untrusted import UnreadableError


def read_predictions(run: Run, name: str, rows: int | None = None) -> tuple[Tensor, Tensor]:
    """Return logits (N, K) and labels (N,) of a finished run.

    Args:
        run: Records of the run.
        name: Name of the file: predictions.npz (test images) or validation.npz.
        rows: Expected number of images N. Default: any number above 0.

    Raises:
        RunError: The file is missing, damaged or modified, or belongs to other images or classes.
    """
    check_unchanged(run, name)
    path, classes = run.path / name, len(run.provenance["data"]["classes"])
    try:
        arrays = read_npz(path)
    except UnreadableError as error:
        raise _wrong(path, "arrays", str(error)) from None
    if not {"logits", "labels"} <= arrays.keys():
        raise _wrong(path, "logits and labels", ", ".join(arrays) or "nothing")
    logits, labels = arrays["logits"], arrays["labels"]
    if logits.dtype.kind != "f" or labels.dtype.kind not in "iu":
        raise _wrong(path, "logits as floats and labels as whole numbers", f"{logits.dtype} and {labels.dtype}")
    count = len(labels) if rows is None and labels.ndim else rows
    if logits.shape != (count, classes) or labels.shape != (count,) or not count:
        expected = f"logits of {'some' if count is None else count} images and {classes} classes and their labels"
        raise _wrong(path, expected, f"shapes {logits.shape} and {labels.shape}")
    if labels.min() < 0 or labels.max() >= classes:
        raise _wrong(path, f"labels from 0 to {classes - 1}", f"{labels.min()} to {labels.max()}")
    exact = np.float32 if logits.dtype.itemsize <= 4 else np.float64
    return torch.from_numpy(logits.astype(exact)), torch.from_numpy(labels.astype(np.int64))


def _wrong(path: Path, expected: str, got: str) -> RunError:
    return RunError(f"{path}: expected {expected}, got {got}; restore the original file or train again")
